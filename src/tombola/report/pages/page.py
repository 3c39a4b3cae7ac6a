"""One self-contained HTML file: pictures inlined, nothing fetched, readable on paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from tombola.base.files import write_file
from tombola.base.text import lines

__all__ = ["Page", "Picture", "Section", "Table", "render", "save"]


@dataclass(frozen=True)
class Table:
    """Rows of text; a column whose cells are numbers stands to the right."""

    columns: Sequence[str]
    """Their heads; none for a list of names and values."""
    rows: Sequence[Sequence[str]]
    caption: str = ""
    right: frozenset[int] = frozenset()
    """Numbers of the columns that stand to the right."""
    small: bool = False
    """Whether it is set in the letters of keys."""


@dataclass(frozen=True)
class Picture:
    """One SVG element, as our own charts make it, and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in this order."""

    heading: str
    text: Sequence[str] = ()
    """Paragraphs."""
    points: Sequence[str] = ()
    """A list of short sentences."""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    """Shown as it is."""


@dataclass(frozen=True)
class Page:
    """A report: question, answer in a line, and sections."""

    title: str
    question: str
    answers: Sequence[str]
    """Sentences that stand at the top: verdicts, in their own words."""
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    """What a reader must know to read the answers rightly."""
    foot: str = ""


def render(page: Page) -> str:
    """The page as HTML; every text is escaped, and what is not to be seen in it is shown."""

    def shown(value: object) -> object:
        return lines(value) if type(value) is str else value  # what is Markup is ours

    environment = Environment(
        finalize=shown,
        loader=PackageLoader("tombola.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(page=page)


def save(page: Page, file: Path) -> Path:
    """Write the page.

    Raises: OutputError, if the file can't be written.
    """
    write_file(file, render(page))
    return file
