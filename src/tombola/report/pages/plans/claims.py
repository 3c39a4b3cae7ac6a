"""The claims of the paper, each with its status and the runs that it rests on."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.report.numerals import MISSING, interval, points
from tombola.report.pages.page import Cell, Number, Section, Table

__all__ = ["claims_sections"]


def claims_sections(claims: Sequence[Mapping[str, Any]]) -> list[Section]:
    """A table of the claims that any run bears on.

    Args:
        claims: those of `row_facts`.
    """
    if not claims:
        return []
    table = Table(
        ("", "claim", "status", "what decides", "effect", "paper", "runs"),
        [_claim(claim) for claim in claims],
        caption="Effect: that of the deciding comparison, with its interval, in the unit shown; "
        "paper: the same for the paper's BERT-base.",
        right=frozenset((4, 5, 6)),
    )
    text = "The rules that decide were fixed before the runs; undecided is neither yes nor no."
    return [Section("Claims of the paper", text=[text], tables=[table])]


def _claim(claim: Mapping[str, Any]) -> tuple[Cell, ...]:
    parts = claim["parts"]
    why = "; ".join(f"{part['status']}: {part['says']}" for part in parts)
    status = ": ".join(filter(None, (claim["status"], claim["reason"])))
    published = claim["published"]
    return (
        *(str(claim["id"]), claim["claim"], status, why),
        _effect(claim),
        MISSING if published is None else points(published, signed=True),
        Number(str(len(claim["places"])), claim["places"]),
    )


def _effect(claim: Mapping[str, Any]) -> Cell:
    if claim["effect"] is None:
        return MISSING
    ends = f" ({interval(claim['interval'])})" if claim["interval"] else ""
    return Number(f"{points(claim['effect'], signed=True)}{ends} {claim['unit']}", claim["places"])
