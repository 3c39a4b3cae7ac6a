"""A console that prints every text as it is and obeys no markup in it."""

from typing import Any

from rich.console import Console
from rich.text import Text

from tombola.base.text import printable

__all__ = ["Screen", "say", "styled"]


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


def say(console: Console, *parts: str | tuple[str, str]) -> None:
    """Print a line of `styled` parts; the terminal wraps it where needed."""
    console.print(styled(*parts), soft_wrap=True)
