"""Loss and scores at an experiment tracker."""

from dataclasses import replace
from pathlib import Path

import pytest

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.run.tracking import Tracking, check_tracker, trackers
from tombola.lab.store.result import Result
from tombola.plan.job import Job, dense
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task

TASK = load_task("sentiment")
SUBJECT = replace(subject(TASK, TASK.recipe), examples=320)


class Log:
    """Stands in for a tracker."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str, float]] = []

    def __call__(self, values: dict[str, float], step: int) -> None:
        self.sent += [(step, name, value) for name, value in values.items()]


def ignore(what: str) -> None:
    """What becomes of the tracker does not matter."""


def result(job: Job, **facts: object) -> Result:
    return Result(**job.named(), facts=facts, numerics={}, seconds=1.0, peak_memory=1)


def test_the_steps_of_a_tracker_rise_over_all_jobs_and_losses_come_once_a_second() -> None:
    now, log = 0.0, Log()
    tracking = Tracking(log, ignore, lambda: now)
    jobs = [dense(SUBJECT, seed) for seed in (0, 1)]
    for done in range(1, 31):
        for job in jobs:
            tracking.on_job_step(job, done, 30, 1 / done)
        now += 0.25
    for job in jobs:
        tracking.on_job_end(job, result(job, score=80.0))
    losses = [each for each in log.sent if each[1].startswith("loss/")]
    first = [value for _, name, value in losses if name == "loss/sentiment-seed-0-dense"]
    assert first == [1 / done for done in (*range(1, 30, 4), 30)]
    assert [step for step, *_ in log.sent] == sorted(step for step, *_ in log.sent)
    assert log.sent[-1] == (60, "score/sentiment-seed-1-dense", 80.0)


def test_a_job_without_loss_or_score_sends_nothing() -> None:
    log = Log()
    tracking = Tracking(log, ignore)
    tracking.on_job_step(dense(SUBJECT, 0), 1, 30, None)
    tracking.on_job_end(dense(SUBJECT, 0), result(dense(SUBJECT, 0), score=None))
    assert log.sent == []


def test_a_tracker_writes_its_files(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    lab = LabSpec(track="tensorboard", track_dir=str(tmp_path / "logs"))
    job = dense(SUBJECT, 0)
    with trackers(lab, ignore) as (callback,):
        callback.on_job_step(job, 1, 30, 0.75)
        callback.on_job_end(job, result(job, score=81.5))
    found = events.EventAccumulator(str(tmp_path / "logs" / "tombola")).Reload()
    (loss,) = found.Scalars("loss/sentiment-seed-0-dense")
    (score,) = found.Scalars("score/sentiment-seed-0-dense")
    assert (loss.step, loss.value, score.step, score.value) == (1, 0.75, 1, 81.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", "there is no tracker 'tensorbord'. Did you mean 'tensorboard'"),
        ("aim", "expected the package of the tracker 'aim', which isn't installed"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_tracker(name)


def test_steps_rise_though_a_killed_worker_goes_back() -> None:
    log, job = Log(), dense(SUBJECT, 0)
    now = 0.0
    tracking = Tracking(log, ignore, lambda: now)
    for done in (8, 9, 5, 6, 10):
        now += 2
        tracking.on_job_step(job, done, 30, 0.5)
    assert [step for step, *_ in log.sent] == [8, 9, 9, 9, 10]


def test_there_is_no_callback_where_no_tracker_is_named() -> None:
    with trackers(LabSpec(), ignore) as callbacks:
        assert callbacks == []


def test_a_tracker_that_is_not_there_is_refused_even_if_nothing_is_left_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(SpecError, match="there is no tracker 'tensorbord'"):
        run_plan(Plan.of([]), LabSpec(store=str(tmp_path), track="tensorbord"), RunCallback())


def test_a_tracker_that_cannot_begin_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").touch()
    lab = LabSpec(track="tensorboard", track_dir=str(tmp_path / "file"))
    with (
        pytest.raises(SpecError, match=r"'tensorboard' to begin, its files in .*Error: ") as found,
        trackers(lab, ignore),
    ):
        raise AssertionError
    assert "\n" not in str(found.value)


def test_a_run_goes_on_without_a_tracker_that_fails() -> None:
    asked, told = [], list[str]()

    def fails(values: dict[str, float], step: int) -> None:
        asked.append(step)
        raise OSError("no space left\non device")

    tracking, job = Tracking(fails, told.append), dense(SUBJECT, 0)
    tracking.on_job_step(job, 1, 30, 0.5)
    tracking.on_job_end(job, result(job, score=80.0))
    assert asked == [1]
    assert told == ["the tracker from here on: OSError: 'no space left on device'"]
