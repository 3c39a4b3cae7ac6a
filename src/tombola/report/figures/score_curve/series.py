"""The scores of a search as series to draw, failed runs left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from tombola.base.errors import SpecError
from tombola.report.numerals import mean_sd

__all__ = ["Content", "Series", "read"]


@dataclass(frozen=True)
class Series:
    """The scores of one network at one sparsity."""

    name: str
    sparsity: float
    """The sparsity in percent."""

    scores: tuple[float, ...]
    """One per seed that did not fail, in points."""

    runs: int
    """The number of seeds, failed ones included."""

    @property
    def mean(self) -> float:
        """The mean of the scores, in points."""
        return fmean(self.scores)

    @property
    def sd(self) -> float:
        """The standard deviation of the scores, in points; 0 for one seed."""
        return stdev(self.scores) if len(self.scores) > 1 else 0.0

    @property
    def label(self) -> str:
        """Name, mean and standard deviation, and, if runs failed, how many did not."""
        score = mean_sd(self.mean, self.sd if len(self.scores) > 1 else None, digits=1)
        some = f" ({len(self.scores)} of {self.runs})" if len(self.scores) < self.runs else ""
        return f"{self.name} {score}{some}"


@dataclass(frozen=True)
class Content:
    """The series of a search, failed runs left out."""

    dense: Series | None
    tickets: list[Series]
    controls: list[Series]
    margin: float | None
    """How far below dense still counts as matching, in points."""

    trivial: float | None
    """Score of the trivial baseline, in points."""


def read(result: Mapping[str, Any], finder: str) -> Content:
    """The series of a result, without the runs that failed.

    Args:
        result: the result, as for `chart.draw`.
        finder: name of the tickets' series.

    Raises: SpecError, if there is no score at all.
    """
    named = f"{finder} ticket" if finder in (result.get("controls") or {}) else finder
    rounds = [
        series
        for each in result["rounds"]
        if (series := _series(named, each, 100 * float(each["sparsity"])))
    ]
    final = max((100 * float(each["sparsity"]) for each in result["rounds"]), default=0.0)
    controls = [
        series
        for name, each in (result.get("controls") or {}).items()
        if (series := _series(name, each, final))
    ]
    dense = _series("dense", result["dense"], 0.0)
    if not (dense or rounds or controls):
        raise SpecError("a picture needs at least one score, and this result has none.")
    margin = (result.get("verdict") or {}).get("margin") if dense else None
    tickets = sorted(rounds, key=lambda series: series.sparsity)
    return Content(dense, tickets, controls, margin, result.get("trivial"))


def _series(name: str, scores: Mapping[str, Any], sparsity: float) -> Series | None:
    """None, if every run failed."""
    known = [float(x) for x in scores["values"] if x is not None and isfinite(x)]
    return Series(name, sparsity, tuple(known), len(scores["values"])) if known else None
