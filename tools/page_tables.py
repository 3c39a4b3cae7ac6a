"""Tables and pictures of a page that are made from rows, and where they go in it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any

from tombola.report.figures.style import save_chart

__all__ = ["filled", "markdown", "save_picture", "value_range"]

PLACE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """A page with each of its tables made anew, by the name in the comment above it."""
    return PLACE.sub(lambda place: f"{place[1]}\n{tables[place[2]]()}\n{place[3]}", page)


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A pipe table."""
    return "".join(
        f"| {' | '.join(line)} |\n" for line in (columns, ["---"] * len(columns), *lines)
    )


def value_range(values: Sequence[float | None]) -> str:
    """The range of the values that are known, such as "0.861 to 0.874"."""
    known = [value for value in values if value is not None]
    ends = dict.fromkeys(f"{end:.3f}" for end in (min(known), max(known))) if known else ()
    return " to ".join(ends)


def save_picture(chart: Any, folder: Path, name: str) -> None:
    """Write a chart as PNG; of the two files that reports have of it, a page shows one."""
    with TemporaryDirectory() as place:
        save_chart(chart, Path(place), name)
        copy(Path(place) / f"{name}.png", folder)
