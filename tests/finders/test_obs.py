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
from tombola.finders.untrained.obs import ObsSpec, obs
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


def test_each_step_keeps_the_same_share_of_what_is_left() -> None:
    assert [float(each) for each in exponential(Decimal("0.875"), 3)] == [0.5, 0.75, 0.875]
    assert exponential(HALF, 1) == (HALF,)


def test_too_little_data_is_refused_with_how_much_there_is() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    with pytest.raises(SpecError, match=r"of a training, at most 1000, got 1024\. Take fewer, or"):
        FINDERS["obs"].search(on, ObsSpec(sparsity=HALF), 0)
    assert FINDERS["obs"].search(on, ObsSpec(sparsity=HALF, examples=1000), 0).masks
    few = replace(on, recipe=replace(on.recipe, train_limit=64))
    with pytest.raises(SpecError, match="at most 64, got 65"):
        FINDERS["obs"].search(few, ObsSpec(sparsity=HALF, examples=65), 0)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"examples": 0}, "examples is one or more, got 0."),
        ({"steps": 0}, "steps are from 1 to 1000, got 0."),
        ({"damping": -1.0}, "damping is zero or more, got -1.0."),
    ],
)
def test_bad_knobs_are_one_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        ObsSpec(**knobs)
    assert str(caught.value) == message
