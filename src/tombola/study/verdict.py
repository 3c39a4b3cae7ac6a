"""What is said of a ticket, and in which words; scores and differences are in points."""

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

__all__ = [
    "FIXED_TICKET",
    "SEARCH",
    "THIS_RUN",
    "Status",
    "Verdict",
    "hardly_learned",
    "in_percent",
]

Status: TypeAlias = Literal["matching", "not matching", "undecided"]

SEARCH = "mean over seeds of (ticket - dense), each seed one complete search"
FIXED_TICKET = "mean over fresh seeds of (ticket - dense), one fixed ticket"
THIS_RUN = "this run only: (ticket - dense) over test examples like these, one seed"

COUNTS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the scores say about one ticket, and about what they say it."""

    status: Status
    """Matching, not matching, or undecided."""

    sparsity: Decimal | None
    """Fraction of the scope that is zero, in [0, 1), or None where there is no single one."""

    difference: float
    """Ticket minus dense, in points: the mean over seeds, or that of the one run."""

    interval: tuple[float, float]
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

    def sentence(self) -> str:
        """One plain line that claims what the data can bear and no more."""
        digits = self._digits()
        low, high = (f"{end:+z.{digits}f}" for end in self.interval)
        at = "" if self.sparsity is None else f" at {in_percent(self.sparsity)}"
        over = " over test examples" if self.estimand == THIS_RUN else ""
        return (
            f"{'this run only: ' if self.estimand == THIS_RUN else ''}{self.status}{at}: "
            f"ticket minus dense is {self.difference:+z.{digits}f} points "
            f"({self.level * 100:g} % interval {low} to {high}{over}), "
            f"{self._against(f'{self.margin:.{digits}f}')}; {self._reach()}."
        )

    def to_json(self) -> dict[str, Any]:
        """The fields and the sentence, as JSON has them; the sparsity is a string."""
        return {
            "status": self.status,
            "sparsity": None if self.sparsity is None else str(self.sparsity),
            "difference": self.difference,
            "interval": list(self.interval),
            "margin": self.margin,
            "level": self.level,
            "estimand": self.estimand,
            "seeds": self.seeds,
            "seeds_needed": self.seeds_needed,
            "sentence": self.sentence(),
        }

    def _digits(self) -> int:
        """Decimals with which no end looks like zero or like the margin's limit unless it is."""
        pairs = list(itertools.product(self.interval, (0.0, -self.margin)))
        for digits in (1, 2, 3):
            told = all((round(a, digits) == round(b, digits)) == (a == b) for a, b in pairs)
            if told and round(self.margin, digits) == round(self.margin, 4):
                return digits
        return 4

    def _against(self, margin: str) -> str:
        if self.status == "not matching":
            return f"worse than the margin of {margin} allows"
        if self.status == "undecided":
            return f"which may or may not be within the margin of {margin}"
        return "better than dense" if self.interval[0] > 0 else f"within the margin of {margin}"

    def _reach(self) -> str:
        if self.estimand == THIS_RUN:
            return "it says nothing about other seeds"
        count = COUNTS[self.seeds] if self.seeds < len(COUNTS) else str(self.seeds)
        reach = f"{count} seeds"
        if self.estimand == FIXED_TICKET:
            reach = f"one fixed ticket on {count} fresh seeds"
        if self.interval[0] == self.interval[1]:
            reach += ", all with the same difference"
        if self.seeds_needed is not None:
            reach += (
                f"; n = {self.seeds_needed} seeds would settle this, if the ticket equals dense"
            )
        return reach


def in_percent(sparsity: Decimal) -> str:
    """A fraction, exactly."""
    return f"{(100 * sparsity).normalize():f} %"


def hardly_learned(worst: float, trivial: float, margin: float) -> str:
    """What is said of dense runs no better than a trivial baseline; empty if they are better.

    Args:
        worst: the lowest score of the dense network, in points.
        trivial: of a baseline that learns nothing from the texts, in points.
        margin: of the task, in points.
    """
    if worst - trivial >= margin:
        return ""
    return (
        f"the dense network scores {worst:.2f}, a trivial baseline {trivial:.2f}: it has hardly "
        "learned the task, so the verdict says little."
    )
