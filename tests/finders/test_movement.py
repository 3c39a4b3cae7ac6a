"""Scores learn by straight-through gradients, as autograd has them, and pruned weights return."""

from decimal import Decimal
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tombola.base.errors import SpecError
from tombola.finders.trained.movement import MovementSpec, movement
from tombola.finders.trained.soft_movement import SoftMovementSpec, soft_movement
from tombola.ticket.mask import Mask, Tensors
from toy_training import RATE, SIZE, STEPS, Toy, lowest

SPARSITY = Decimal("0.6")
START, END = 0.1, 0.9


class Straight(torch.autograd.Function):
    """The mask forward, and the gradient of the mask as that of the score backward."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, kept: Tensor) -> Tensor:
        return kept.float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def cubic(done: int) -> float:
    left = 1 - (min(max(done / STEPS, START), END) - START) / (END - START)
    return float(1 - left**3)


def by_autograd(toy: Toy, *, soft: bool) -> tuple[Tensors, list[Tensors], Tensors]:
    """Scores, the masks of all steps, and masked weights, without this package."""
    weights = {n: w.clone().requires_grad_() for n, w in toy.weights.items()}
    scores = {n: torch.zeros_like(w).requires_grad_() for n, w in weights.items()}
    groups = [{"params": [*weights.values()]}, {"params": [*scores.values()]}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=0.0)
    straight: Any = Straight.apply
    masks = [{name: torch.ones_like(w, dtype=torch.bool) for name, w in toy.weights.items()}]
    for step in range(STEPS):
        optimizer.zero_grad()
        masked = {n: w * straight(scores[n], masks[-1][n]) for n, w in weights.items()}
        sigmoids = torch.stack([score.sigmoid().mean() for score in scores.values()])
        loss = toy.loss(masked, step) + (0.5 * cubic(step) * sigmoids.mean() if soft else 0)
        loss.backward()
        scores["unused"].grad = torch.zeros(2, 2) if not soft else scores["unused"].grad
        for group, rate in zip(optimizer.param_groups, (RATE, 0.3), strict=True):
            group["lr"] = rate * (1 - step / STEPS)
        optimizer.step()
        found = {n: score.detach().clone() for n, score in scores.items()}
        if soft:
            masks.append({n: s.sigmoid() > 0.4 * cubic(step + 1) for n, s in found.items()})
        else:
            masks.append(lowest(found, round(0.6 * cubic(step + 1) * SIZE)))
    return found, masks, {n: w.detach() * masks[-1][n] for n, w in weights.items()}


def test_movement_is_what_autograd_makes_of_a_masked_network() -> None:
    toy = Toy()
    spec = MovementSpec(sparsity=SPARSITY, ramp_start=START, ramp_end=END, score_learning_rate=0.3)
    made = movement(cast(Any, toy), spec, toy.full)
    _, masks, trained = by_autograd(toy, soft=False)
    assert made.mask == Mask(masks[-1])
    assert made.mask.pruned == 36
    assert [toy.pruned(step) for step in range(STEPS + 1)] == [Mask(m).pruned for m in masks]
    for name, weight in trained.items():
        assert torch.allclose(toy.trained[name], weight, atol=1e-5)
    back = [(now[n] & ~before[n]).any() for before, now in pairwise(masks) for n in now]
    assert any(back), "some pruned weight returns"


def test_soft_movement_is_what_autograd_makes_of_a_threshold_and_a_penalty() -> None:
    toy = Toy()
    spec = SoftMovementSpec(
        sparsity=SPARSITY,
        ramp_start=START,
        ramp_end=END,
        score_learning_rate=0.3,
        threshold=0.4,
        penalty=0.5,
    )
    made = soft_movement(cast(Any, toy), spec, toy.full)
    scores, masks, trained = by_autograd(toy, soft=True)
    assert made.mask == Mask(lowest(scores, 36))
    assert 0 < made.facts["threshold_sparsity"] == round(Mask(masks[-1]).sparsity, 6)
    for name, weight in trained.items():
        assert torch.allclose(toy.trained[name], weight, atol=1e-5)


def test_rows_go_by_scores_of_both_signs() -> None:
    toy = Toy()
    spec = MovementSpec(sparsity=Decimal("0.5"), structure="rows", score_learning_rate=0.3)
    kept = movement(cast(Any, toy), spec, toy.full).mask
    assert kept.pruned == 30
    assert not any(kept["unused"].sum(1) == 1)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"score_learning_rate": 0}, r"score_learning_rate must be above 0, got 0\."),
        ({"threshold": 1}, r"threshold must be between 0 and 1, got 1\."),
        ({"penalty": -1}, r"penalty must be 0 or more, got -1\."),
    ],
)
def test_knobs_out_of_range_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SoftMovementSpec(**knobs)
