"""OBS prunes w^2 times the diagonal of the Fisher matrix, which it estimates anew in each step."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.finders.finder import FINDERS
from tombola.finders.iterations import exponential
from tombola.finders.untrained.obs import ObsSpec, block_costs, compensated, obs
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from toy_evidence import ToyEvidence

HALF = Decimal("0.5")


def information(toy: ToyEvidence, name: str, mask: Mask) -> torch.Tensor:
    """Mean over examples of the squared gradient of one matrix, each by a backward pass."""
    mask.fill(toy.parameters)
    total = torch.zeros_like(toy.weights[name])
    for row in range(4):
        toy.model.zero_grad()
        toy.loss(slice(row, row + 1)).backward()
        gradient = toy.parameters[name].grad
        assert gradient is not None
        total += gradient**2 / 4
    toy.model.zero_grad()
    with torch.no_grad():
        for each, weight in toy.weights.items():
            toy.parameters[each].copy_(weight)
    return total


def test_scores_are_the_rise_of_the_loss_by_the_fisher_matrix_at_each_step() -> None:
    toy = ToyEvidence()
    spec = ObsSpec(sparsity=HALF, examples=4, steps=2)
    made = obs(cast(Any, toy), spec, full := Mask.full(toy.weights)).mask
    mask = full
    for sparsity in (Decimal(1) - HALF.sqrt(), HALF):
        scores = {
            name: w**2 * (information(toy, name, mask) + 1e-7) / 2
            for name, w in toy.weights.items()
        }
        mask = keep_top(scores, mask, sparsity=sparsity)
    assert mask.pruned == mask.size // 2
    differing = sum(int((made[name] != mask[name]).sum()) for name in mask)
    assert differing <= 2  # of equal scores but for rounding
    assert obs(cast(Any, toy), replace(spec, steps=1), full).mask != made


def drawn_block(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and the Fisher matrix of three examples' gradients, in two blocks."""
    drawn = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 3, size, generator=drawn)
    return torch.randn(2 * size, generator=drawn), rows.transpose(1, 2) @ rows / 3


def least(fisher: torch.Tensor, weight: torch.Tensor, lost: list[int], free: list[int]) -> Any:
    """The change that costs least by the damped matrix and prunes some weights, and its cost."""
    damped = fisher.double() + 0.1 * torch.eye(len(fisher))
    change = torch.zeros(len(fisher), dtype=torch.float64)
    change[lost] = -weight[lost].double()
    change[free] = torch.linalg.solve(damped[free][:, free], -damped[free][:, lost] @ change[lost])
    return change, change @ damped @ change / 2


def test_a_weight_costs_what_the_loss_rises_by_if_its_block_makes_up_for_it() -> None:
    weight, fisher = drawn_block(5)
    kept = torch.ones(10, dtype=torch.bool)
    kept[3] = False
    costs = block_costs(weight * kept, kept, fisher, 0.1)
    for number in kept.nonzero().flatten().tolist():
        block, place = divmod(number, 5)
        free = [n for n in range(5) if n != place and kept[5 * block + n]]
        _, cost = least(fisher[block], weight[5 * block :][:5], [place], free)
        torch.testing.assert_close(costs[number].double(), cost, rtol=1e-5, atol=1e-8)
    assert costs[3] == 0


def test_kept_weights_make_up_for_all_that_are_pruned_together() -> None:
    weight, fisher = drawn_block(5)
    kept = torch.ones(10, dtype=torch.bool)
    kept[[1, 2]] = False
    moved = compensated(weight, kept, fisher, 0.1)
    change, _ = least(fisher[0], weight[:5], [1, 2], [0, 3, 4])
    torch.testing.assert_close(moved[:5].double(), weight[:5] + change, rtol=1e-5, atol=1e-7)
    assert not moved[[1, 2]].any()
    assert torch.equal(moved[5:], weight[5:]), "nothing was pruned in this block"


def test_blocks_prune_exactly_and_otherwise_than_a_diagonal() -> None:
    toy = ToyEvidence()
    spec, full = ObsSpec(sparsity=HALF, examples=4, steps=3), Mask.full(toy.weights)
    masks = [obs(cast(Any, toy), replace(spec, block_size=size), full).mask for size in (1, 7, 16)]
    assert {mask.pruned for mask in masks} == {full.size // 2}
    assert masks[0] != masks[1] != masks[2]


def test_blocks_of_two_without_products_are_a_diagonal() -> None:
    weight, fisher = drawn_block(4)
    diagonal = torch.diag_embed(fisher.diagonal(dim1=1, dim2=2))
    kept = torch.ones(8, dtype=torch.bool)
    costs = block_costs(weight, kept, diagonal, 0.1)
    expected = weight**2 * (fisher.diagonal(dim1=1, dim2=2).flatten() + 0.1) / 2
    torch.testing.assert_close(costs, expected)


def test_blocks_without_an_inverse_are_refused() -> None:
    with pytest.raises(SpecError, match=r"have no inverse, got damping 1e-09\. Use a larger one"):
        block_costs(torch.ones(2), torch.ones(2, dtype=torch.bool), -torch.ones(1, 2, 2), 1e-9)


def test_each_step_keeps_the_same_share_of_what_is_left() -> None:
    assert [float(each) for each in exponential(Decimal("0.875"), 3)] == [0.5, 0.75, 0.875]
    assert exponential(HALF, 1) == (HALF,)


def test_too_little_data_is_refused_with_how_much_there_is() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    with pytest.raises(SpecError, match=r"at most the 1000 training examples in use, got 1024\."):
        FINDERS["obs"].search(on, ObsSpec(sparsity=HALF), 0)
    assert FINDERS["obs"].search(on, ObsSpec(sparsity=HALF, examples=1000), 0).masks
    few = replace(on, recipe=replace(on.recipe, train_limit=64))
    with pytest.raises(SpecError, match="at most the 64 training examples in use, got 65"):
        FINDERS["obs"].search(few, ObsSpec(sparsity=HALF, examples=65), 0)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"examples": 0}, "examples must be 1 or more, got 0."),
        ({"steps": 0}, "steps must be between 1 and 1000, got 0."),
        ({"damping": -1.0}, "damping must be 0 or more, got -1.0."),
        ({"block_size": 0}, "block_size must be 1 or more, got 0."),
        (
            {"block_size": 2, "damping": 0.0},
            "damping must be above 0 where blocks are inverted, got 0 and block_size 2. Leave one "
            "out.",
        ),
    ],
)
def test_bad_knobs_are_one_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        ObsSpec(**knobs)
    assert str(caught.value) == message
