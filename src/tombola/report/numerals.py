"""Numbers as pages and pictures show them: those of a terminal, with a real minus sign."""

from tombola.base import rounding

__all__ = ["MINUS", "MISSING", "interval", "mean_sd", "points", "with_minus"]

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
"""Stands where there is no number."""


def points(value: float | None, *, signed: bool = False, digits: int = 2) -> str:
    """Points of a metric, or a difference of them with its sign; a dash for None."""
    if value is None:
        return MISSING
    return with_minus(rounding.points(value, signed=signed, digits=digits))


def mean_sd(mean: float | None, sd: float | None, *, digits: int = 2) -> str:
    """A mean and a standard deviation, such as "81.30 ± 0.42"; a dash for None."""
    return MISSING if mean is None else with_minus(rounding.mean_sd(mean, sd, digits=digits))


def interval(ends: tuple[float, float], *, digits: int = 2) -> str:
    """Both ends of an interval of differences, such as "−0.50 to +0.30"."""
    return with_minus(rounding.interval(ends, digits=digits))


def with_minus(text: str) -> str:
    """A number as text, its hyphen replaced by a minus sign."""
    return text.replace("-", MINUS)
