"""The results of a store in a terminal, a line each."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console

from tombola.base.rounding import points
from tombola.lab.progress.screen import say

__all__ = ["show_listing"]


def show_listing(results: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Show a line for each result: the start of its key, kind, score and label."""
    for row in results:
        score = "" if row.get("score") is None else points(row["score"])
        say(console, f"{row['key'][:12]}  {row['kind']:6} {score:>7}  {row['label']}")
