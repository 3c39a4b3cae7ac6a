"""SparseGPT prunes what its layer's output needs least, and lets the others make up for it."""

from decimal import Decimal
from typing import Any, ClassVar, cast

import pytest
import torch

from tombola.base.errors import SpecError
from tombola.finders.layout import Layout
from tombola.finders.untrained.sparsegpt import SparsegptSpec, in_order, prune_layer, sparsegpt
from tombola.ticket.mask import Mask, Tensors

HALF = Decimal("0.5")
DRAWN = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(3, 8, generator=DRAWN)
INPUTS = torch.randn(30, 8, generator=DRAWN) @ torch.randn(8, 8, generator=DRAWN)
PRODUCTS = INPUTS.T @ INPUTS
ALIVE = torch.ones(3, 8, dtype=torch.bool)
DAMPED = PRODUCTS.double() + 0.01 * PRODUCTS.double().diag().mean() * torch.eye(8)


def by_hand(block: int, kept: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same with the inverse of the columns that are left, computed anew for each column."""
    now, best = WEIGHT.double().clone(), ALIVE.clone()
    for start in range(0, 8, block):
        inverses = [torch.linalg.inv(DAMPED[at:, at:]) for at in range(start, start + block)]
        costs = torch.stack([now[:, start + i] ** 2 / x[0, 0] for i, x in enumerate(inverses)], 1)
        order = costs.flatten().argsort()
        chosen = torch.ones(3 * block, dtype=torch.bool)
        chosen[order[: 3 * block - kept]] = False
        best[:, start : start + block] = chosen.reshape(3, block)
        for i, inverse in enumerate(inverses):
            at = start + i
            for row in range(3):
                if not best[row, at]:
                    now[row, at:] -= now[row, at] / inverse[0, 0] * inverse[0]
    return best, now


@pytest.mark.parametrize("block", [8, 4, 2])
def test_a_layer_is_pruned_and_made_up_for_as_by_the_inverses_of_what_is_left(block: int) -> None:
    spec = SparsegptSpec(sparsity=HALF, block_size=block)
    best, now = prune_layer(WEIGHT, ALIVE, PRODUCTS, 12, spec)
    wanted, weights = by_hand(block, 12 * block // 8)
    assert torch.equal(best, wanted)
    torch.testing.assert_close(now.double(), weights * wanted, rtol=1e-4, atol=1e-5)
    error = float(((now - WEIGHT) @ INPUTS.T).square().sum())
    assert error < float(((WEIGHT * best - WEIGHT) @ INPUTS.T).square().sum())


def test_without_an_update_scores_are_of_the_inverse_as_it_is() -> None:
    spec = SparsegptSpec(sparsity=HALF, no_update=True)
    best, now = prune_layer(WEIGHT, ALIVE, PRODUCTS, 12, spec)
    costs = (WEIGHT.double() ** 2 / torch.linalg.inv(DAMPED).diag()).flatten()
    assert set(best.flatten().nonzero().flatten().tolist()) == set(costs.argsort()[12:].tolist())
    assert torch.equal(now, WEIGHT * best)


def test_patterns_are_kept_and_pruned_weights_stay_so() -> None:
    spec = SparsegptSpec(sparsity=HALF, structure="2:4")
    best, _ = prune_layer(WEIGHT, ALIVE, PRODUCTS, 12, spec)
    assert (best.reshape(-1, 4).sum(1) == 2).all()
    some = ALIVE.clone()
    some[0] = False
    best, _ = prune_layer(WEIGHT, some, PRODUCTS, 12, SparsegptSpec(sparsity=HALF, block_size=4))
    assert int(best.sum()) == 12
    assert not best[0].any()


class Chain:
    """Two blocks of a layer each; the second reads what the first gives."""

    layout = Layout(transposed=frozenset({"layer.1.w"}))
    weights: ClassVar[Tensors] = {
        "layer.1.w": torch.randn(6, 4, generator=DRAWN),
        "layer.0.w": torch.randn(6, 5, generator=DRAWN),
    }
    tokens = torch.randn(20, 5, generator=DRAWN)

    def __init__(self) -> None:
        self.met: list[Tensors] = []

    def progress(self, done: int, of: int) -> None:
        """Nobody waits."""

    def input_products(self, batches: int, weights: Tensors, names: list[str]) -> Tensors:
        self.met.append(dict(weights))
        inner = self.tokens @ weights["layer.0.w"].T
        every = {"layer.0.w": self.tokens, "layer.1.w": inner}
        return {name: every[name].T @ every[name] for name in names}


def test_later_blocks_see_what_earlier_ones_give_and_counts_are_exact() -> None:
    for no_update in (False, True):
        spec = SparsegptSpec(sparsity=Decimal("0.7"), no_update=no_update, allocation="erk")
        mask = sparsegpt(cast(Any, chain := Chain()), spec, Mask.full(Chain.weights)).mask
        assert mask.pruned == round(0.7 * 54)
        first = chain.met[1]["layer.0.w"]
        assert torch.equal(first, Chain.weights["layer.0.w"]) == no_update
        assert no_update or torch.equal(first != 0, mask["layer.0.w"])
    assert in_order(Chain.weights) == [["layer.0.w"], ["layer.1.w"]]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"allocation": "global"}, "uniform or erk, got the allocation global. Use one of those."),
        ({"structure": "rows"}, "single weights or N:M, got the structure rows."),
        ({"block_size": 0}, "block_size must be 1 or more, got 0."),
        ({"damping": 0.0}, "damping must be above 0, got 0."),
    ],
)
def test_bad_knobs_are_one_line(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        SparsegptSpec(**knobs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
