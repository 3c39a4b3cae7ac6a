"""Finders of single weights prune N:M: the spec that a mask is made with asks for one round."""

from decimal import Decimal

import pytest

from tombola.finders.finder import FINDERS, making
from tombola.finders.rewind import RewindSpec

HALF = Decimal("0.5")


@pytest.mark.parametrize("name", [name for name in FINDERS if name != "structured"])
def test_masks_of_n_of_m_have_a_spec(name: str) -> None:
    spec = FINDERS[name].spec.of_mask(HALF, "2:4", {})
    assert (spec.sparsity, spec.structure) == (HALF, "2:4")


def test_masks_by_magnitude_are_made_without_rounds() -> None:
    assert not issubclass(making("magnitude").spec, RewindSpec)
    assert making("magnitude").spec.of_mask(Decimal(0), "unstructured", {}).sparsity == 0
