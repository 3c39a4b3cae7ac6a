"""The progress of a run, in a terminal and in a file."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import tombola
from stand_in_subject import subject
from tombola.base.rounding import duration
from tombola.base.specs import LabSpec
from tombola.lab.progress import bar
from tombola.lab.progress.bar import ProgressBar
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.result import Result
from tombola.plan.job import Job, dense
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task

TASK = load_task("sentiment")
SUBJECT = replace(subject(TASK, TASK.recipe), examples=320)
JOBS = [dense(SUBJECT, seed) for seed in (0, 1)]
STEPS = JOBS[0].steps


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bar, "_memory", lambda: 1_840_000_000)


def result(job: Job) -> Result:
    return Result(**job.named(), facts={"score": 81.5}, numerics={}, seconds=1.0, peak_memory=1)


def shown(*, terminal: bool, step: float, width: int = 160) -> str:
    """What is shown of two trainings whose steps take so many seconds."""
    now, out = 0.0, io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None)
    progress = ProgressBar(console, lambda: now)
    progress.on_plan(JOBS, [])
    progress.on_workers(1, 2)
    for job in JOBS:
        progress.on_job_start(job)
        for done in range(1, STEPS + 1):
            now += step
            progress.on_job_step(job, done, STEPS, 0.6931)
        progress.bar.refresh()
        progress.on_job_end(job, result(job))
    progress.on_run_end()
    return out.getvalue()


def test_a_file_gets_a_line_a_minute() -> None:
    assert STEPS == 30
    lines = shown(terminal=False, step=7).splitlines()
    at = [line for line in lines if "left" in line]
    assert len(at) == 60 * 7 // 63  # every ninth step, the first at or after a minute
    assert at[0] == (
        "  15 %, job 1 of 2, 6 min left, loss 0.693, 1.8 GB; sentiment, seed 0, dense: step 9 of 30"
    )
    assert [line.split() for line in lines if "81.50" in line] == [
        ["sentiment,", "seed", "0,", "dense", "81.50"],
        ["sentiment,", "seed", "1,", "dense", "81.50"],
    ]


def test_a_short_run_says_only_how_it_ended() -> None:
    assert len(shown(terminal=False, step=0.1).splitlines()) == 2


@pytest.mark.parametrize("width", [80, 100, 130])
def test_a_terminal_shows_loss_memory_and_the_time_left_of_all_jobs(width: int) -> None:
    bars = shown(terminal=True, step=10, width=width).split("\x1b[2K")
    half = next(bar.strip() for bar in bars if "50% job 1 of 2" in bar)
    assert half.endswith("50% job 1 of 2 5 min left, loss 0.693, 1.8 GB")
    assert half.startswith("sentiment, seed 0, dense") == (width > 80)


def test_the_time_left_runs_down_while_a_network_is_scored() -> None:
    out, now = io.StringIO(), 0.0
    console = Console(file=out, force_terminal=True, width=160, color_system=None)
    progress = ProgressBar(console, lambda: now)

    def bar() -> str:
        out.seek(out.truncate(0))
        progress.bar.refresh()
        return out.getvalue()

    progress.on_plan(JOBS, [])
    for job in JOBS:
        progress.on_job_start(job)
        for done in range(1, STEPS + 1):
            now += 10
            progress.on_job_step(job, done, STEPS, None)
        if job == JOBS[0]:
            now += 60  # for its score
            progress.on_job_end(job, result(job))
    assert "sentiment, seed 1, dense, scoring" in (ended := bar())
    assert "100% job 2 of 2 50 s left, 1.8 GB" in ended
    now += 45
    assert "100% job 2 of 2 5 s left, 1.8 GB" in bar()
    now += 45
    assert "100% job 2 of 2 1.8 GB" in bar()
    progress.on_run_end()


def test_a_loss_that_was_not_read_yet_is_left_out() -> None:
    out, now = io.StringIO(), 0.0
    progress = ProgressBar(Console(file=out, width=160), lambda: now)
    progress.on_plan(JOBS[:1], [])
    progress.on_job_start(JOBS[0])
    now = 61.0
    progress.on_job_step(JOBS[0], 1, STEPS, None)
    assert out.getvalue().strip().startswith("3 %, job 1 of 1, 1.8 GB; sentiment")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("epochs", "least", "shown"),
    [
        (1, 0, "1 epoch, 10 steps of 32"),
        (0.1, 0, "0.1 epochs, 1 step of 32"),
        (1, 15, "1.5 epochs, for 15"),
    ],
)
def test_a_recipe_counts_its_epochs_and_steps(epochs: float, least: int, shown: str) -> None:
    recipe = replace(TASK.recipe, epochs=epochs, min_steps=least, batch_size=32)
    line = bar.recipe_line(replace(SUBJECT, recipe=recipe))
    assert f"learning rate 0.0003, {shown}" in line


def test_a_run_ends_its_callback_even_if_it_fails(tmp_path: Path) -> None:
    class Ended(RunCallback):
        ends = 0

        def on_plan(self, todo: list[Job], done: list[Job]) -> None:
            raise KeyboardInterrupt

        def on_run_end(self) -> None:
            self.ends += 1

    callback = Ended()
    with pytest.raises(KeyboardInterrupt):
        run_plan(Plan.of([]), LabSpec(store=str(tmp_path / "store")), callback)
    assert callback.ends == 1


def test_a_program_in_python_gets_a_bar_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = tombola.ProgressBar()
    progress.on_plan(JOBS[:1], [])
    progress.on_job_error(JOBS[0], "no more [red]room")
    progress.on_run_end()
    shown = capsys.readouterr()
    assert (shown.out, "no more [red]room" in shown.err) == ("", True)
