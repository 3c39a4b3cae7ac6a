"""The verdict on one ticket, as numbers and as a sentence; scores and differences in points."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from math import isfinite
from statistics import fmean
from typing import Any, Literal, TypeAlias

from tombola.base.errors import SpecError
from tombola.base.rounding import decimals, interval, percent, points
from tombola.base.text import html_text
from tombola.study.statistics.outlook import Outlook

__all__ = [
    "DENSE_HAS_NOT_LEARNED",
    "FIXED_TICKET",
    "SEARCH",
    "THIS_RUN",
    "Status",
    "Verdict",
    "check_margin",
    "hardly_learned",
    "not_learned",
    "status_of",
]

Status: TypeAlias = Literal["matching", "not matching", "undecided"]

SEARCH = "mean over seeds of (ticket - dense), each seed one complete search"
FIXED_TICKET = "mean over fresh seeds of (ticket - dense), one fixed ticket"
THIS_RUN = "this run only: (ticket - dense) over test examples like these, one seed"

DENSE_HAS_NOT_LEARNED = "dense has not learned"

COUNTS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Verdict:
    """Whether one ticket matches dense, and the estimate that this rests on."""

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

    outlook: Outlook | None = None
    """Where the difference of an undecided one over several seeds probably is."""

    reason: str | None = None
    """The premise that fails, such as DENSE_HAS_NOT_LEARNED, so that nothing is decided; None where
    the interval alone decides, or doesn't."""

    detail: str = ""
    """The numbers behind the reason, for the sentence."""

    def __repr__(self) -> str:
        return f"<Verdict: {self.sentence()}>"

    def _repr_html_(self) -> str:
        """The sentence, for notebooks."""
        return f"<p>{html_text(self.sentence())}</p>"

    def without_premise(self, reason: str, detail: str = "") -> "Verdict":
        """A copy with the same numbers that is undecided, for that reason."""
        return replace(
            self, status="undecided", seeds_needed=None, outlook=None, reason=reason, detail=detail
        )

    def sentence(self) -> str:
        """One line that claims what the data support and no more."""
        at = "" if self.sparsity is None else f" at {percent(self.sparsity)}"
        head = f"{'this run only: ' if self.estimand == THIS_RUN else ''}{self.status}{at}"
        if self.reason is not None:
            head += f": {self.reason}" + (f" ({self.detail})" if self.detail else "")
        if self.difference is None or self.interval is None:
            return f"{head}."
        digits = decimals(self.interval, self.margin)
        difference = points(self.difference, signed=True, digits=digits)
        ends = interval(self.interval, digits=digits)
        over = " over test examples" if self.estimand == THIS_RUN else ""
        margin = points(self.margin, digits=digits)
        against = f", {self._against(margin)}" if self.reason is None else ""
        return (
            f"{head}{';' if self.reason else ':'} ticket minus dense is {difference} points "
            f"({percent(self.level)} interval {ends}{over}){against}; {self._reach()}."
        )

    def to_json(self) -> dict[str, Any]:
        """The fields and the sentence, as JSON has them; the sparsity is a string."""
        return {
            "status": self.status,
            "reason": self.reason,
            "sparsity": None if self.sparsity is None else f"{self.sparsity:f}",
            "difference": self.difference,
            "interval": None if self.interval is None else list(self.interval),
            "margin": self.margin,
            "level": self.level,
            "estimand": self.estimand,
            "seeds": self.seeds,
            "seeds_needed": self.seeds_needed,
            "outlook": None if self.outlook is None else asdict(self.outlook),
            "sentence": self.sentence(),
        }

    def _against(self, margin: str) -> str:
        if self.status == "not matching":
            return f"worse than the margin of {margin} allows"
        if self.status == "undecided":
            likely = f" ({self.outlook.sentence()})" if self.outlook else ""
            return f"which may or may not be within the margin of {margin}{likely}"
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


def status_of(interval: tuple[float, float], margin: float) -> Status:
    """Where the interval lies; one that ends at the limit, or spans it, decides nothing."""
    if interval[0] > -margin:
        return "matching"
    return "not matching" if interval[1] < -margin else "undecided"


def check_margin(margin: float, level: float) -> None:
    """Refuse a margin or a level of confidence that makes no sense.

    Raises: SpecError, naming the one.
    """
    if not (isfinite(margin) and margin >= 0):
        raise SpecError(f"margin must be 0 or more points, got {margin}.")
    if not 0 < level < 1:
        raise SpecError(f"level must be above 0 and below 1, got {level}. For 90 % write 0.9.")


def not_learned(dense: Sequence[float], constant: float, margin: float) -> str:
    """Why dense counts as not having learned the task; empty if it has.

    Args:
        dense: its scores, one a seed, in points.
        constant: the best score without learning anything from the texts, in points.
        margin: the task's margin, in points; dense must gain more.
    """
    mean = fmean(dense)
    if mean - constant > margin:
        return ""
    return f"it scores {mean:.2f}, the best constant {constant:.2f}, and the margin is {margin:g}"


LONGER = "Train longer, or with another learning rate."


def hardly_learned(worst: float, constant: float, margin: float, advice: str = LONGER) -> str:
    """A note on a dense run that gains no more than the margin; empty if all gain more.

    Args:
        worst: the lowest score of the dense network, in points.
        constant: the best score without learning anything from the texts, in points.
        margin: the task's margin, in points.
        advice: what may help.
    """
    if worst - constant > margin:
        return ""
    return (
        f"a run of the dense network scores {worst:.2f}, the best constant {constant:.2f}: that "
        f"run has not learned the task. {advice}"
    )
