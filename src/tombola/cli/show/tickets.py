"""A ticket in a terminal: its provenance, and the sparsity of each matrix."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from tombola.base.rounding import percent
from tombola.cli.show.grid import show_rows
from tombola.lab.progress.screen import say
from tombola.ship.sources import Merged, merged_in

__all__ = ["show_ticket"]

COUNTS = {"size": "weights", "dead": "pruned", "bytes": "bytes"}
"""Name of a count in the facts -> what it is called in a terminal."""


def show_ticket(facts: Mapping[str, Any], console: Console) -> None:
    """Show the provenance of a ticket, its sources if it was merged, and each matrix's sparsity."""
    merged = merged_in(facts["provenance"])
    for name, value in facts.items():
        if name not in ("layers", "shapes") and (text := _text(name, value)):
            say(console, f"{COUNTS.get(name, name):12} {text}")
    if merged is not None:
        _show_sources(merged, console)
    rows = (
        (name, "x".join(map(str, facts["shapes"][name])), percent(sparsity, digits=1))
        for name, sparsity in facts["layers"].items()
    )
    show_rows(("matrix", "shape", "sparsity"), rows, console)


def _text(name: str, value: Any) -> str:
    """A fact as text; empty if it says nothing."""
    if isinstance(value, Mapping):
        return ", ".join(f"{n} {v}" for n, v in value.items() if n != "merged")
    if value is None:
        return ""
    return f"{value:,}" if name in COUNTS else str(value)


def _show_sources(merged: Merged, console: Console) -> None:
    """Show which tickets a merged one was made from."""
    say(console, f"{'merged':12} {merged.rule} of {len(merged.sources)} tickets")
    rows = ((s.digest[:12], s.sparsity, s.task, s.seed, s.scores) for s in merged.sources)
    show_rows(("source", "sparsity", "task", "seed", "ranked by"), rows, console)
