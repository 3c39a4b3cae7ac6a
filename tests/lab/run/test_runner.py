"""What a run refuses is refused before the first job, and by a check that does nothing else."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stand_in_subject import subject
from tombola.base.errors import TombolaError
from tombola.base.specs import LabSpec
from tombola.lab.run import runner
from tombola.lab.run.engine import RunCallback
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import dense
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task
from tombola.training.numerics import numerics


@pytest.fixture
def plan() -> Plan:
    """Two trainings that no test does."""
    task = load_task("sentiment")
    return Plan.of(dense(subject(task, task.recipe), seed) for seed in (0, 1))


def said(plan: Plan, lab: LabSpec, check: Any) -> str:
    with pytest.raises(TombolaError) as refused:
        check(plan, lab)
    return str(refused.value)


@pytest.mark.parametrize(
    ("made_with", "knobs", "message"),
    [
        ({"threads": 7}, {"threads": 1}, "made with other numerics: .* but threads is 7 in"),
        ({"kernel": "packed-0"}, {"threads": 1}, "made with other numerics: .* kernel is packed-0"),
        ({}, {"threads": 1, "processes": 2}, "made with other numerics|a GPU for each of 2"),
        ({}, {"threads": 1, "track": "nosuch"}, "there is no tracker 'nosuch'"),
    ],
)
def test_a_run_and_its_check_refuse_the_same(
    plan: Plan, tmp_path: Path, made_with: dict[str, Any], knobs: dict[str, Any], message: str
) -> None:
    store, first = Store(tmp_path), plan.jobs[0]
    made = numerics(first.subject.recipe) | {"threads": 1} | made_with
    store.save(Result(**first.named(), facts={}, numerics=made, seconds=1.0, peak_memory=1), {})
    lab = LabSpec(store=str(tmp_path), **knobs)
    by_check = said(plan, lab, lambda plan, lab: runner.check_run(plan, lab, store))
    assert by_check == said(plan, lab, lambda plan, lab: runner.run_plan(plan, lab, RunCallback()))
    assert re.search(message, by_check)
    assert store.keys() == {first.key}


def test_too_few_gpus_are_refused(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "visible_gpus", lambda: ["0"])
    lab, store = LabSpec(store=str(tmp_path), threads=1, processes=2), Store(tmp_path)
    by_check = said(plan, lab, lambda plan, lab: runner.check_run(plan, lab, store))
    assert "a GPU for each of 2 processes, got 1" in by_check
    assert by_check == said(plan, lab, lambda plan, lab: runner.run_plan(plan, lab, RunCallback()))


def test_what_can_run_is_given_its_numbers(plan: Plan, tmp_path: Path) -> None:
    lab = LabSpec(store=str(tmp_path), workers=1, threads=1)
    assert runner.check_run(plan, lab, Store(tmp_path)) == lab
    assert runner.check_run(Plan.of([]), replace(lab, processes=2), Store(tmp_path)).processes == 2
