"""Claims by their number, and rows with other scores."""

from collections.abc import Callable
from dataclasses import replace

from tombola.study.claims.claim import Claim
from tombola.study.claims.claims import decide_claims
from tombola.study.table.row import Row

Edit = Callable[[Row], float]
"""Row -> points that are added to its score."""


def by_id(table: list[Row]) -> dict[int, Claim]:
    return {claim.id: claim for claim in decide_claims(table)}


def edited(table: list[Row], edit: Edit) -> list[Row]:
    return [
        replace(row, score=None if row.score is None else row.score + edit(row)) for row in table
    ]
