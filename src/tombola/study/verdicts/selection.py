"""Which networks of a plan are compared: by what they are, and at which sparsities."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any, TypeAlias

from tombola.base.rounding import percent, unrounded
from tombola.finders.rewind import RewindSpec
from tombola.study.table.grouping import NetworkRows, by_network
from tombola.study.table.row import Row, digest
from tombola.study.verdicts.comparison import Comparison
from tombola.ticket.schedule import round_sparsities

__all__ = [
    "TERMS",
    "NetworkFilter",
    "SparsityRange",
    "comparisons",
    "in_default_rounds",
    "other_rounds",
]

TERMS = ("structure", "knobs", "budget", "distill", "distill_temperature")
"""Columns of a table that say on what terms a mask was found and trained under: rows that differ in
one of them are not evidence for the same claim."""

Rounds: TypeAlias = tuple[Decimal, ...]
"""The sparsity after each round of a search."""


@dataclass(frozen=True, kw_only=True)
class NetworkFilter:
    """Networks by what they are, never by the name of an arm."""

    kinds: tuple[str, ...]
    """dense, imp, one-shot, transfer, evaluate, or a control."""
    finder: str = "imp"
    """What found the tickets that are transferred, evaluated or compared with a control."""
    structure: str = ""
    """What the masks prune as a whole, such as 2:4; empty for single weights."""
    knobs: tuple[str, ...] = ()
    """Knobs of the finder: exactly these, such as allocation=erk."""
    variant: tuple[str, ...] = ()
    """The search variant: exactly these options."""
    budget: float | None = None
    """Length of the search, in trainings' worth of steps; None for a search without a budget."""
    distill: float | None = None
    """Share of the loss that a teacher has; None for no teacher."""
    distill_temperature: float | None = None
    """Temperature of that teacher."""
    init: str = Row.init
    """What the weights that a ticket keeps start from; for a control, its name says so."""
    swept: bool = False
    """Whether tickets are those of a sweep of learning rates, instead of the recipe's."""
    sources: tuple[str, ...] = ()
    """Tickets of these tasks only; empty for all."""
    without_sources: tuple[str, ...] = ()
    """No tickets of these tasks."""
    moved: bool = False
    """Only tickets that are used on another task than the one they were found on."""

    def admits(self, row: Row) -> bool:
        """Whether a row belongs to one of these networks."""
        return (
            row.kind in self.kinds
            and (row.kind == "dense" or row.is_ticket or row.is_of(self.finder))
            and row.variant == self.variant
            and (row.kind == "dense" or self._is_on_terms_of(row))
            and (not self.sources or row.source in self.sources)
            and row.source not in self.without_sources
            and (row.moved or not self.moved)
        )

    def _is_on_terms_of(self, row: Row) -> bool:
        """Whether it is its own like for a row."""
        terms = (*TERMS, "swept", *(() if row.of else ("init",)))
        return all(getattr(row, name) == getattr(self, name) for name in terms)

    def like(self, row: Row) -> "NetworkFilter":
        """The filter for networks that were found and trained on the terms of a row."""
        terms = {name: getattr(row, name) for name in TERMS}
        return replace(self, **terms, swept=row.swept, init=self.init if row.of else row.init)

    def __str__(self) -> str:
        """A description such as "imp or transfer of mlm with rewind"."""
        text = " or ".join(self.kinds)
        if self.sources:
            text += f" of {' or '.join(self.sources)}"
        if self.without_sources:
            text += f" of tasks other than {' and '.join(self.without_sources)}"
        if self.finder != "imp":
            text += f" by {self.finder}"
        if self.structure:
            text += f" of structure {self.structure}"
        terms = {name: getattr(self, name) for name in ("budget", "distill", "distill_temperature")}
        named = [f"{name} {unrounded(value)}" for name, value in terms.items() if value]
        if self.init != type(self).init:
            named.append(f"init {self.init}")
        options = (*self.knobs, *self.variant, *named)
        return f"{text} with {' and '.join(options)}" if options else text


@dataclass(frozen=True, kw_only=True)
class SparsityRange:
    """Sparsities from one to another: all of them, or the lowest or highest that a plan has."""

    least: Decimal = Decimal(0)
    most: Decimal = Decimal(1)
    take: str = "all"
    """all, lowest or highest."""

    def select(self, sparsities: Iterable[Decimal]) -> set[Decimal]:
        """Those of some sparsities that are in the range."""
        inside = {each for each in sparsities if self.least <= each <= self.most}
        if not inside or self.take == "all":
            return inside
        return {min(inside) if self.take == "lowest" else max(inside)}

    def __str__(self) -> str:
        """In percent, such as " at 70 %"; empty for all sparsities."""
        if self.least == self.most:
            return f" at {percent(self.least)}"
        inside = self.least > 0 or self.most < 1
        return f" from {percent(self.least)} to {percent(self.most)}" if inside else ""


