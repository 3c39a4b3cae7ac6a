"""Loss and scores of a run, sent to an experiment tracker while it goes on."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError, cut
from tombola.base.registry import unknown
from tombola.base.specs import LabSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.store.result import Result
from tombola.plan.job import Job

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Tracking", "check_tracker", "trackers"]

PROJECT = "tombola"
EVERY = 1.0
"""Seconds between two losses of a job that are sent."""


@contextmanager
def trackers(lab: LabSpec, report: Callable[[str], None]) -> Iterator[list[RunCallback]]:
    """A callback for the tracker that `lab` names; none if it names none.

    Args:
        lab: the laboratory whose tracker has passed `check_tracker`.
        report: called with what the run goes on without, if the tracker fails.

    Raises: SpecError, if the tracker can't start.
    """
    if not lab.track:
        yield []
        return
    tracker = _tracker(lab.track, Path(lab.track_dir))
    try:
        yield [Tracking(tracker.log, report)]
    finally:
        tracker.end_training()


def check_tracker(name: str) -> None:
    """Refuse a tracker that can't be used.

    Raises: SpecError, if there is no such tracker, or its package is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    if name not in LOGGER_TYPE_TO_CLASS:
        raise unknown("tracker", name, sorted(LOGGER_TYPE_TO_CLASS))
    if name not in map(str, get_available_trackers()):
        raise SpecError(
            f"expected the package of the tracker {name!r}, which isn't installed. "
            f"Run `pip install {name}`, or leave --track out."
        )


def _tracker(name: str, folder: Path) -> "Accelerator":
    from tombola.training.distributed import accelerator

    made = accelerator(tracker=name, folder=str(folder))
    try:
        made.init_trackers(PROJECT)
    except Exception as error:  # whatever that package raises
        raise SpecError(
            f"expected the tracker {name!r} to begin, its files in {str(folder)!r}, got "
            f"{_reason(error)}. Set it up or use another --track-dir, or leave --track out."
        ) from error
    return made


def _reason(error: Exception) -> str:
    """An error of another package, in one short line."""
    return f"{type(error).__name__}: {cut(' '.join(str(error).split()))}"


class Tracking(RunCallback):
    """Sends losses and scores to a tracker, by the optimizer steps of the whole run so far, because
    some trackers only accept steps in rising order. A tracker that fails is not used again.

    Args:
        log: sends values at a step.
        report: called with what the run goes on without, if the tracker fails.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        log: Callable[[dict[str, float], int], None],
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._report, self._clock = log, report, clock
        self._done: dict[str, int] = {}
        """Key of each job that has taken a step -> its steps, the most if its worker was killed."""
        self._sent: dict[str, float] = {}
        """Key of each of them -> when its loss was sent."""

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        """Send the loss of a job, at most once a second and at its last step."""
        self._done[job.key] = max(done, self._done.get(job.key, 0))
        now = self._clock()
        if loss is not None and (done == steps or now - self._sent.get(job.key, -EVERY) >= EVERY):
            self._sent[job.key] = now
            self._send("loss", job, loss)

    def on_job_end(self, job: Job, result: Result) -> None:
        """Send the score of a job, if it has one."""
        if (score := result.facts.get("score")) is not None:
            self._send("score", job, score)

    def _send(self, what: str, job: Job, value: float) -> None:
        name = re.sub(r"[^\w.-]+", "-", job.label.replace("%", "percent")).strip("-")
        try:
            self._log({f"{what}/{name}": value}, sum(self._done.values()))
        except Exception as error:  # the run goes on, whatever becomes of its tracker
            self._log = _log_nothing
            self._report(f"the tracker from here on: {_reason(error)}")


def _log_nothing(values: dict[str, float], step: int) -> None:
    """Send nothing."""
