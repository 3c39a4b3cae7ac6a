"""Whole heads, neurons and rows are pruned one after another; N of M are kept in every group."""

import copy
from decimal import Decimal
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from tombola.base.errors import SpecError
from tombola.base.specs import STRUCTURE_NAMES, PruneSpec
from tombola.base.specs.prune import GROUPS
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.prune import keep_top
from tombola.ticket.scope import scope_parameters
from tombola.ticket.structures import (
    STRUCTURES,
    patterns_at_risk,
    patterns_lost,
    unit_ranks,
    units_of,
)

HEADS, WIDTH, INNER = 4, 16, 24


@pytest.fixture(scope="module")
def bert() -> Any:
    """Two layers whose biases are not zero and whose heads differ in size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=20,
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            intermediate_size=INNER,
            initializer_range=0.3,
        )
        model = BertModel(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.normal_()
            for layer in range(2):
                for head in parts(matrices(model), layer)[0]:
                    factor = 0.6 + 0.1 * torch.randint(8, ())
                    for part in head:
                        part.mul_(factor)
    return model


def matrices(model: nn.Module) -> Tensors:
    return {name: weight.detach() for name, weight in scope_parameters(model, "encoder").items()}


def ranks(scores: Tensors, heads: int) -> Tensors:
    return unit_ranks(units_of(scores, heads), scores)


def score(model: nn.Module) -> Tensors:
    return ranks(matrices(model), HEADS)


def parts(tensors: Tensors, layer: int) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """The shares of each head and of each neuron of a layer, from the definition."""
    q, k, v, output = (
        tensors[f"encoder.layer.{layer}.attention.{name}.weight"]
        for name in ("self.query", "self.key", "self.value", "output.dense")
    )
    up = tensors[f"encoder.layer.{layer}.intermediate.dense.weight"]
    down = tensors[f"encoder.layer.{layer}.output.dense.weight"]
    size = WIDTH // HEADS
    lines = [slice(h * size, (h + 1) * size) for h in range(HEADS)]
    heads = [[q[line], k[line], v[line], output[:, line]] for line in lines]
    return heads, [[up[i], down[:, i]] for i in range(INNER)]


def every_unit(tensors: Tensors) -> list[list[Tensor]]:
    return [unit for layer in range(2) for kind in parts(tensors, layer) for unit in kind]


def kept_units(mask: Mask, layer: int) -> list[list[int]]:
    """The kept heads and the kept neurons of a layer; none of them is cut in part."""
    found = []
    for kind in parts(dict(mask), layer):
        assert all(len(torch.cat([part.flatten() for part in u]).unique()) == 1 for u in kind)
        found.append([number for number, unit in enumerate(kind) if unit[0].any()])
    return found


def without(model: nn.Module, units: int) -> Mask:
    """The mask that prunes this number of units."""
    scores, full = score(model), Mask.full(matrices(model))
    lowest = sorted(every_unit(scores), key=lambda unit: float(unit[0].flatten()[0]))[:units]
    pruned = sum(part.numel() for unit in lowest for part in unit)
    mask = keep_top(scores, full, sparsity=Decimal(pruned) / full.size)
    assert mask.pruned == pruned
    return mask


def test_units_rank_by_the_mean_square_of_their_weights_and_no_two_alike(bert: Any) -> None:
    scores, seen = score(bert), []
    for mine, weights in zip(every_unit(scores), every_unit(matrices(bert)), strict=True):
        (rank,) = torch.cat([part.flatten() for part in mine]).unique().tolist()
        square = torch.cat([part.flatten() for part in weights]).double().square()
        seen.append((float(square.mean()), rank))
    assert [rank for _, rank in sorted(seen)] == list(range(2 * (HEADS + INNER)))


@pytest.mark.parametrize("value", [1.0, 0.0])
def test_units_of_equal_worth_are_pruned_one_after_another(value: float) -> None:
    weights = {name: torch.full(shape, value) for name, shape in block().items()}
    scores = ranks(weights, 2)
    assert len(torch.cat([tensor.flatten() for tensor in scores.values()]).unique()) == 2 + 12
    mask = keep_top(scores, Mask.full(weights), sparsity=Decimal(128) / Decimal(544))
    pruned = {name: int((~kept).sum()) for name, kept in mask.items() if not kept.all()}
    assert pruned == dict.fromkeys(("x.3.k.weight", "x.3.o.weight"), 32) | dict.fromkeys(
        ("x.3.q.weight", "x.3.v.weight"), 32
    )


@pytest.mark.parametrize("units", [1, 10, 20, 30])
def test_a_network_without_units_is_a_smaller_dense_one(bert: Any, units: int) -> None:
    mask = without(bert, units)
    kept = [kept_units(mask, layer) for layer in range(2)]
    assert sum(len(kind) for layer in kept for kind in layer) == 2 * (HEADS + INNER) - units
    masked = copy.deepcopy(bert)
    mask.fill(scope_parameters(masked, "encoder"))
    ids = torch.arange(18).reshape(2, 9)
    with torch.inference_mode():
        expected = masked(ids).last_hidden_state
        assert torch.allclose(cut(bert, kept)(ids).last_hidden_state, expected, atol=1e-5)
        assert not torch.allclose(bert(ids).last_hidden_state, expected, atol=1e-2)
        spoil(masked, kept)
        assert torch.equal(masked(ids).last_hidden_state, expected)


def cut(model: Any, kept: list[list[list[int]]]) -> Any:
    """The network built without the pruned heads and neurons."""
    small = copy.deepcopy(model)
    for layer, (heads, neurons) in zip(small.encoder.layer, kept, strict=True):
        lines = torch.arange(WIDTH).reshape(HEADS, -1)[heads].flatten()
        for name in ("query", "key", "value"):
            shorten(getattr(layer.attention.self, name), lines, 0)
        shorten(layer.attention.output.dense, lines, 1)
        shorten(layer.intermediate.dense, torch.tensor(neurons), 0)
        shorten(layer.output.dense, torch.tensor(neurons), 1)
    return small


def shorten(linear: nn.Linear, lines: Tensor, axis: int) -> None:
    linear.weight = nn.Parameter(linear.weight.detach().index_select(axis, lines))
    if axis == 0:
        linear.bias = nn.Parameter(linear.bias.detach()[lines])


def spoil(model: Any, kept: list[list[list[int]]]) -> None:
    """Change what only pruned units would pass on: their biases and their own inputs."""
    with torch.no_grad():
        for layer, (heads, neurons) in zip(model.encoder.layer, kept, strict=True):
            lines = torch.ones(HEADS, WIDTH // HEADS, dtype=torch.bool)
            lines[heads] = False
            for name in ("query", "key", "value"):
                linear = getattr(layer.attention.self, name)
                linear.bias[lines.flatten()] += 7
                linear.weight[lines.flatten()] += 0.5
            pruned = torch.ones(INNER, dtype=torch.bool)
            pruned[neurons] = False
            layer.intermediate.dense.bias[pruned] += 7
            layer.intermediate.dense.weight[pruned] += 0.5


def block(**changes: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of a block that has units, with changes; None takes a matrix away."""
    shapes: dict[str, Any] = dict.fromkeys("qkvo", (8, 8))
    shapes |= {"up": (12, 8), "gate": (12, 8), "down": (8, 12)} | changes
    return {f"x.3.{name}.weight": shape for name, shape in shapes.items() if shape}


