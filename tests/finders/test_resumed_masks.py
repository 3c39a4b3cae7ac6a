"""A mask's training resumes from a copy bitwise identically, and two ranks can share it."""

from pathlib import Path
from typing import Any

import pytest

from tombola.base.specs import LabSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import read_mask
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.training.checkpoint import Checkpoint

TRAINED: dict[str, dict[str, Any]] = {
    "gradual": {"every": 2},
    "movement": {},
    "soft-movement": {},
    "platon": {"every": 3},
    "mask-training": {},
    "task-agnostic": {"feature_distill": 1.0},
}


class Watched(RunCallback):
    """Keeps the steps of a job, and stops it at one as Ctrl-C does."""

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.seen: list[int] = []

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        self.seen.append(done)
        if done == self.stop:
            raise KeyboardInterrupt


def job_of(name: str, tiny: Path, reviews: Path, tmp_path: Path) -> Job:
    """The mask of a search with a dozen steps."""
    recipe = TrainSpec(epochs=2, batch_size=8, learning_rate=1e-2, max_length=30, test_limit=16)
    subject = SubjectFactory(tmp_path).subject(
        str(tiny), load_task("sentiment"), recipe, scope="encoder", folder=str(reviews)
    )
    knobs: dict[str, Any] = TRAINED.get(name, {})
    (mask,) = FINDERS[name].search(subject, FINDERS[name].spec(**knobs), 3).masks.values()
    return mask


def found(job: Job, place: Path, callback: RunCallback, processes: int = 1) -> Mask:
    """The mask that a run makes."""
    lab = LabSpec(store=str(place), threads=1, processes=processes)
    store, summary = run_plan(Plan.of([job]), lab, callback)
    for _, error in summary.failed:
        raise error
    return read_mask(store, job.key)


@pytest.mark.parametrize("name", TRAINED)
def test_a_stopped_mask_goes_on_to_the_same_bits(
    name: str, tiny: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(name, tiny, reviews, tmp_path)
    whole = found(job, tmp_path / "whole", every := Watched())
    assert every.seen == [*range(1, 13)]
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    with pytest.raises(KeyboardInterrupt):
        found(job, tmp_path / "store", Watched(stop=7))
    resumed = found(job, tmp_path / "store", rest := Watched())
    assert rest.seen == [*range(8, 13)]
    assert resumed == whole
    before, after = (Store(tmp_path / each).read(job.key) for each in ("whole", "store"))
    assert before
    assert after
    assert "earlier_seconds" not in before.facts
    assert 0 < after.facts["earlier_seconds"] < after.seconds
    assert after.facts["compute"] == before.facts["compute"]
    assert not [*(tmp_path / "store" / "partial").rglob("step-*")]


@pytest.mark.slow
def test_two_ranks_make_an_exact_mask_together(tiny: Path, reviews: Path, tmp_path: Path) -> None:
    job = job_of("gradual", tiny, reviews, tmp_path)
    alone = found(job, tmp_path / "alone", RunCallback())
    shared = found(job, tmp_path / "shared", RunCallback(), processes=2)
    assert shared.pruned == alone.pruned == round(0.7 * alone.size)
    differing = sum(int((shared[n] != alone[n]).sum()) for n in alone)
    assert differing < 0.1 * alone.size  # dropout draws from a stream for each rank
