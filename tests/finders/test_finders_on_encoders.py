"""Finders that train nothing score any encoder, or refuse it when a search is planned."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from architectures import ARCHITECTURES, POSITIONS, save
from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import read_mask
from tombola.lab.subjects import SubjectFactory
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task

HALF = Decimal("0.5")
RECIPE = TrainSpec(epochs=1, batch_size=8, learning_rate=1e-2, max_length=POSITIONS)
KNOBS: dict[str, dict[str, Any]] = {
    "grasp": {},
    "obs": {"examples": 4, "steps": 2},
    "sparsegpt": {"batches": 1, "block_size": 8},
    "structured": {"examples": 4},
    "synflow": {"steps": 3},
    "wanda": {"batches": 1},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_masks_are_exact_or_refused_in_one_line(name: str, reviews: Path, tmp_path: Path) -> None:
    folder = save(name, tmp_path / "network")
    subject = SubjectFactory(tmp_path).subject(
        str(folder), load_task("sentiment"), RECIPE, scope="encoder", folder=str(reviews)
    )
    planned, refused = {}, dict[str, str]()
    for each, knobs in KNOBS.items():
        spec = FINDERS[each].spec(sparsity=HALF, **knobs)
        try:
            planned[each] = FINDERS[each].search(subject, spec, 0).masks[HALF]
        except SpecError as error:
            refused[each] = str(error)
    units = {"structured", "synflow"} if "heads-and-neurons" in subject.refused else set()
    assert not any("\n" in reason for reason in refused.values())
    assert refused.keys() == units | ({"wanda", "sparsegpt"} if subject.matrices else set())
    lab = LabSpec(store=str(tmp_path / "store"), threads=1)
    store, summary = run_plan(Plan.of(planned.values()), lab, RunCallback())
    assert [str(error) for _, error in summary.failed] == []
    for job in planned.values():
        mask = read_mask(store, job.key)
        assert mask.pruned == round(mask.size / 2)
