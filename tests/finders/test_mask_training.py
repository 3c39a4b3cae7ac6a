"""The mask learns alone, and matrices keep as many weights as their scores are worth."""

from decimal import Decimal
from typing import Any, cast

import pytest
import torch

from tombola.base.errors import SpecError
from tombola.finders.trained.mask_training import (
    MaskTrainingSpec,
    keep_by_matrix,
    mask_training,
)
from tombola.ticket.mask import Mask
from toy_training import SIZE, STEPS, Toy, by_matrix

SPARSITY = Decimal("0.6")


def risen(done: int) -> float:
    return float(1 - (1 - min(done, 10) / 10) ** 3)


def test_only_the_mask_learns_as_autograd_has_it() -> None:
    toy = Toy()
    spec = MaskTrainingSpec(sparsity=SPARSITY, ramp_end=0.5, score_learning_rate=0.3, penalty=0.5)
    made = mask_training(cast(Any, toy), spec, toy.full)
    scores = {n: torch.zeros_like(w).requires_grad_() for n, w in toy.weights.items()}
    optimizer = torch.optim.Adam([*scores.values()])
    kept = {name: torch.ones_like(w) for name, w in toy.weights.items()}
    for step in range(STEPS):
        optimizer.zero_grad()
        masked = {n: w * (kept[n] + scores[n] - scores[n].detach()) for n, w in toy.weights.items()}
        sigmoids = torch.stack([score.sigmoid().mean() for score in scores.values()])
        (toy.loss(masked, step) + 0.5 * risen(step) * sigmoids.mean()).backward()
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / STEPS)
        optimizer.step()
        found = {name: score.detach() for name, score in scores.items()}
        mask = by_matrix(found, SIZE - round(0.6 * risen(step + 1) * SIZE))
        kept = {name: each.float() for name, each in mask.items()}
    assert made.mask == Mask(mask)
    assert made.mask.pruned == toy.pruned(STEPS) == 36
    for name, weight in toy.weights.items():
        assert torch.equal(toy.trained[name], weight * kept[name]), "no weight has learned"


def test_a_matrix_keeps_its_share_of_what_its_kind_keeps_in_all_blocks() -> None:
    drawn = torch.Generator().manual_seed(0)
    noise = {f"layer.{n}.w": torch.rand((10, 10), generator=drawn) for n in range(2)}
    one, three = torch.tensor(0.2).logit(), torch.tensor(0.6).logit()
    scores = {
        "layer.0.w": one + 1e-4 * noise["layer.0.w"],
        "layer.1.w": three + 1e-4 * noise["layer.1.w"],
    }
    mask = keep_by_matrix(scores, Mask.full(scores), Decimal("0.6"))
    assert [int(kept.sum()) for kept in mask.values()] == [20, 60]
    best = scores["layer.1.w"].flatten().sort(descending=True).values[59]
    assert torch.equal(mask["layer.1.w"], scores["layer.1.w"] >= best)


@pytest.mark.parametrize(("sparsity", "kept"), [("0.1", [80, 100]), ("0", [100, 100])])
def test_no_matrix_keeps_more_than_it_has(sparsity: str, kept: list[int]) -> None:
    scores = {"layer.0.w": torch.zeros(10, 10) - 3, "layer.1.w": torch.zeros(10, 10) + 3}
    found = keep_by_matrix(scores, Mask.full(scores), Decimal(sparsity))
    assert [int(each.sum()) for each in found.values()] == kept


def test_a_matrix_may_keep_nothing() -> None:
    scores = {"layer.0.w": torch.zeros(10, 10) - 99, "layer.1.w": torch.zeros(10, 10)}
    found = keep_by_matrix(scores, Mask.full(scores), Decimal("0.9"))
    assert [int(each.sum()) for each in found.values()] == [0, 20]


def test_a_penalty_is_zero_or_more() -> None:
    with pytest.raises(SpecError, match=r"penalty must be 0 or more, got -1\."):
        MaskTrainingSpec(penalty=-1)
