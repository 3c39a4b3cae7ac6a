"""Tables of a results page about the tickets of masked language modelling on other tasks.

Imports from evidence/, which its importer adds to the path.
"""

from collections.abc import Callable, Iterator, Sequence

from build_pictures import MOST, TARGETS
from estimates import Estimate, Table
from tombola.base.rounding import points
from tombola.study.verdicts.matching import matching

__all__ = ["COLUMNS", "by_target", "minus_dense"]

COLUMNS = ("mean of the three", *(f"`{name}`" for name in TARGETS))
"""Headings of the cells of `by_target`."""


def by_target(compare: Callable[[Sequence[str]], Estimate | None]) -> Iterator[str]:
    """An estimate for the mean of the targets, and for each of them.

    Args:
        compare: gives the estimate for some targets, or for all if none are named.
    """
    for targets in ([], *([name] for name in TARGETS)):
        found = compare(targets)
        yield found.written if found else "not run"


def minus_dense(table: Table, arm: str) -> Iterator[str]:
    """Difference from dense and verdict of an arm on each target, at 70 %."""
    judged = {
        (each.row.arm, each.row.target): each
        for each in matching(table).judged
        if each.pair.sparsity == MOST
    }
    for target in TARGETS:
        found = judged[arm, target]
        mean = sum(found.pair.differences) / len(found.pair.differences)
        status = f", {found.verdict.status}" if found.verdict else ""
        yield f"{points(mean, signed=True, digits=1)}{status}"
