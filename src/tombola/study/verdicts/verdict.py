"""What is said of a ticket, and in which words; scores and differences are in points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from statistics import fmean
from typing import Any, Literal, TypeAlias

from tombola.base.rounding import decimals, interval, percent, points

__all__ = [
    "DENSE_HAS_NOT_LEARNED",
    "FIXED_TICKET",
    "SEARCH",
    "THIS_RUN",
    "Status",
    "Verdict",
    "hardly_learned",
    "not_learned",
]

Status: TypeAlias = Literal["matching", "not matching", "undecided"]

SEARCH = "mean over seeds of (ticket - dense), each seed one complete search"
FIXED_TICKET = "mean over fresh seeds of (ticket - dense), one fixed ticket"
THIS_RUN = "this run only: (ticket - dense) over test examples like these, one seed"

DENSE_HAS_NOT_LEARNED = "dense has not learned"

COUNTS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the scores say about one ticket, and about what they say it."""

    status: Status
    """Matching, not matching, or undecided."""

    sparsity: Decimal | None
    """Fraction of the scope that is zero, in [0, 1), or None where there is no single one."""

    difference: float | None
    """Ticket minus dense, in points: the mean over seeds, or that of the one run. None without
    scores of both."""

    interval: tuple[float, float] | None
    """Lower and upper end for the difference, in points."""

    margin: float
    """How far below dense still counts as matching, in points."""

    level: float
    """Nominal coverage of the interval."""

    estimand: str
    """What the interval is about: SEARCH, FIXED_TICKET or THIS_RUN."""

    seeds: int
    """Number of seeds behind it."""

    seeds_needed: int | None = None
    """Seeds that would settle an undecided one at 80 % power, if the spread of dense is known."""

    reason: str | None = None
    """Why nothing is decided, where a premise of the comparison fails: DENSE_HAS_NOT_LEARNED, for
    example. None where the interval decides, or doesn't."""

    detail: str = ""
    """What the reason rests on, for the sentence."""

    def without_premise(self, reason: str, detail: str = "") -> "Verdict":
        """The same numbers, which decide nothing for that reason."""
        return replace(self, status="undecided", seeds_needed=None, reason=reason, detail=detail)

    def sentence(self) -> str:
        """One plain line that claims what the data can bear and no more."""
        at = "" if self.sparsity is None else f" at {percent(self.sparsity)}"
        head = f"{'this run only: ' if self.estimand == THIS_RUN else ''}{self.status}{at}"
        if self.reason is not None:
            head += f": {self.reason}{f' ({self.detail})' * bool(self.detail)}"
        if self.difference is None or self.interval is None:
            return f"{head}."
        digits = decimals(self.interval, self.margin)
        difference = points(self.difference, signed=True, digits=digits)
        ends = interval(self.interval, digits=digits)
        over = " over test examples" if self.estimand == THIS_RUN else ""
        margin = points(self.margin, digits=digits)
        against = f", {self._against(margin)}" * (self.reason is None)
        return (
            f"{head}{';' if self.reason else ':'} ticket minus dense is {difference} points "
            f"({percent(self.level)} interval {ends}{over}){against}; {self._reach()}."
        )

    def to_json(self) -> dict[str, Any]:
        """The fields and the sentence, as JSON has them; the sparsity is a string."""
        return {
            "status": self.status,
            "reason": self.reason,
            "sparsity": None if self.sparsity is None else str(self.sparsity),
            "difference": self.difference,
            "interval": None if self.interval is None else list(self.interval),
            "margin": self.margin,
            "level": self.level,
            "estimand": self.estimand,
            "seeds": self.seeds,
            "seeds_needed": self.seeds_needed,
            "sentence": self.sentence(),
        }

    def _against(self, margin: str) -> str:
        if self.status == "not matching":
            return f"worse than the margin of {margin} allows"
        if self.status == "undecided":
            return f"which may or may not be within the margin of {margin}"
        better = self.interval is not None and self.interval[0] > 0
        return "better than dense" if better else f"within the margin of {margin}"

    def _reach(self) -> str:
        if self.estimand == THIS_RUN:
            return "it says nothing about other seeds"
        count = COUNTS[self.seeds] if self.seeds < len(COUNTS) else str(self.seeds)
        reach = f"{count} seeds"
        if self.estimand == FIXED_TICKET:
            reach = f"one fixed ticket on {count} fresh seeds"
        if self.seeds_needed is not None:
            reach += (
                f"; n = {self.seeds_needed} seeds would settle this, if the ticket equals dense"
            )
        return reach


def not_learned(dense: Sequence[float], constant: float, margin: float) -> str:
    """Why dense counts as not having learned the task; empty if it has.

    Args:
        dense: its scores, one a seed, in points.
        constant: the best score without learning anything from the texts, in points.
        margin: of the task, in points; dense must gain more.
    """
    mean = fmean(dense)
    if mean - constant > margin:
        return ""
    return f"it scores {mean:.2f}, the best constant {constant:.2f}, and the margin is {margin:g}"


LONGER = "Train longer, or with another learning rate."


def hardly_learned(worst: float, constant: float, margin: float, advice: str = LONGER) -> str:
    """What is said of a dense run that gains no more than the margin; empty if all gain more.

    Args:
        worst: the lowest score of the dense network, in points.
        constant: the best score without learning anything from the texts, in points.
        margin: of the task, in points.
        advice: what may help.
    """
    if worst - constant > margin:
        return ""
    return (
        f"a run of the dense network scores {worst:.2f}, the best constant {constant:.2f}: that "
        f"run has not learned the task. {advice}"
    )
