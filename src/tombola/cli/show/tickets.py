"""A ticket in a terminal: its provenance, and the sparsity of each matrix."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from tombola.base.rounding import percent
from tombola.cli.show.grid import show_rows
from tombola.cli.show.screen import say

__all__ = ["show_ticket"]


def show_ticket(facts: Mapping[str, Any], console: Console) -> None:
    """Show the provenance of a ticket, and the sparsity of each matrix."""
    for name, value in facts.items():
        if name not in ("layers", "shapes"):
            say(console, f"{name:12} {value}")
    rows = (
        (name, "x".join(map(str, facts["shapes"][name])), percent(sparsity, digits=1))
        for name, sparsity in facts["layers"].items()
    )
    show_rows(("matrix", "shape", "sparsity"), rows, console)
