"""The sparsity after each round of iterative pruning; pure Python, exact decimals."""

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

from tombola.base.errors import SpecError
from tombola.base.keys import exact_fraction
from tombola.base.registry import Registry

__all__ = [
    "MAX_ROUNDS",
    "SCHEDULES",
    "Schedule",
    "pruned_count",
    "round_sparsities",
    "shortest_sparsity",
]

MAX_ROUNDS = 1000
"""A path with more rounds than this is a mistyped step."""

_HAIR = Fraction(1, 10**9)
"""A round that stops closer to the target than this is the last one."""

Schedule = Callable[[Fraction, int], Fraction]
"""(step, round counted from 1) -> sparsity after that round, as if there were no target."""

SCHEDULES: Registry[Schedule] = Registry("schedule")


@SCHEDULES.register("linear")
def linear(step: Fraction, number: int) -> Fraction:
    """Each round removes `step` of the original weights: 0.1, 0.2, 0.3, ..."""
    return step * number


@SCHEDULES.register("geometric")
def geometric(step: Fraction, number: int) -> Fraction:
    """Each round removes `step` of the weights that remain: 0.1, 0.19, 0.271, ..."""
    return 1 - (1 - step) ** number


def pruned_count(sparsity: Decimal, size: int) -> int:
    """Exactly round(sparsity x size), half to even, without a float in between."""
    return round(Fraction(sparsity) * size)


def shortest_sparsity(pruned: int, size: int) -> Decimal:
    """The shortest decimal sparsity for which `pruned_count` gives exactly this many weights."""
    digits = 0
    while pruned_count(found := _decimal(round(Fraction(pruned, size), digits)), size) != pruned:
        digits += 1
    return found


def round_sparsities(schedule: str, *, sparsity: Decimal, step: Decimal) -> tuple[Decimal, ...]:
    """The sparsity after each round, strictly rising, the last one exactly `sparsity`.

    Args:
        schedule: a name in SCHEDULES.
        sparsity: the target, in [0, 1).
        step: the fraction that one round removes, in (0, 1); the last round may remove less.

    Returns: one decimal of at most 28 digits per round; nothing for a target of zero.
    Raises: SpecError, for an unknown schedule, a bad fraction or more than MAX_ROUNDS rounds.
    Source: Chen et al. 2020, Algorithm 1; its text is `geometric`, its tables are `linear`.
    """
    after = SCHEDULES[schedule]
    target, stride = Fraction(exact_fraction(sparsity)), Fraction(exact_fraction(step, "step"))
    if stride == 0:
        raise SpecError(
            "step must be above 0 and below 1, got 0. To prune 10 % a round, write 0.1."
        )
    points: list[Fraction] = []
    while target > 0 and (point := after(stride, len(points) + 1)) < target - _HAIR:
        points.append(point)
        if len(points) >= MAX_ROUNDS:
            raise SpecError(
                f"a path has at most {MAX_ROUNDS} rounds, got more with step {step} to sparsity "
                f"{sparsity}. Use a larger step."
            )
    return tuple(_decimal(point) for point in [*points, target] if point > 0)


def _decimal(point: Fraction) -> Decimal:
    """The fraction rounded to 28 digits, whatever precision the caller's context has."""
    with localcontext(prec=28):
        return (Decimal(point.numerator) / Decimal(point.denominator)).normalize()
