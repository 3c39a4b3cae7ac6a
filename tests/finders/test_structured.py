"""Heads and neurons go by what gates on them would do to the loss."""

from decimal import Decimal
from typing import Any, cast

import pytest
import torch
from torch import nn

from tombola.base.errors import SpecError
from tombola.finders.untrained.structured import StructuredSpec, structured, unit_importance
from tombola.ticket.mask import Mask
from tombola.ticket.structures import units_of
from toy_evidence import ToyEvidence

EXAMPLES = 4


def gated(toy: ToyEvidence, place: str, units: int) -> torch.Tensor:
    """Mean over examples of |dL/dgate|, with a gate on each share of the inputs of a layer."""
    layer = cast(nn.Linear, toy.model.get_submodule(f"bert.{place}"))
    total = torch.zeros(units)
    for row in range(EXAMPLES):
        gates = torch.ones(units, requires_grad=True)

        def scale(module: nn.Module, inputs: Any, gates: torch.Tensor = gates) -> torch.Tensor:
            values: torch.Tensor = inputs[0]
            return values * gates.repeat_interleave(values.shape[-1] // units)

        with layer.register_forward_pre_hook(scale):
            loss = toy.loss(slice(row, row + 1))
        total += torch.autograd.grad(loss, gates)[0].abs() / EXAMPLES
    return total


def test_importance_is_the_mean_size_of_the_gradient_of_a_gate() -> None:
    toy = ToyEvidence()
    units = units_of(toy.weights, toy.layout.heads)
    found = unit_importance(cast(Any, toy), EXAMPLES, units)
    for block in (0, 1):
        place = f"encoder.layer.{block}"
        heads, neurons = found[2 * block], found[2 * block + 1]
        for importance, layer in ((heads, "attention.output.dense"), (neurons, "output.dense")):
            expected = gated(toy, f"{place}.{layer}", len(importance))
            torch.testing.assert_close(importance.float(), expected, rtol=1e-3, atol=1e-7)


def test_whole_units_are_pruned_but_for_the_last() -> None:
    toy = ToyEvidence()
    spec = StructuredSpec(sparsity=Decimal("0.5"), examples=EXAMPLES)
    mask = structured(cast(Any, toy), spec, Mask.full(toy.weights)).mask
    assert mask.pruned == mask.size // 2
    partial = 0
    units = units_of(toy.weights, toy.layout.heads)
    importance = unit_importance(cast(Any, toy), EXAMPLES, units)
    kept_of: list[float] = []
    lost_of: list[float] = []
    for kind, found in zip(units, importance, strict=True):
        scaled = found / found.square().mean().sqrt()
        for unit in range(kind.count):
            kept = [
                mask[name].tensor_split(kind.count, dim=axis)[unit] for name, axis in kind.matrices
            ]
            share = sum(int(each.sum()) for each in kept) / sum(each.numel() for each in kept)
            partial += 0 < share < 1
            (kept_of if share == 1 else lost_of).append(float(scaled[unit]))
    assert partial <= 1
    assert min(kept_of) >= max(lost_of)


@pytest.mark.parametrize("structure", ["unstructured", "rows", "2:4"])
def test_other_structures_are_refused(structure: str) -> None:
    with pytest.raises(SpecError, match=f"heads-and-neurons, got the structure {structure}"):
        StructuredSpec(sparsity=Decimal("0.5"), structure=structure)
