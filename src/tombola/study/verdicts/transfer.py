"""Tickets of each task on every other, against dense and against the target's own ticket."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np

from tombola.study.statistics.multiple_testing import holm
from tombola.study.table.grouping import NetworkRows, by_network, by_plan
from tombola.study.table.row import Row
from tombola.study.table.table import refuse_mixed_rows
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.published import published_difference
from tombola.study.verdicts.universality import ALPHA, Universality, universality

__all__ = ["MeanDifference", "TransferCell", "TransferMatrix", "TransferRow", "transfer_matrices"]

FoundBy: TypeAlias = tuple[str, str, tuple[str, ...], tuple[Decimal, ...], float | None]
"""Finder, structure, the finder's knobs, the rounds and the budget."""

OwnTickets: TypeAlias = Mapping[tuple[str, Decimal | None], NetworkRows]
"""Task and sparsity -> the tickets that were found on that task."""


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """A mean difference over seeds, in points."""

    mean: float | None
    """None as long as no seed is there."""
    interval: tuple[float, float] | None
    """The 90 % interval; None for one seed, and as long as seeds are missing."""
    seeds: int
    gaps: tuple[int, ...]
    """Seeds of the plan without a score."""
    diverged: tuple[int, ...] = ()
    """Those of them whose run diverged."""
    reason: str | None = None
    """The premise that fails, if one does, so that nothing follows."""
    published: float | None = None
    runs: tuple[str, ...] = ()

    @classmethod
    def of(cls, pair: Comparison) -> "MeanDifference":
        """The estimate from a comparison, finished or not."""
        there = pair.differences
        low_high = pair.ends(ALPHA)[1:] if pair.complete else None
        return cls(
            mean=float(np.mean(there)) if there else None,
            interval=low_high,
            seeds=len(there),
            gaps=tuple(pair.gaps),
            diverged=tuple(dict.fromkeys(seed for seed, _, _ in pair.diverged)),
            reason=pair.reason,
            published=published_difference(pair),
            runs=tuple(pair.keys),
        )


@dataclass(frozen=True, kw_only=True)
class TransferCell:
    """Tickets of one source on one target."""

    target: str
    minus_dense: MeanDifference
    minus_same_task: MeanDifference | None
    """Minus the target's own tickets of the same seeds; None on their own task, or without any."""


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """Tickets of one task, or one-shot pruning, on every target."""

    source: str
    """A task, or one-shot."""
    places: tuple[TransferCell, ...]
    at_least_same_task: int
    """Descriptive, as the paper counts: targets on which the mean is at least that of
    their own ticket."""
    shown_at_least_same_task: tuple[str, ...]
    """Targets on which it is within the margin of their own ticket, by Holm."""
    compared: int
    """Targets with own tickets to compare with; the source itself is not one of them."""
    universality: Universality
    """Matching on every target of the matrix, its own task included."""


@dataclass(frozen=True, kw_only=True)
class TransferMatrix:
    """The tickets of one arm at one sparsity."""

    plan: str
    arm: str
    sparsity: Decimal
    sources: tuple[TransferRow, ...]

    @property
    def targets(self) -> list[str]:
        """The tasks of the columns."""
        return list(dict.fromkeys(each.target for row in self.sources for each in row.places))

    def to_json(self) -> dict[str, Any]:
        """The matrix as `tombola transfer --json` writes it."""
        return {
            "plan": self.plan,
            "arm": self.arm,
            "sparsity": f"{self.sparsity:f}",
            "sources": [
                {**vars(row), "universality": vars(row.universality)}
                | {"places": [_plain(place) for place in row.places]}
                for row in self.sources
            ],
        }


def _plain(place: TransferCell) -> dict[str, Any]:
    return {
        name: vars(value) if isinstance(value, MeanDifference) else value
        for name, value in vars(place).items()
    }


def transfer_matrices(table: Sequence[Row]) -> list[TransferMatrix]:
    """A matrix for each transfer arm and sparsity, with one-shot pruning at that sparsity.

    The own tickets of a target are those of the default search variant, which rewinds to the
    pre-trained weights; they also stand on the diagonal where the transfer arm has no
    cell of its own.

    Args:
        table: rows of a plan, done or not.

    Raises: MixedNumericsError, if runs on one task have different numerics.
    """
    refuse_mixed_rows(table)
    pruned = by_plan(row for row in table if row.sparsity is not None)
    return [matrix for rows in pruned.values() for matrix in _matrices(by_network(rows))]


def _matrices(networks: Sequence[NetworkRows]) -> list[TransferMatrix]:
    """The matrices of one plan."""
    own = [rows for rows in networks if rows[0].is_own_ticket]
    finders = {row.mask_key: _found_by(row) for rows in own for row in rows}
    arms = dict.fromkeys(
        (rows[0].arm, rows[0].sparsity) for rows in networks if rows[0].kind == "transfer"
    )
    return [
        _matrix(arm, sparsity, networks, _own_tickets(arm, networks, own, finders))
        for arm, sparsity in arms
        if sparsity is not None
    ]


