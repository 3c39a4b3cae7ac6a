"""Standard output of the command line: every text that goes there is data, and only shown."""

import os
import shutil
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from tombola.base.text import printable

__all__ = ["Screen", "has_window", "say", "screen", "stacked", "styled"]

WIDE = 160
"""Columns of what goes into a file or a pipe, where nothing has to fit a window."""


class Screen(Console):
    """A console that prints strings as they are: no markup, no emoji codes, and whatever a
    terminal would obey escaped. Styles come from `styled`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as rich prints it, wherever it stands: alone, in a table, as its title."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})


def styled(*parts: str | tuple[str, str]) -> Text:
    """A line of which some parts have a style: `styled(("note:", "yellow"), " all is well")`."""
    pairs = (part if isinstance(part, tuple) else (part, "") for part in parts)
    return Text.assemble(*((printable(text), style) for text, style in pairs))


def stacked(lines: Iterable[str]) -> Text:
    """Lines under one another, in one cell of a table."""
    return Text("\n").join(styled(line) for line in lines)


def screen(json: str | None = None) -> Screen:
    """Standard output, as wide as its window; `COLUMNS` gives another width.

    Args:
        json: file for the result; if that is `-`, which is standard output, people read standard
            error.
    """
    console = Screen(stderr=json == "-")
    if not has_window(console):
        console.width = WIDE
    elif console.is_dumb_terminal:  # which rich takes for one of 80 columns
        console.size = shutil.get_terminal_size()
    return console


def has_window(console: Console) -> bool:
    """Whether lines are seen in a window of some width."""
    return console.is_terminal or "COLUMNS" in os.environ


def say(console: Console, *parts: str | tuple[str, str]) -> None:
    """Print a line of `styled` parts as it is; the terminal breaks it where it has to."""
    console.print(styled(*parts), soft_wrap=True)
