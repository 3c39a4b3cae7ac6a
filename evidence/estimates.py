"""What the study estimates from its rows, by the rules of README.md; differences are in points."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import log2
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy import stats

from tombola.base.rounding import interval, points
from tombola.study.statistics.interval import ends
from tombola.study.statistics.multiple_testing import holm
from tombola.study.table.grouping import by_plan
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row
from tombola.study.table.table import refuse_mixed_rows

Table: TypeAlias = Sequence[Row]
Gaps: TypeAlias = Mapping[int, Mapping[str, float]]
"""Seed -> target -> difference, with the same targets for every seed."""

LEVEL = 0.90


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with its interval."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def written(self) -> str:
        """The mean and the interval, in points."""
        mean = points(self.mean, signed=True, digits=1)
        return f"{mean} ({interval((self.low, self.high), digits=1)})"

    def __str__(self) -> str:
        return f"{self.written}, {self.seeds} seeds"


@dataclass(frozen=True)
class Trend:
    """Whether a difference grows with the dose."""

    slope: Estimate
    """Points for each doubling of the dose."""
    p: float
    """One-sided, by a t-test over seeds."""


def read_plans(folder: Path) -> dict[str, Table]:
    """Plan -> its rows, from the tables in a folder: one of all plans or one of each."""
    every = folder / "rows.csv"
    files = [every] if every.exists() else sorted(folder.glob("*.csv"))
    return dict(by_plan(row for file in files for row in read_rows(file)))


def scores(table: Table, arm: str, sparsity: Decimal) -> dict[tuple[str, int], Row]:
    """Target and seed -> the row of an arm at a sparsity."""
    wanted = (row for row in table if (row.arm, row.sparsity) == (arm, sparsity))
    return {(row.target, row.seed): row for row in wanted if row.score is not None}


def gaps(
    first: Mapping[tuple[str, int], Row],
    second: Mapping[tuple[str, int], Row],
    targets: Iterable[str] = (),
) -> dict[int, dict[str, float]]:
    """First minus second on targets, by default all of the first's; seeds with a gap are left out.

    Args:
        first, second: as from `scores`.
        targets: some of them.
    """
    wanted = list(targets) or list(dict.fromkeys(target for target, _ in first))
    found: dict[int, dict[str, float]] = {}
    for seed in sorted({seed for _, seed in first}):
        pairs = {each: (first.get((each, seed)), second.get((each, seed))) for each in wanted}
        if all(a and b for a, b in pairs.values()):
            found[seed] = {
                each: (a.score or 0.0) - (b.score or 0.0)
                for each, (a, b) in pairs.items()
                if a and b
            }
    return found


def means(differences: Gaps) -> list[float]:
    """The mean over targets of each seed."""
    return [float(np.mean(list(mine.values()))) for mine in differences.values()]


def resolution(table: Table) -> float:
    """What one test example is worth, in points, where a difference is a mean over targets."""
    by_target = {row.target: row.resolution for row in table if row.resolution and row.of == ""}
    return float(np.mean(list(by_target.values())))


def estimate(values: Sequence[float], step: float) -> Estimate | None:
    """Mean and paired-t interval; None for fewer than two seeds.

    Args:
        values: one for each seed.
        step: what one test example is worth.
    """
    if len(values) < 2:
        return None
    return Estimate(*ends(values, (1 - LEVEL) / 2, resolution=step), len(values))


def against(
    table: Table, first: str, second: str, sparsity: Decimal, targets: Iterable[str] = ()
) -> Estimate | None:
    """One arm of a plan minus another, averaged over targets."""
    both = gaps(scores(table, first, sparsity), scores(table, second, sparsity), targets)
    return estimate(means(both), resolution(table)) if both else None


def between(
    first: Table,
    second: Table,
    arms: tuple[str, str],
    sparsity: Decimal,
    targets: Iterable[str] = (),
) -> Estimate | None:
    """An arm of one plan minus an arm of another, averaged over targets.

    Raises: SpecError, if their runs have different numerics.
    """
    refuse_mixed_rows([*first, *second])
    both = gaps(scores(first, arms[0], sparsity), scores(second, arms[1], sparsity), targets)
    return estimate(means(both), resolution(first)) if both else None


def dose(table: Table) -> float:
    """The learning rate summed over one training of the source."""
    rates = [row.summed_learning_rate for row in table if row.arm == "source"]
    return float(np.mean([rate for rate in rates if rate is not None]))


def trend(tables: Sequence[Table], sparsity: Decimal, targets: Iterable[str] = ()) -> Trend | None:
    """Does transfer minus one-shot grow with the dose?

    Args:
        tables: of the doses; two or more.
        sparsity: of the tickets.
        targets: that are averaged over; all by default.

    Returns: None for fewer than two seeds that all doses have.
    """
    doses = [log2(dose(table)) for table in tables]
    each = []
    for table in tables:
        both = gaps(scores(table, "moved", sparsity), scores(table, "one-shot", sparsity), targets)
        each.append(dict(zip(both, means(both), strict=True)))
    seeds = sorted(set.intersection(*map(set, each)))
    if len(seeds) < 2:
        return None
    slopes = [float(np.polyfit(doses, [mine[seed] for mine in each], 1)[0]) for seed in seeds]
    low, high = stats.t.interval(LEVEL, len(slopes) - 1, np.mean(slopes), stats.sem(slopes))
    p = stats.ttest_1samp(slopes, 0.0, alternative="greater").pvalue
    return Trend(Estimate(float(np.mean(slopes)), float(low), float(high), len(seeds)), float(p))


def corrected(trends: Mapping[str, Trend]) -> dict[str, float]:
    """Name -> P value by Holm."""
    return dict(zip(trends, holm([each.p for each in trends.values()]), strict=True))