def _task_free(entry: tuple[str, Mapping[str, NetworkRows]]) -> bool:
    """Whether the tickets of a source were found on no task."""
    return not next(iter(entry[1].values()))[0].source


def _own_tickets(
    arm: str,
    networks: Sequence[NetworkRows],
    own: Sequence[NetworkRows],
    finders: Mapping[str | None, FoundBy],
) -> OwnTickets:
    """The plain tickets of the finder, and its knobs, whose tickets an arm transfers, or of any if
    these aren't known; of several, those of the first arm. Tickets at a learning rate that an arm
    names are compared with those at the same one."""
    moved = [row for rows in networks if rows[0].arm == arm for row in rows]
    rates = {row.target: row.learning_rate for row in moved if row.swept}
    wanted = {finders[row.mask_key] for row in moved if row.mask_key in finders}
    return {
        (rows[0].target, rows[0].sparsity): rows
        for rows in reversed(own)
        if not rows[0].variant
        and rows[0].swept == (rows[0].target in rates)
        and rows[0].learning_rate == rates.get(rows[0].target, rows[0].learning_rate)
        and (not wanted or _found_by(rows[0]) in wanted)
    }


def _found_by(row: Row) -> FoundBy:
    """What found the ticket of a row: a finder, what it prunes as a whole, its knobs, rounds and
    budget."""
    return row.kind, row.structure, row.knobs, row.rounds, row.budget


def _matrix(
    arm: str,
    sparsity: Decimal,
    networks: Sequence[NetworkRows],
    own_tickets: OwnTickets,
) -> TransferMatrix:
    mine = [rows for rows in networks if (rows[0].arm, rows[0].sparsity) == (arm, sparsity)]
    seeds = {row.seed for rows in mine for row in rows}
    rows_of: dict[str, dict[str, NetworkRows]] = {}
    for rows in networks:
        row = rows[0]
        task_free = row.is_ticket and not row.source and not row.swept
        if row.sparsity == sparsity and (row.arm == arm or task_free) and not row.of:
            found = rows_of.setdefault(row.source or _finder(row), {})
            other = found.get(row.target) if task_free else None
            if other is None or _shared(rows, seeds) > _shared(other, seeds):
                found[row.target] = rows
    targets = {target for found in rows_of.values() for target in found}
    for source, found in rows_of.items():
        if source in targets and (source, sparsity) in own_tickets:
            found.setdefault(source, own_tickets[source, sparsity])
    order = list(dict.fromkeys(rows[0].target for rows in networks))
    return TransferMatrix(
        plan=networks[0][0].plan,
        arm=arm,
        sparsity=sparsity,
        sources=tuple(
            _source(source, [found[target] for target in order if target in found], own_tickets)
            for source, found in sorted(rows_of.items(), key=_task_free)
        ),
    )


def _shared(rows: NetworkRows, seeds: Collection[int]) -> int:
    """How many of the seeds a network has."""
    return sum(row.seed in seeds for row in rows)


def _finder(row: Row) -> str:
    """The finder of a ticket that was found on no task, with what is special about it; and the arm,
    where the search went on from another ticket, say, which no column names."""
    arm = f"in {row.arm}" if row.variant else ""
    return " ".join(filter(None, (row.kind, row.structure, *row.knobs, *row.variant, arm)))


def _source(source: str, networks: Sequence[NetworkRows], own_tickets: OwnTickets) -> TransferRow:
    against_own = {}
    for rows in networks:
        theirs = own_tickets.get((rows[0].target, rows[0].sparsity))
        if (
            theirs
            and source != rows[0].target
            and (pair := Comparison.on_shared_seeds(rows, theirs)).first
        ):
            against_own[rows[0].target] = pair
    p_values = holm([pair.p_value(-1, above=True) for pair in against_own.values()])
    return TransferRow(
        source=source,
        places=tuple(
            TransferCell(
                target=rows[0].target,
                minus_dense=MeanDifference.of(Comparison(rows)),
                minus_same_task=MeanDifference.of(against_own[rows[0].target])
                if rows[0].target in against_own
                else None,
            )
            for rows in networks
        ),
        at_least_same_task=sum(
            bool(pair.differences) and float(np.mean(pair.differences)) >= 0
            for pair in against_own.values()
        ),
        shown_at_least_same_task=tuple(
            target for target, p in zip(against_own, p_values, strict=True) if p < ALPHA
        ),
        compared=len(against_own),
        universality=universality([Comparison(rows) for rows in networks]),
    )
