"""A part of a claim that is a trend: an effect that rises with the size of the source task."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from tombola.study.claims.claim import Decision, PartResult
from tombola.study.claims.gaps import gaps, left_out, no_comparison, reason_of, run_keys
from tombola.study.claims.rules import Trend
from tombola.study.statistics.interval import FloatArray
from tombola.study.statistics.rank_correlation import TAU, Correlation, kendall
from tombola.study.table.grouping import by_plan
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.selection import comparisons

__all__ = ["decide_trend"]

LEAST_SOURCES = 4
"""With fewer, no order is unlikely enough to be more than chance."""


def decide_trend(trend: Trend, table: Sequence[Row], error: float) -> PartResult:
    """Whether an effect rises with the training examples of the source, or falls.

    Of several plans, each is tested alone, as sources are compared within a plan: the trend is
    shown if it is in each that can tell, and its opposite if it is in one, by Bonferroni.
    """
    results = {
        name: result
        for name, rows in by_plan(table).items()
        if (result := _in_plan(trend, rows, error)) is not None
    }
    if not results:
        return no_comparison(trend, table, TAU)
    telling = {name: each for name, each in results.items() if each.effect is not None} or results
    falling = min(telling, key=lambda name: telling[name].opposite_p_value)
    rising = max(telling, key=lambda name: telling[name].p_value)
    opposite = min(1.0, len(telling) * telling[falling].opposite_p_value)
    denied = telling[falling].status == "contradicted" and opposite < error
    shown = all(each.status == "reproduced" for each in telling.values())
    name = falling if denied else rising
    status: Decision = "contradicted" if denied else "reproduced" if shown else "undecided"
    about = telling[name].about
    return replace(
        telling[name],
        status=status,
        about=f"{about}, plan {name}" if len(telling) > 1 else about,
        p_value=telling[rising].p_value,
        opposite_p_value=opposite,
        missing=_each_once(each.missing for each in telling.values()),
        runs=_each_once(each.runs for each in telling.values()),
    )


def _each_once(several: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*several)))


def _in_plan(trend: Trend, table: Sequence[Row], error: float) -> PartResult | None:
    """The trend in the rows of one plan; None if it compares nothing."""
    pairs = comparisons(table, trend.first, trend.minus, trend.span)
    if not pairs:
        return None
    sizes = {row.target: row.examples for row in table}
    sources = list(dict.fromkeys(pair.first[0].source for pair in pairs))
    effects = _source_effects(pairs, sources)
    missing = [*gaps(pairs), *_lacking(sources, sizes, effects)]
    found = None if missing else kendall([sizes[source] for source in sources], effects, error)
    status = _status(found, error)
    return PartResult(
        says=trend.says,
        status=status,
        reason=reason_of(status, pairs, missing),
        effect=found.interval[0] if found else None,
        interval=found.interval[1:] if found else None,
        bound=0.0,
        unit=TAU,
        about=f"{len(sources)} sources",
        of=len(pairs),
        p_value=found.rising_p_value if found else 1.0,
        opposite_p_value=found.falling_p_value if found else 1.0,
        missing=(*missing, *left_out(trend, table)),
        runs=run_keys(pairs),
    )


def _lacking(sources: Sequence[str], sizes: dict[str, int], effects: FloatArray) -> list[str]:
    missing = []
    if len(sources) < LEAST_SOURCES:
        missing.append(f"tickets of {LEAST_SOURCES} tasks, there are {len(sources)}")
    if unknown := [source for source in sources if source not in sizes]:
        missing.append(f"the number of training examples of {', '.join(unknown)}")
    if len({sizes.get(source, 0) for source in sources}) == 1:
        missing.append("sources of different size")
    if len(effects) < 2:
        missing.append("two seeds that all sources have, and targets that they share")
    return missing


def _status(found: Correlation | None, error: float) -> Decision:
    if found is None:
        return "undecided"
    _, low, high = found.interval
    if found.rising_p_value < error and low > 0:
        return "reproduced"
    return "contradicted" if found.falling_p_value < error and high < 0 else "undecided"


def _source_effects(pairs: Sequence[Comparison], sources: Sequence[str]) -> FloatArray:
    """What a ticket's source adds to the difference [seeds, sources], up to a constant.

    A source is not transferred to itself, so each has other targets than the next. Means over
    targets would rank the sources by the difficulty of the targets that they lack; source + target
    is fitted instead, by least squares, for each seed that all pairs have.
    """
    targets = list(dict.fromkeys(pair.first[0].target for pair in pairs))
    design = np.zeros((len(pairs), len(sources) + len(targets)))
    for line, pair in zip(design, pairs, strict=True):
        row = pair.first[0]
        line[[sources.index(row.source), len(sources) + targets.index(row.target)]] = 1
    by_seed = [dict(zip(pair.seeds, pair.differences, strict=True)) for pair in pairs]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    values = np.array([[mine[seed] for seed in seeds] for mine in by_seed])
    if not seeds or np.linalg.matrix_rank(design) < sum(map(len, (sources, targets))) - 1:
        return np.empty((0, len(sources)))  # nothing ranks sources that share no target
    effects: FloatArray = np.linalg.lstsq(design, values)[0][: len(sources)].T
    return effects.round(9)  # so that ties stay ties
