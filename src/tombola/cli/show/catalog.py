"""Built-in finders, tasks and models in a terminal: a line for each, and one about it."""

from collections.abc import Iterable, Sequence

from rich.console import Console

from tombola.lab.progress.screen import say

__all__ = ["show_entries"]


def show_entries(
    columns: Sequence[str], entries: Iterable[tuple[Sequence[str], str]], console: Console
) -> None:
    """Show a line of fields for each entry, and under it a sentence about it."""
    known = [(tuple(fields), about) for fields, about in entries]
    rows = [tuple(columns), *(fields for fields, _ in known)]
    widths = [max(map(len, cells)) + 2 for cells in zip(*rows, strict=True)]
    lines = [
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
    say(console, (lines[0].rstrip(), "bold"))
    for line, (_, about) in zip(lines[1:], known, strict=True):
        say(console, line.rstrip())
        say(console, (f"  {about}", "dim"))
