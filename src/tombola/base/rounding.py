"""Numbers as a reader wants them: percent, points, mean ± standard deviation, intervals."""

from decimal import Decimal
from itertools import product

__all__ = ["decimals", "duration", "interval", "mean_sd", "percent", "points", "unrounded"]

MOST_DECIMALS = 4


def percent(share: Decimal | float | str, *, digits: int | None = None) -> str:
    """A share of one in percent, such as "70 %".

    Args:
        share: a number or its text, usually in [0, 1].
        digits: decimals that are shown, zeros included; by default as many as five significant
            digits need, and more where a share below one would look like all of it.
    """
    value = 100 * float(share)
    if digits is not None:
        return f"{value:.{digits}f} %"
    text = f"{value:.5g}"
    return f"{value:.12g} %" if text == "100" else f"{text} %"


def unrounded(value: float) -> str:
    """A number in as few digits as tell it from every other, such as "0.0001" or "3"."""
    text = f"{value:g}"
    return text if float(text) == value else repr(value)


def points(value: float, *, signed: bool = False, digits: int = 2) -> str:
    """Points of a metric, or a difference of them with its sign; zero has no minus."""
    return f"{value:{'+' * signed}z.{digits}f}"


def mean_sd(mean: float, sd: float | None, *, digits: int = 2) -> str:
    """A mean and a standard deviation, such as "81.30 ± 0.42"; the mean alone without one."""
    spread = "" if sd is None else f" ± {points(sd, digits=digits)}"
    return f"{points(mean, digits=digits)}{spread}"


def interval(ends: tuple[float, float], *, digits: int = 2) -> str:
    """Both ends of an interval of differences, such as "-0.50 to +0.30"."""
    return " to ".join(points(end, signed=True, digits=digits) for end in ends)


def duration(seconds: float) -> str:
    """A time in the unit that suits it, such as "90 s", "12 min" or "3.4 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def decimals(ends: tuple[float, float], margin: float) -> int:
    """Decimals with which no end of an interval looks like zero or the margin's limit unless it is.

    Args:
        ends: the ends of the interval, in points.
        margin: the margin, in points.
    """
    pairs = list(product(ends, (0.0, -margin)))
    for digits in range(1, MOST_DECIMALS):
        distinct = all((round(a, digits) == round(b, digits)) == (a == b) for a, b in pairs)
        if distinct and round(margin, digits) == round(margin, MOST_DECIMALS):
            return digits
    return MOST_DECIMALS
