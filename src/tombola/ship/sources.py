"""The tickets that a merged ticket was made from, as its provenance names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tombola.ticket.ticket import Ticket

__all__ = ["Merged", "SourceTicket", "merged_in", "source_record"]

COMMON = ("format", "version", "fingerprint", "scope", "size", "shapes")
"""Fields of ticket.json that all sources share with the merged ticket."""

FACTS = ("digest", "sparsity", "task", "seed", "scores")
"""What a reader wants to know first of a source."""


@dataclass(frozen=True)
class SourceTicket:
    """One of the tickets: `FACTS` as text, with nothing for what it doesn't say."""

    digest: str
    sparsity: str
    task: str
    seed: str
    scores: str


@dataclass(frozen=True)
class Merged:
    """How a ticket was made from others."""

    rule: str
    """Which of their kept weights it keeps."""
    sources: tuple[SourceTicket, ...]
    seeds: frozenset[int]
    """Seeds of their searches, those of sources of sources included."""


def source_record(ticket: Ticket) -> dict[str, Any]:
    """What the provenance of a merged ticket keeps of one source, as plain JSON."""
    return {name: value for name, value in ticket.to_json().items() if name not in COMMON}


def merged_in(provenance: Mapping[str, Any]) -> Merged | None:
    """How a ticket was made from others; None if it was not, or says nothing that can be read.

    Anyone may have written the provenance.
    """
    kept = provenance.get("merged")
    if not isinstance(kept, dict) or not isinstance(kept.get("sources"), list):
        return None
    records = [each for each in kept["sources"] if isinstance(each, dict)]
    sources = (SourceTicket(*(_text(each.get(name)) for name in FACTS)) for each in records)
    return Merged(_text(kept.get("rule")), tuple(sources), frozenset(_seeds(records)))


def _seeds(records: list[dict[str, Any]]) -> set[int]:
    """Seeds of some sources and of theirs."""
    found = {each["seed"] for each in records if type(each.get("seed")) is int}
    for each in records:
        inner = each.get("provenance")
        if isinstance(inner, dict) and (merged := merged_in(inner)) is not None:
            found |= merged.seeds
    return found


def _text(value: object) -> str:
    """A text or a whole number as text; nothing for anything else."""
    plain = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if plain else ""
