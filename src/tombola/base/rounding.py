"""How many decimals a difference needs, so that rounding changes nothing about what it says."""

from itertools import product

__all__ = ["decimals"]

MOST = 4


def decimals(interval: tuple[float, float], margin: float) -> int:
    """Decimals with which no end looks like zero or like the margin's limit unless it is.

    Args:
        interval: lower and upper end, in points.
        margin: in points.
    """
    pairs = list(product(interval, (0.0, -margin)))
    for digits in range(1, MOST):
        told = all((round(a, digits) == round(b, digits)) == (a == b) for a, b in pairs)
        if told and round(margin, digits) == round(margin, MOST):
            return digits
    return MOST
