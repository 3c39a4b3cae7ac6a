"""Tables of a page that are made from rows: where they go, and how they are written."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["filled", "markdown"]

PLACE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A page with each of its tables made anew, by the name in the comment above it."""
    return PLACE.sub(lambda place: f"{place[1]}\n{tables[place[2]]()}\n{place[3]}", page)


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A pipe table."""
    return "".join(
        f"| {' | '.join(line)} |\n" for line in (columns, ["---"] * len(columns), *lines)
    )
