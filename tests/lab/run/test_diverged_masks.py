"""A mask whose own training diverges is recorded, and nothing that needs it is tried."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from command_line import Cli
from small_search import small_search
from tombola.base.errors import TrainingDivergedError
from tombola.base.specs import PruneSpec
from tombola.finders.evidence import Evidence
from tombola.finders.finder import FINDERS, Pruned, finder
from tombola.finders.shapes import train_mask
from tombola.lab.store.artifacts import has_mask, read_mask
from tombola.lab.store.result_store import Store
from tombola.ticket.mask import Mask
from tombola.ticket.structures import STRUCTURES

PLAN = """
version: 1
tasks: [sentiment]
seeds: [0, 1]
train: {epochs: 1, batch_size: 8}
model: MODEL
arms:
  movement: {kind: movement, sparsity: 0.5, learning_rates: [1.0e+30]}
  drawn: {kind: control, of: movement, names: [layer-random]}
  one-shot: {kind: one-shot, sparsity: 0.5}
"""


def test_a_plan_goes_on_without_it_and_says_what_diverged(
    tiny: Path, reviews: Path, cli: Cli
) -> None:
    Path("mine.yaml").write_text(PLAN.replace("MODEL", str(tiny)))
    flags = ("mine.yaml", "--data", reviews)
    status, out, err = cli("run", *flags, "--threads", 1)
    assert (status, err) == (0, "")
    assert "diverged: its loss is not finite at step" in out
    assert "6 jobs can't be done after a training that diverged" in out
    status, out, _ = cli("run", *flags, "--threads", 1)
    assert status == 0
    assert "0 jobs done" in out
    cli("table", *flags, "--output", "rows.csv")
    with Path("rows.csv").open(newline="") as file:
        states = {(row["arm"], row["state"]) for row in csv.DictReader(file)}
    assert states == {("movement", "diverged"), ("drawn", "diverged"), ("one-shot", "done")}
    status, out, _ = cli("matching", *flags)
    assert status == 0
    assert "continues" not in out
    assert "diverged" in out
    status, _, _ = cli("report", *flags, "--output", "out.html")
    assert status == 0
    assert "diverged" in Path("out.html").read_text()


def nan(evidence: Evidence, spec: PruneSpec, mask: Mask) -> Pruned:
    """Score by NaN after a training."""
    evidence.train()
    scores = {name: torch.full_like(weight, torch.nan) for name, weight in evidence.weights.items()}
    return Pruned(STRUCTURES[spec.structure](scores, mask, spec.sparsity, 0))


@pytest.fixture
def toy() -> Iterator[None]:
    FINDERS["imp"]
    finder("nan", PruneSpec, plan=train_mask)(nan)
    yield
    del FINDERS._plugins["nan"]


def test_a_search_whose_masks_diverge_is_undecided_without_a_ticket(
    toy: None, tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    found = small_search(tmp_path, tiny, reviews, finder="nan", controls=("random",), threads=1)
    assert found.tickets == {}
    with pytest.raises(TrainingDivergedError, match="got one whose searches all diverged"):
        os.fspath(found)
    assert found.verdict["status"] == "undecided"
    assert "can't be done after a training that diverged" in str(found.verdict["reason"])
    assert None not in (*found.dense["values"], *found.controls["random"]["values"])
    store = Store(tmp_path / "store")
    masks = [store.read(row["key"]) for row in store.rows(kind="prune")]
    faults = {str(mask.diverged) for mask in masks if mask and mask.diverged}
    (fault,) = faults
    assert fault.startswith("diverged: its scores are not finite at step")
    key = next(mask.key for mask in masks if mask and mask.diverged)
    assert not has_mask(store, key)
    message = "its training diverged: its scores are not finite"
    with pytest.raises(TrainingDivergedError, match=message):
        read_mask(store, key)
