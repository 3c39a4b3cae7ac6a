"""The console of the command line, which prints every text as it is and obeys no markup in it."""

import os
import shutil
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from tombola.base.text import printable

__all__ = ["Screen", "has_window", "say", "screen", "stacked", "styled"]

WIDE = 160
"""Width of what goes into a file or a pipe, in columns."""


class Screen(Console):
    """A console without markup and emoji codes, which escapes what a terminal would obey.

    Styles come from `styled`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as rich prints it anywhere: alone, in a table, as a title."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})


def styled(*parts: str | tuple[str, str]) -> Text:
    """A line with styled parts: `styled(("note:", "yellow"), " all is well")`."""
    pairs = (part if isinstance(part, tuple) else (part, "") for part in parts)
    return Text.assemble(*((printable(text), style) for text, style in pairs))


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


def say(console: Console, *parts: str | tuple[str, str]) -> None:
    """Print a line of `styled` parts; the terminal wraps it where needed."""
    console.print(styled(*parts), soft_wrap=True)
