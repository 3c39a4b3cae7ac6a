"""What a mask prunes as a whole, sparsity by layer and type, and how far weights have moved."""

from typing import Any

import numpy as np
import pytest
import torch

from tombola.base.errors import TicketError
from tombola.study.masks.anatomy import anatomy, pruned_lines
from tombola.study.masks.sparsity_grids import OUTSIDE, sparsity_grids
from tombola.study.masks.weight_distance import weight_distances
from tombola.ticket.mask import Mask

WIDTH, INNER, HEADS = 8, 12, 4
BLOCK = {
    "attention.self.query.weight": (WIDTH, WIDTH),
    "attention.self.key.weight": (WIDTH, WIDTH),
    "attention.self.value.weight": (WIDTH, WIDTH),
    "attention.output.dense.weight": (WIDTH, WIDTH),
    "intermediate.dense.weight": (INNER, WIDTH),
    "output.dense.weight": (WIDTH, INNER),
}
ATTENTION = [*BLOCK][:4]


@pytest.fixture
def kept() -> dict[str, torch.Tensor]:
    """Two blocks that keep every weight."""
    return {
        f"encoder.layer.{number}.{name}": torch.ones(shape, dtype=torch.bool)
        for number in (0, 1)
        for name, shape in BLOCK.items()
    }


def prune_head(kept: dict[str, torch.Tensor], layer: int, head: int) -> None:
    size = WIDTH // HEADS
    share = slice(head * size, (head + 1) * size)
    for name in ATTENTION[:3]:
        kept[f"encoder.layer.{layer}.{name}"][share] = False
    kept[f"encoder.layer.{layer}.{ATTENTION[3]}"][:, share] = False


def test_a_head_is_pruned_where_it_keeps_no_weight(kept: dict[str, torch.Tensor]) -> None:
    prune_head(kept, 1, 2)
    prune_head(kept, 0, 3)
    kept["encoder.layer.0.attention.self.query.weight"][7, 0] = True
    heads = anatomy(Mask(kept), HEADS).heads
    [pruned] = [head for head in heads if head.sparsity == 1]
    assert (pruned.block, pruned.number) == ("encoder.layer.1", 2)
    almost = heads[3]
    assert (almost.block, almost.number) == ("encoder.layer.0", 3)
    assert almost.sparsity == 1 - 1 / (4 * WIDTH * WIDTH / HEADS)


def test_a_neuron_is_pruned_with_its_row_and_its_column(kept: dict[str, torch.Tensor]) -> None:
    kept["encoder.layer.0.intermediate.dense.weight"][5] = False
    assert anatomy(Mask(kept), HEADS).pruned_neurons == 0
    kept["encoder.layer.0.output.dense.weight"][:, 5] = False
    found = anatomy(Mask(kept), HEADS)
    assert (found.neurons, found.pruned_neurons) == (2 * INNER, 1)


def test_rows_and_columns_that_keep_no_weight_are_counted(kept: dict[str, torch.Tensor]) -> None:
    name = "encoder.layer.0.intermediate.dense.weight"
    kept[name][[1, 4]] = False
    kept[name][:, 0] = False
    [lines] = anatomy(Mask(kept), HEADS).fully_pruned
    assert lines.matrix == name
    assert (lines.rows, lines.pruned_rows) == (INNER, 2)
    assert (lines.columns, lines.pruned_columns) == (WIDTH, 1)
    assert len(pruned_lines(Mask(kept))) == len(kept)


def test_a_grid_has_each_matrix_and_what_is_outside(kept: dict[str, torch.Tensor]) -> None:
    kept["encoder.layer.1.output.dense.weight"][:] = False
    kept["pooler.dense.weight"] = torch.tensor([[True, False], [True, True]])
    del kept["encoder.layer.0.attention.self.key.weight"]
    blocks, rest = sparsity_grids(Mask(kept))
    assert (blocks.blocks, blocks.layers) == ("encoder.layer", (0, 1))
    column = blocks.types.index("output.dense")
    assert [row[column] for row in blocks.sparsity] == [0.0, 1.0]
    assert blocks.by_type[column] == 0.5
    pruned = WIDTH * INNER
    assert blocks.by_layer == (0.0, pruned / (4 * WIDTH**2 + 2 * pruned))
    assert blocks.sparsity[0][blocks.types.index("attention.self.key")] is None
    assert (rest.blocks, rest.sparsity) == (OUTSIDE, ((0.25,),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": None}, "need the network's number of attention heads, got none"),
        ({"heads": 3}, "divides the width 8, got 3"),
        ({"without": "encoder.layer.1.attention.self.key.weight"}, "needs blocks of square query"),
    ],
)
def test_where_heads_are_unknown_the_rest_is_known(
    kept: dict[str, torch.Tensor], change: dict[str, Any], message: str
) -> None:
    kept.pop(change.get("without", ""), None)
    found = anatomy(Mask(kept), change.get("heads", HEADS))
    assert message in found.note
    assert (found.heads, found.neurons) == ((), 0)
    assert found.grids


def test_distance_is_relative_and_of_kept_weights() -> None:
    before = {"a": np.array([[3.0, 4.0], [6.0, 8.0]]), "b": np.zeros((1, 2))}
    after = {"a": np.array([[3.0, 5.0], [0.0, 0.0]]), "b": np.ones((1, 2))}
    whole = weight_distances(before, after)
    assert whole["a"] == pytest.approx((1 + 36 + 64) ** 0.5 / 125**0.5)
    assert np.isnan(whole["b"])
    mask = Mask({"a": torch.tensor([[True, True], [False, False]])})
    assert weight_distances(before, after, mask) == {"a": pytest.approx(1 / 5)}
    with pytest.raises(TicketError, match=r"got b of shape \(1, 2\) before and None after"):
        weight_distances(before, {"a": after["a"]})
