"""Two kinds of network, seed by seed: which rows of a plan are compared with which."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeAlias

from tombola.base.rounding import percent
from tombola.study.statistics.interval import ends, p_above, p_below, p_resolved
from tombola.study.table.row import Row
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED, not_learned

__all__ = [
    "ONE_SEED",
    "SEEDS_MISSING",
    "Comparison",
    "Span",
    "Which",
    "compare",
    "comparisons",
    "first_reason",
    "group",
]

Group: TypeAlias = tuple[Row, ...]
"""The rows of one network, one a seed."""
SEEDS_MISSING = "seeds are missing"
ONE_SEED = "one seed says nothing about others"


@dataclass(frozen=True, kw_only=True)
class Which:
    """Networks by what they are, never by the name of an arm."""

    kinds: tuple[str, ...]
    """dense, imp, one-shot, transfer, evaluate, or a control."""
    variant: tuple[str, ...] = ()
    """Exactly these of the search."""
    sources: tuple[str, ...] = ()
    """Tickets of these tasks only; empty for all."""
    without_sources: tuple[str, ...] = ()
    """No tickets of these."""
    moved: bool = False
    """Tickets on another task than their own only."""

    def admits(self, row: Row) -> bool:
        """Whether a row is one of them."""
        return (
            row.kind in self.kinds
            and row.variant == self.variant
            and (not self.sources or row.source in self.sources)
            and row.source not in self.without_sources
            and (row.moved or not self.moved)
        )

    def __str__(self) -> str:
        """What they are, for people."""
        told = " or ".join(self.kinds)
        told += f" of {' or '.join(self.sources)}" * bool(self.sources)
        told += f" of tasks other than {' and '.join(self.without_sources)}" * bool(
            self.without_sources
        )
        return told + f" with {' and '.join(self.variant)}" * bool(self.variant)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Sparsities from one to another: all of them, or the lowest or highest that is there."""

    least: Decimal = Decimal(0)
    most: Decimal = Decimal(1)
    take: str = "all"

    def of(self, there: Iterable[Decimal]) -> set[Decimal]:
        """Those of the sparsities that are there."""
        inside = {each for each in there if self.least <= each <= self.most}
        if not inside or self.take == "all":
            return inside
        return {min(inside) if self.take == "lowest" else max(inside)}

    def __str__(self) -> str:
        """In percent, for people."""
        if self.least == self.most:
            return f" at {percent(self.least)}"
        inside = self.least > 0 or self.most < 1
        return f" from {percent(self.least)} to {percent(self.most)}" if inside else ""


@dataclass(frozen=True)
class Comparison:
    """One network minus another on one task, seed by seed; differences are in points."""

    first: Group
    second: Group | None = None
    """Of the same seeds; None for the dense network, whose scores stand in the first's rows."""

    @property
    def margin(self) -> float:
        """Of the task."""
        return self.first[0].margin

    @property
    def sparsity(self) -> Decimal:
        """Of the first; 0 if nothing is dead in it."""
        return self.first[0].sparsity or Decimal(0)

    @cached_property
    def _scores(self) -> list[tuple[float | None, float | None]]:
        if self.second is None:
            return [(row.score, row.dense) for row in self.first]
        return [
            (a.score, b.score if a.dense is not None else None)  # has dense learned? Nobody knows
            for a, b in zip(self.first, self.second, strict=True)
        ]

    @cached_property
    def differences(self) -> list[float]:
        """Of the seeds for which both scores are there."""
        return [a - b for a, b in self._scores if a is not None and b is not None]

    @property
    def seeds(self) -> list[int]:
        """Those of the differences."""
        return self._seeds(there=True)

    @property
    def gaps(self) -> list[int]:
        """Seeds for which a score, or that of dense, is missing or diverged."""
        return self._seeds(there=False)

    @cached_property
    def diverged(self) -> list[tuple[int, str, str]]:
        """Runs without a score, for which nobody need wait: seed, name and key; dense first."""
        found = [
            (row.seed, "dense", row.dense_key)
            for row in self.first
            if row.dense is None and row.dense_numerics is not None
        ]
        rows = (*self.first, *(self.second or ()))
        found += [(row.seed, row.name, row.key) for row in rows if row.state == "diverged"]
        return list(dict.fromkeys(found))

    @property
    def resolution(self) -> float:
        """How much one test example can change a score, in points; all of it, if nobody knows."""
        rows = (*self.first, *(self.second or ()))
        return max((row.resolution for row in rows if row.resolution), default=100.0)

    @cached_property
    def unlearned(self) -> str:
        """Why dense counts as not having learned the task; empty if it has, or isn't there yet."""
        dense = [row.dense for row in self.first if row.dense is not None]
        constant = max((row.trivial for row in self.first if row.trivial is not None), default=None)
        if not dense:
            return ""
        if constant is None:
            return "nobody knows what a constant would score"
        return not_learned(dense, constant, self.margin)

    @property
    def tells(self) -> bool:
        """Whether a test can be made of which something follows."""
        return self.complete and not self.unlearned

    @property
    def dense_premise(self) -> str | None:
        """What dense lacks, for which nothing can be decided on its task and seeds."""
        of_dense = [seed for seed, what, _ in self.diverged if what == "dense"]
        if of_dense:
            return f"dense, seed {of_dense[0]}, diverged"
        return DENSE_HAS_NOT_LEARNED if self.unlearned else None

    @property
    def reason(self) -> str | None:
        """The premise that it lacks, so that nothing follows from it; None if it has them all."""
        for seed, what, _ in self.diverged:
            return f"{what}, seed {seed}, diverged"
        if self.unlearned:
            return DENSE_HAS_NOT_LEARNED
        if self.gaps:
            return SEEDS_MISSING
        return None if self.complete else ONE_SEED

    def p_value(self, bound: float, *, above: bool) -> float:
        """Small, if the true difference is above, or below, a bound in points.

        Returns: 1.0 as long as seeds are missing, or if dense has not learned the task.
        """
        if not self.tells:
            return 1.0
        test = p_above if above else p_below
        return test(self.differences, bound, resolution=self.resolution)

    def p_resolved(self, bound: float) -> float:
        """The part of that P value, above, which the number of test examples allows."""
        return p_resolved(self.differences, bound, resolution=self.resolution)

    def ends(self, below: float, above: float | None = None) -> tuple[float, float, float]:
        """Mean, lower and upper end of its interval, with those error rates; see `ends`."""
        return ends(self.differences, below, above, resolution=self.resolution)

    def _seeds(self, *, there: bool) -> list[int]:
        both = zip(self.first, self._scores, strict=True)
        return [row.seed for row, pair in both if (None not in pair) == there]

    @property
    def complete(self) -> bool:
        """Whether every seed is there, and there are two or more: a test can be made."""
        return not self.gaps and len(self.first) > 1

    @property
    def runs(self) -> list[tuple[str, str]]:
        """Keys of both runs of each seed, done or not."""
        if self.second is None:
            return [(row.key, row.dense_key) for row in self.first]
        return [(a.key, b.key) for a, b in zip(self.first, self.second, strict=True)]

    @cached_property
    def keys(self) -> list[str]:
        """Of all runs that have a score, each once."""
        keys = [row.key for row in self.first if row.score is not None]
        if self.second is None:
            keys += [row.dense_key for row in self.first if row.dense is not None]
        else:
            keys += [row.key for row in self.second if row.score is not None]
        return list(dict.fromkeys(keys))

    def about(self) -> str:
        """Which networks, on which task, for people."""
        row = self.first[0]
        minus = "dense" if self.second is None else _named(self.second[0])
        at = "" if row.sparsity is None else f" at {percent(row.sparsity)}"
        return f"{_named(row)} - {minus} on {row.target}{at}"