def comparisons(
    table: Sequence[Row], first: NetworkFilter, minus: NetworkFilter, span: SparsityRange
) -> list[Comparison]:
    """Every network of one kind with every one of another, on the same task and sparsity.

    Networks of one plan are compared, and a control with the tickets of its own arm only. Two
    comparisons of the same runs count once, whatever arms they come from, unless their plans have
    other margins for it. Of searches in several
    schedules of rounds, those in the default rounds count; tickets of different rounds are not
    compared.
    """
    firsts = _chosen(first, table)
    if minus.kinds == ("dense",):
        pairs = [Comparison(mine) for mine in firsts]
    else:
        seconds: dict[Any, list[NetworkRows]] = {}
        for rows in _chosen(minus, table):
            seconds.setdefault(_place(rows[0]), []).append(rows)
        pairs = [
            Comparison.on_shared_seeds(a, b)
            for a in firsts
            for b in seconds.get(_place(a[0]), ())
            if _comparable(a[0], b[0])
        ]
    wanted: dict[Any, list[Comparison]] = {}
    for pair in pairs:
        if pair.first:
            wanted.setdefault(_networks(pair), []).append(pair)
    return _each_once(pair for several in wanted.values() for pair in _at(several, span))


def _each_once(pairs: Iterable[Comparison]) -> list[Comparison]:
    """Comparisons of the same runs once for each margin and numerics: the most complete of them."""
    same: dict[Any, list[Comparison]] = {}
    for pair in pairs:
        same.setdefault(tuple(pair.runs), []).append(pair)
    found: list[Comparison] = []
    for several in same.values():
        fewest = min(len(pair.gaps) for pair in several)
        whole = [pair for pair in several if len(pair.gaps) == fewest]
        known = [pair for pair in whole if pair.margin is not None] or whole[:1]
        found += {(pair.margin, _numerics(pair)): pair for pair in reversed(known)}.values()
    return found


def _numerics(pair: Comparison) -> tuple[str, ...]:
    rows = (*pair.first, *(pair.second or ()))
    return tuple(digest(each) for row in rows if (each := row.numerics) is not None)


def in_default_rounds(row: Row) -> bool:
    """Whether the search for a mask had the default rounds, or none."""
    if not row.rounds or row.sparsity is None:
        return True
    return row.rounds == _default_rounds(row.sparsity)


@cache
def _default_rounds(sparsity: Decimal) -> Rounds:
    return round_sparsities(RewindSpec.schedule, sparsity=sparsity, step=RewindSpec.step)


def other_rounds(networks: NetworkFilter, table: Iterable[Row]) -> dict[str, list[Rounds]]:
    """Task -> the rounds of the searches that there are, where none had the default rounds."""
    found: dict[str, list[Rounds]] = {}
    for several in _alike(networks, table):
        if not any(in_default_rounds(rows[0]) for rows in several):
            rounds = found.setdefault(several[0][0].target, [])
            rounds += [rows[0].rounds for rows in several]
    return {task: _longest(rounds) for task, rounds in found.items()}


def _longest(several: Sequence[Rounds]) -> list[Rounds]:
    """Those that no other goes on from, each once."""
    every = dict.fromkeys(several)
    return [
        rounds
        for rounds in every
        if not any(rounds != more and rounds == more[: len(rounds)] for more in every)
    ]


def _chosen(networks: NetworkFilter, table: Iterable[Row]) -> list[NetworkRows]:
    """The networks that are evidence: in the default rounds, or in the only rounds that there are
    for this task and sparsity."""
    found = []
    for several in _alike(networks, table):
        default = [rows for rows in several if in_default_rounds(rows[0])]
        alone = len({rows[0].rounds for rows in several}) == 1
        found += default or several * alone
    return found


def _alike(networks: NetworkFilter, table: Iterable[Row]) -> list[list[NetworkRows]]:
    """The networks that a filter admits; those together that are the same but for their rounds."""
    found: dict[Any, list[NetworkRows]] = {}
    for rows in by_network(filter(networks.admits, table)):
        row = rows[0]
        same = row.kind, row.variant, row.plan, row.source, row.target, row.sparsity
        found.setdefault(same, []).append(rows)
    return [*found.values()]


def _place(row: Row) -> Any:
    """What networks that are compared have in common."""
    return row.plan, row.target, row.sparsity


def _comparable(a: Row, b: Row) -> bool:
    """Whether two networks at one place are different ones, of tickets found in the same rounds if
    in rounds, and a control is of the other's arm."""
    if a.rounds != b.rounds and a.rounds and b.rounds:
        return False
    return a.key != b.key and all(
        not y.of or (y.of, y.source) == (x.arm, x.source) for x, y in ((a, b), (b, a))
    )


def _networks(pair: Comparison) -> tuple[str, ...]:
    """What a comparison is about, apart from the sparsity."""
    both = pair.first[0], (pair.second or pair.first)[0]
    return tuple(
        name for row in both for name in (row.plan, row.arm, row.name, row.source, row.target)
    )


def _at(several: Sequence[Comparison], span: SparsityRange) -> Iterator[Comparison]:
    chosen = span.select(pair.sparsity for pair in several)
    return (pair for pair in several if pair.sparsity in chosen)
