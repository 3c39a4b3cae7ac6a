"""How tickets of one task fare on others: source x target, against dense and the task's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from tombola.study.claims.published import published_difference
from tombola.study.statistics.multiplicity import holm
from tombola.study.table.row import Row
from tombola.study.table.table import refuse_mixed_rows
from tombola.study.verdicts.comparisons import Comparison, Group, compare, group
from tombola.study.verdicts.universal import ERROR, Everywhere, everywhere

__all__ = ["Estimate", "Matrix", "Place", "Source", "transfer"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean difference over seeds, in points."""

    mean: float | None
    """None as long as no seed is there."""
    interval: tuple[float, float] | None
    """90 %; None for one seed, and as long as seeds are missing."""
    seeds: int
    gaps: tuple[int, ...]
    """Seeds of the plan that are not there."""
    diverged: tuple[int, ...] = ()
    """Those of them that never will be."""
    reason: str | None = None
    """Why nothing follows from it, if so."""
    published: float | None = None
    runs: tuple[str, ...] = ()

    @classmethod
    def of(cls, pair: Comparison) -> "Estimate":
        """From what there is of a comparison."""
        there = pair.differences
        low_high = pair.ends(ERROR)[1:] if pair.complete else None
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
class Place:
    """Tickets of a source on a target."""

    target: str
    minus_dense: Estimate
    minus_same_task: Estimate | None
    """Minus the target's own tickets of the same seeds; None on their own task, or without any."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A row of the matrix: tickets of one task, or one-shot pruning, on every target."""

    source: str
    """A task, or one-shot."""
    places: tuple[Place, ...]
    at_least_same_task: int
    """Descriptive, as the paper counts: targets on which the mean is at least the own ticket's."""
    shown_at_least_same_task: tuple[str, ...]
    """Targets on which it is within the margin of the own ticket, all rightly by Holm."""
    compared: int
    """Targets that have own tickets to compare with; its own task is none."""
    universality: Everywhere
    """Matching on every target of the matrix, its own task included."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The tickets of one arm at one sparsity."""

    arm: str
    sparsity: Decimal
    sources: tuple[Source, ...]

    @property
    def targets(self) -> list[str]:
        """The columns."""
        return list(dict.fromkeys(each.target for row in self.sources for each in row.places))

    def to_json(self) -> dict[str, Any]:
        """As `tombola transfer --json` writes it."""
        return {
            "arm": self.arm,
            "sparsity": f"{self.sparsity:f}",
            "sources": [
                {**vars(row), "universality": vars(row.universality)}
                | {"places": [_plain(place) for place in row.places]}
                for row in self.sources
            ],
        }


def _plain(place: Place) -> dict[str, Any]:
    return {
        name: vars(value) if isinstance(value, Estimate) else value
        for name, value in vars(place).items()
    }


def transfer(table: Sequence[Row]) -> list[Matrix]:
    """A matrix for each transfer arm and sparsity, with one-shot pruning at that sparsity.

    The own tickets of a target are those of a plain search, which rewinds to the pre-trained
    weights; they also stand on the diagonal where the transfer arm has no cell of its own.

    Args:
        table: rows of a plan, done or not.

    Raises: SpecError, if runs on one task have different numerics.
    """
    refuse_mixed_rows(table)
    by_plan: dict[str, list[Group]] = {}
    for rows in group(row for row in table if row.sparsity is not None):
        by_plan.setdefault(rows[0].plan, []).append(rows)
    return [matrix for networks in by_plan.values() for matrix in _matrices(networks)]


def _matrices(networks: Sequence[Group]) -> list[Matrix]:
    """Those of one plan."""
    own = {
        (rows[0].target, rows[0].sparsity): rows
        for rows in reversed(networks)
        if rows[0].kind == "imp" and not rows[0].variant
    }
    arms = dict.fromkeys(
        (rows[0].arm, rows[0].sparsity) for rows in networks if rows[0].kind == "transfer"
    )
    return [_matrix(arm, sparsity, networks, own) for arm, sparsity in arms if sparsity is not None]


def _matrix(
    arm: str,
    sparsity: Decimal,
    networks: Sequence[Group],
    own: dict[tuple[str, Decimal | None], Group],
) -> Matrix:
    rows_of: dict[str, dict[str, Group]] = {}
    for rows in networks:
        row = rows[0]
        if row.sparsity == sparsity and (row.arm == arm or row.kind == "one-shot") and not row.of:
            rows_of.setdefault(row.source or row.kind, {})[row.target] = rows
    targets = {target for found in rows_of.values() for target in found}
    for source, found in rows_of.items():
        if source in targets and (source, sparsity) in own:
            found.setdefault(source, own[source, sparsity])
    order = list(dict.fromkeys(rows[0].target for rows in networks))
    return Matrix(
        arm=arm,
        sparsity=sparsity,
        sources=tuple(
            _source(source, [found[target] for target in order if target in found], own)
            for source, found in sorted(rows_of.items(), key=lambda each: each[0] == "one-shot")
        ),
    )


def _source(
    source: str, networks: Sequence[Group], own: dict[tuple[str, Decimal | None], Group]
) -> Source:
    against_own = {}
    for rows in networks:
        theirs = own.get((rows[0].target, rows[0].sparsity))
        if theirs and source != rows[0].target and (pair := compare(rows, theirs)).first:
            against_own[rows[0].target] = pair
    p_values = holm([pair.p_value(-pair.margin, above=True) for pair in against_own.values()])
    return Source(
        source=source,
        places=tuple(
            Place(
                target=rows[0].target,
                minus_dense=Estimate.of(Comparison(rows)),
                minus_same_task=Estimate.of(against_own[rows[0].target])
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
            target for target, p in zip(against_own, p_values, strict=True) if p < ERROR
        ),
        compared=len(against_own),
        universality=everywhere([Comparison(rows) for rows in networks]),
    )
