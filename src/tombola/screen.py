"""Standard output of the command line: every text that goes there is data, and only shown."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from tombola.printable import printable

__all__ = ["Screen", "stacked", "styled"]


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