def _named(row: Row) -> str:
    variant = f", {' '.join(row.variant)}" if row.variant else ""
    return f"{row.name}{f' from {row.source}' if row.moved else ''}{variant}"


def first_reason(pairs: Iterable[Comparison]) -> str | None:
    """The premise that some comparisons lack: what dense has not learned first of all."""
    reasons = [pair.reason for pair in pairs if pair.reason]
    return DENSE_HAS_NOT_LEARNED if DENSE_HAS_NOT_LEARNED in reasons else next(iter(reasons), None)


def group(rows: Iterable[Row]) -> list[Group]:
    """Rows that differ in nothing but their seed, together."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        what = (row.plan, row.arm, row.name, row.source, row.target, row.sparsity)
        found.setdefault(what, []).append(row)
    return [tuple(mine) for mine in found.values()]


def compare(first: Group, second: Group) -> Comparison:
    """Two networks on the seeds that the plan has for both."""
    theirs = {row.seed: row for row in second}
    ours = [row for row in first if row.seed in theirs]
    return Comparison(tuple(ours), tuple(theirs[row.seed] for row in ours))


def comparisons(table: Sequence[Row], first: Which, minus: Which, span: Span) -> list[Comparison]:
    """Every network of one kind with every one of another, on the same task and sparsity.

    Networks of one plan are compared, and a control with the tickets of its own arm only. Two
    comparisons of the same runs count once, whatever arms they come from.
    """
    firsts = group(filter(first.admits, table))
    if minus.kinds == ("dense",):
        pairs = [Comparison(mine) for mine in firsts]
    else:
        seconds = group(filter(minus.admits, table))
        pairs = [compare(a, b) for a in firsts for b in seconds if _belong(a[0], b[0])]
    wanted: dict[Any, list[Comparison]] = {}
    for pair in pairs:
        if pair.first:
            wanted.setdefault(_search(pair), []).append(pair)
    chosen = {tuple(pair.runs): pair for several in wanted.values() for pair in _at(several, span)}
    return list(chosen.values())


def _belong(a: Row, b: Row) -> bool:
    if a.key == b.key or (a.plan, a.target, a.sparsity) != (b.plan, b.target, b.sparsity):
        return False
    return all(not y.of or (y.of, y.source) == (x.arm, x.source) for x, y in ((a, b), (b, a)))


def _search(pair: Comparison) -> tuple[str, ...]:
    """What a comparison is about besides the sparsity."""
    both = pair.first[0], (pair.second or pair.first)[0]
    return tuple(
        name for row in both for name in (row.plan, row.arm, row.name, row.source, row.target)
    )


def _at(several: Sequence[Comparison], span: Span) -> Iterator[Comparison]:
    chosen = span.of(pair.sparsity for pair in several)
    return (pair for pair in several if pair.sparsity in chosen)
