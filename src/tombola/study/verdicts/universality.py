"""Whether one kind of network matches on every task, and on which."""

from collections.abc import Sequence
from dataclasses import dataclass

from tombola.study.statistics.multiple_testing import at_least, holm
from tombola.study.verdicts.comparison import Comparison, first_reason
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED, Status

__all__ = ["ALPHA", "Universality", "p_matching", "universality"]

ALPHA = 0.05
"""One-sided error of each test: the 90 % interval has as much beyond either end."""


@dataclass(frozen=True, kw_only=True)
class Universality:
    """Whether networks match on every one of some tasks."""

    status: Status
    """The status of "matching on every task"."""
    reason: str | None
    """The premise that fails on some task, where it is undecided."""
    tasks: int
    matching: tuple[str, ...]
    """The tasks on which it matches, by Holm: with the chance of one or more errors bounded."""
    unfinished: tuple[str, ...]
    """The tasks of which seeds are missing, or on which there is one seed only, and those whose
    margin isn't known yet."""
    diverged: tuple[str, ...]
    """The tasks on which a run diverged, so that seeds stay missing."""
    unlearned: tuple[str, ...]
    """The tasks that dense has not learned, on which nothing follows from a difference."""
    p_value: float
    """The P value of "matching on every task"."""

    def sentence(self) -> str:
        """One line for a terminal."""
        text = f"{self.status} on every one of {self.tasks} tasks"
        if self.status == "not matching":
            text = f"not matching on some of {self.tasks} tasks"
        which = f"; on these by Holm: {', '.join(self.matching) or 'none'}"
        gaps = f"; unfinished: {', '.join(self.unfinished)}" if self.unfinished else ""
        gaps += f"; diverged: {', '.join(self.diverged)}" if self.diverged else ""
        flat = f"; {DENSE_HAS_NOT_LEARNED}: {', '.join(self.unlearned)}" if self.unlearned else ""
        return f"{text}{which}{gaps}{flat}"


def universality(pairs: Sequence[Comparison]) -> Universality:
    """An intersection-union test: each task at the full level, uncorrected.

    The opposite, that it fails to match on some task, is Bonferroni's. A task that is unfinished,
    or that dense has not learned, decides nothing.

    Args:
        pairs: the network against dense, on each task.
    """
    within = [p_matching(pair) for pair in pairs]
    below = [pair.p_value(-1, above=False) for pair in pairs]
    together = at_least(within, len(pairs))
    status: Status = "undecided"
    if together < ALPHA:
        status = "matching"
    elif at_least(below, 1) < ALPHA:
        status = "not matching"
    tasks = [pair.first[0].target for pair in pairs]
    adjusted = holm(within)
    return Universality(
        status=status,
        reason=first_reason(pairs) if status == "undecided" else None,
        tasks=len(pairs),
        matching=tuple(task for task, p in zip(tasks, adjusted, strict=True) if p < ALPHA),
        unfinished=tuple(
            pair.first[0].target for pair in pairs if not (pair.finished or pair.diverged)
        ),
        diverged=tuple(pair.first[0].target for pair in pairs if pair.diverged),
        unlearned=tuple(pair.first[0].target for pair in pairs if pair.unlearned),
        p_value=together,
    )


def p_matching(pair: Comparison) -> float:
    """P value of "the true difference is above minus the margin"; 1.0 where nothing follows."""
    return pair.p_value(-1, above=True)