@pytest.mark.parametrize(
    ("shapes", "heads", "message"),
    [
        (block(), 0, "attention heads that divides the width 8, got 0"),
        (block(), 3, "divides the width 8, got 3"),
        (block() | {"pooler.weight": (8, 8)}, 2, "got pooler.weight outside"),
        (block(o=None), 2, "got x.3.k.weight, x.3.q.weight, x.3.v.weight"),
        (block(o=None, r=(8, 8), v=None, w=(8, 8)), 2, "got x.3.k.weight, x.3.q"),
        (block(r=(8, 8)), 2, "got x.3.k.weight, x.3.o.weight, x.3.q.weight, x.3.r"),
        (block(k=(4, 8), v=(4, 8)), 2, "got x.3.o.weight, x.3.q.weight"),
        (dict.fromkeys(["0.c_attn"], (24, 8)), 2, "got none next to 0.c_attn"),
        (block(down=(8, 13)), 2, r"got inner widths \[12, 13\] in the block of x.3.down"),
        (block(down=None), 2, r"got inner widths \[12\]"),
        (block(down=None, up=None, gate=None), 2, r"got inner widths \[\]"),
        (block(up=(12, 9)), 2, r"got x.3.up.weight of shape \(12, 9\)"),
        (block(up=(12,)), 2, "got x.3.up.weight, not a matrix"),
    ],
)
def test_other_blocks_have_no_units(
    shapes: dict[str, tuple[int, ...]], heads: int, message: str
) -> None:
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(SpecError, match=message) as refused:
        ranks(weights, heads)
    assert "\n" not in str(refused.value)


def test_a_gate_is_pruned_with_its_neuron_whatever_the_order_of_names() -> None:
    chance = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=chance) for name, shape in block().items()}
    scores = ranks(weights, 2)
    again = ranks(dict(reversed(weights.items())), 2)
    assert all(torch.equal(scores[name], again[name]) for name in weights)
    assert torch.equal(scores["x.3.gate.weight"][:, 0], scores["x.3.down.weight"][0])
    assert torch.equal(scores["x.3.gate.weight"], scores["x.3.up.weight"])
    assert torch.equal(scores["x.3.q.weight"][:, 0], scores["x.3.o.weight"][0])


