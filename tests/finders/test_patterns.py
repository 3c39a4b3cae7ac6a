"""Finders of single weights prune N:M: the spec that a mask is made with asks for one round."""

from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec, TrainSpec
from tombola.finders.finder import FINDERS, finder_of_scores
from tombola.finders.rewind import RewindSpec
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import prune
from tombola.tasks.task import load_task

HALF = Decimal("0.5")


@pytest.mark.parametrize("name", [name for name in FINDERS if name != "structured"])
def test_masks_of_n_of_m_have_a_spec(name: str) -> None:
    spec = FINDERS[name].spec.of_mask(HALF, "2:4", {})
    assert (spec.sparsity, spec.structure) == (HALF, "2:4")


def test_masks_by_magnitude_are_made_without_rounds() -> None:
    assert not issubclass(finder_of_scores("magnitude").spec, RewindSpec)
    assert finder_of_scores("magnitude").spec.of_mask(Decimal(0), "unstructured", {}).sparsity == 0


@pytest.mark.parametrize("name", [name for name in FINDERS if name != "structured"])
def test_rows_that_do_not_divide_are_refused_before_any_training(
    name: str, tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    recipe = TrainSpec(epochs=1, batch_size=8, max_length=30)
    subject = SubjectFactory(tmp_path).subject(
        str(tiny), load_task("sentiment"), recipe, scope="encoder", folder=str(reviews)
    )
    reason = r"N:32 needs a number of inputs that 32 divides, got encoder.* of shape \(32, 48\)\."
    with pytest.raises(SpecError, match=reason):
        FINDERS[name].search(subject, spec_of(name, "15:32"), 0)
    with pytest.raises(SpecError, match=reason):
        prune(subject, spec_of("one-shot", "16:32"), "a random mask", scores="random")
    assert FINDERS[name].search(subject, spec_of(name, "4:16"), 0).masks


def spec_of(name: str, structure: str) -> PruneSpec:
    """A finder's spec of that pattern, small enough for the data."""
    n, m = map(Decimal, structure.split(":"))
    kind, sparsity = FINDERS[name].spec, (m - n) / m
    known = {field.name for field in fields(kind)}
    few = {"examples": 8, "batches": 1, "feature_distill": 1.0, "every": 1}
    own: dict[str, Any] = {knob: value for knob, value in few.items() if knob in known}
    own |= {"rounds": (sparsity,)} if issubclass(kind, RewindSpec) else {}
    return kind(sparsity=sparsity, structure=structure, **own)
