"""The cost of a plan is measured by a short trial, unless the store has a training like it."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from stand_in_subject import subject as stand_in
from tombola.base.specs import TrainSpec
from tombola.finders.finder import FINDERS
from tombola.lab.run import cost_estimate as estimates
from tombola.lab.run import memory
from tombola.lab.run import perform as jobs
from tombola.lab.run.cost_estimate import GpuEstimate, Throughput
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import Job, dense
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task
from tombola.training import predictions

RECIPE = TrainSpec(epochs=1, batch_size=16, max_length=30)
GIB = 1 << 30
TESTED = 24
"""Texts in the test split of `reviews`."""


def test_only_scoring_grows_with_the_test_split(
    tiny: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = SubjectFactory(tmp_path).subject(
        str(tiny), load_task("sentiment"), RECIPE, scope="encoder", folder=str(reviews)
    )
    monkeypatch.setattr(memory, "gpu_size", lambda: 0)
    clock, scored = 0.0, []
    real_predict, real_perform = predictions.predict, jobs.perform

    def predict(network: Any, task: Any, examples: Any, *recipe: Any) -> Any:
        nonlocal clock
        clock += 2.0 * len(examples)
        scored.append(len(examples))
        return real_predict(network, task, examples, *recipe)

    def perform(*of_a_job: Any) -> None:
        nonlocal clock
        clock += 1000.0  # loading and storing, which take as long for any number of texts
        real_perform(*of_a_job)

    monkeypatch.setattr(estimates, "TRIAL_EXAMPLES", 8)
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(predictions, "predict", predict)
    monkeypatch.setattr(jobs, "predict", predict)
    monkeypatch.setattr(jobs, "perform", perform)
    plan = Plan.of([dense(subject, 0)])
    found = estimates.estimate_cost(plan, Store(tmp_path / "store"), workers=1, threads=1)
    assert scored == [8, 8]
    assert found.seconds == 1000.0 + 2.0 * TESTED
    assert found.gpu is None


def test_a_trial_on_a_gpu_shows_how_many_trainings_fit(
    tiny: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = SubjectFactory(tmp_path).subject(
        str(tiny), load_task("sentiment"), RECIPE, scope="encoder", folder=str(reviews)
    )
    monkeypatch.setattr(memory, "gpu_size", lambda: 80 * GIB)
    monkeypatch.setattr(jobs, "gpu_peak", lambda: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    plan = Plan.of([dense(subject, 0)])
    found = estimates.estimate_cost(plan, Store(tmp_path / "store"), workers=1, threads=1)
    assert found.gpu == GpuEstimate(memory=3 * GIB, size=80 * GIB, fitting=20, gpus=2)


@pytest.mark.parametrize(
    ("finder", "distill", "step"),
    [("gradual", 0.0, 3.0), ("gradual", 0.5, 3.0), ("task-agnostic", 0.0, 4.0), ("snip", 0.0, 0.0)],
)
def test_a_mask_is_estimated_with_the_steps_of_its_training_and_the_passes_of_its_teacher(
    finder: str, distill: float, step: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(job: Job, threads: int) -> Throughput:
        return Throughput(step=3.0, around=0.0, backbone_size=0, scope_size=0)

    monkeypatch.setattr(estimates, "_measured", measured)
    subject = stand_in(load_task("mlm"), TrainSpec(distill=distill))
    found = FINDERS[finder].search(subject, FINDERS[finder].spec(), 0)
    seconds = [
        estimates.estimate_cost(Plan.of(jobs), Store(tmp_path), workers=1, threads=1).seconds
        for jobs in (found.masks.values(), [found.dense])
    ]
    whole = distill and 3.0 * subject.steps  # of the teacher's own training
    assert seconds == pytest.approx([step * subject.steps + whole, 3.0 * subject.steps])
