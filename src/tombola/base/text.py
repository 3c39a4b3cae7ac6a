"""Text from files and names, made safe to print: what a terminal would obey is shown instead."""

import unicodedata

__all__ = ["lines", "printable"]


def printable(text: object) -> str:
    r"""What a thing says in one line that a terminal only shows.

    Control characters, line breaks, escape sequences, marks that turn the direction of writing,
    lone surrogates and whatever else is not to be seen become escapes such as \x1b and \u202e.
    """
    told = str(text)
    if told.isascii() and told.isprintable():
        return told
    return "".join(each if _is_shown(each) else _escaped(each) for each in told)


def lines(text: str) -> str:
    """The same of a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