# all structures


def test_every_name_that_a_spec_takes_is_a_structure_and_the_other_way_round() -> None:
    assert set(STRUCTURES) == set(STRUCTURE_NAMES)
    with pytest.raises(SpecError, match=r"no structure 'row'\. Did you mean 'rows'"):
        PruneSpec(structure="row")
    assert PruneSpec(structure="2:4").sparsity == Decimal("0.5")
    with pytest.raises(SpecError, match=r"2:4 keeps 2 of each 4 weights, got sparsity 0\.6"):
        PruneSpec(structure="2:4", sparsity=Decimal("0.6"))


def drawn(**shapes: tuple[int, ...]) -> Tensors:
    chance = torch.Generator().manual_seed(1)
    return {name: torch.rand(shape, generator=chance) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", STRUCTURE_NAMES)
@pytest.mark.parametrize("sparsity", ["0", "0.1", "0.37", "0.9"])
def test_the_count_is_exact_and_what_is_pruned_stays_so(name: str, sparsity: str) -> None:
    scores = drawn(**block())
    full = Mask.full(scores)
    first = STRUCTURES[name](scores, full, Decimal(sparsity), 2)
    assert first.pruned == round(Decimal(sparsity) * full.size)
    again = STRUCTURES[name](drawn(**block()), first, Decimal("0.95"), 2)
    assert not any((again[each] & ~first[each]).any() for each in first)
    assert again.shapes == full.shapes


def test_rows_are_pruned_whole_but_for_the_last() -> None:
    scores = {
        "a": torch.tensor([[1.0, 1.0], [3.0, 3.0]]),
        "b": torch.tensor([[2.0] * 2, [1.0] * 2]),
    }
    kept = STRUCTURES["rows"](scores, Mask.full(scores), Decimal("0.625"), 0)
    assert kept["a"].tolist() == [[False, False], [True, True]]
    assert kept["b"].tolist() == [[False, True], [False, False]]
    with pytest.raises(SpecError, match=r"needs matrices, got v of shape \(4,\)"):
        STRUCTURES["rows"]({"v": torch.zeros(4)}, Mask.full({"v": torch.zeros(4)}), Decimal(0), 0)


def test_two_of_four_are_kept_in_every_group_and_ties_are_pruned_by_position() -> None:
    scores = {"w": torch.tensor([[4.0, 1.0, 3.0, 2.0, 5.0, 5.0, 5.0, 5.0]])}
    full, half = Mask.full(scores), Decimal("0.5")
    kept = STRUCTURES["2:4"](scores, full, half, 0)
    assert kept["w"].int().tolist() == [[1, 0, 1, 0, 0, 0, 1, 1]]
    assert STRUCTURES["2:4"](scores, kept, half, 0) == kept
    for wrong, sparsity, message in (
        (scores, Decimal("0.4"), "a sparsity of 0.5, got 0.4"),
        ({"w": torch.ones(2, 6)}, half, r"that 4 divides, got w of shape \(2, 6\)"),
        ({"w": torch.full((1, 8), torch.nan)}, half, "got NaN for w"),
    ):
        with pytest.raises(SpecError, match=message):
            STRUCTURES["2:4"](wrong, Mask.full(wrong), sparsity, 0)
    few = Mask({"w": torch.tensor([[True, False, False, False, True, True, True, True]])})
    with pytest.raises(SpecError, match="got w with fewer left in a group"):
        STRUCTURES["2:4"](scores, few, half, 0)


def test_patterns_are_lost_where_a_group_has_too_few_weights_left() -> None:
    drawn = torch.Generator().manual_seed(0)
    kept = {n: torch.rand((6, w), generator=drawn) < 0.8 for n, w in (("v", 16), ("w", 4))}
    mask, scores = Mask(kept), {name: torch.rand(each.shape) for name, each in kept.items()}
    lost = patterns_lost(mask)
    assert {m for m in GROUPS if any(key.endswith(f":{m}") for key in lost)} > {2, 4}
    for pattern in ("1:2", "1:4", "2:4", "3:4"):
        n, m = map(int, pattern.split(":"))
        share = Decimal(m - n) / m
        if pattern in lost:
            with pytest.raises(SpecError, match=f"{pattern} keeps {n} of each {m} weights, got"):
                STRUCTURES[pattern](scores, mask, share, 0)
        else:
            STRUCTURES[pattern](scores, mask, share, 0)
    assert not patterns_lost(Mask.full(scores))


def test_only_finer_patterns_are_sure_to_leave_enough_for_another() -> None:
    assert {"1:4", "2:4", "4:8"}.isdisjoint(patterns_at_risk("2:4"))
    assert {"1:2", "3:4", "5:8"} <= patterns_at_risk("2:4").keys()
    assert patterns_at_risk("rows").keys() == patterns_at_risk("unstructured").keys() > {"1:32"}
