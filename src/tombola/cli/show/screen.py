"""The console of the command line, as wide as its window."""

import os
import shutil
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from tombola.lab.progress.screen import Screen, styled

__all__ = ["has_window", "screen", "stacked"]

WIDE = 160
"""Width of what goes into a file or a pipe, in columns."""


def stacked(lines: Iterable[str]) -> Text:
    """Lines below one another, for one cell of a table."""
    return Text("\n").join(styled(line) for line in lines)


def screen(json: str | None = None) -> Screen:
    """A console as wide as its window, or as `COLUMNS` says.

    Args:
        json: file for the result as JSON; if it is `-`, standard output, the console is standard
            error.
    """
    console = Screen(stderr=json == "-")
    if not has_window(console):
        console.width = WIDE
    elif console.is_dumb_terminal:  # rich assumes 80 columns for it
        console.size = shutil.get_terminal_size()
    return console


def has_window(console: Console) -> bool:
    """Whether the output goes to a window of known width."""
    return console.is_terminal or "COLUMNS" in os.environ
