"""The cost of a plan is measured by a short trial, unless the store has a training like it."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tombola.base.specs import TrainSpec
from tombola.lab.run import cost_estimate as estimates
from tombola.lab.run import memory
from tombola.lab.run import perform as jobs
from tombola.lab.run.cost_estimate import GpuEstimate
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import Subjects
from tombola.plan.job import dense
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
    subject = Subjects(tmp_path).subject(
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
    subject = Subjects(tmp_path).subject(
        str(tiny), load_task("sentiment"), RECIPE, scope="encoder", folder=str(reviews)
    )
    monkeypatch.setattr(memory, "gpu_size", lambda: 80 * GIB)
    monkeypatch.setattr(jobs, "gpu_peak", lambda: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    plan = Plan.of([dense(subject, 0)])
    found = estimates.estimate_cost(plan, Store(tmp_path / "store"), workers=1, threads=1)
    assert found.gpu == GpuEstimate(memory=3 * GIB, size=80 * GIB, fitting=20, gpus=2)
