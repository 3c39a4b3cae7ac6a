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
    """Rows of text."""

    columns: Sequence[str]
    """Headings; none for a list of names and values."""
    rows: Sequence[Sequence[str]]
    caption: str = ""
    right: frozenset[int] = frozenset()
    """Indices of the right-aligned columns."""
    small: bool = False
    """Whether it is set small and in monospace, as keys are."""


@dataclass(frozen=True)
class Picture:
    """An SVG element made by one of our own charts, and its caption."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and its content, in the order of the fields."""

    heading: str
    text: Sequence[str] = ()
    """Paragraphs."""
    points: Sequence[str] = ()
    """A list of short sentences, shown as bullets."""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    """Preformatted text."""


@dataclass(frozen=True)
class Page:
    """A report: question, answer in a line, and sections."""

    title: str
    question: str
    answers: Sequence[str]
    """Verdicts at the top, each as a sentence."""
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    """What a reader must know to interpret the answers."""
    foot: str = ""


def render(page: Page) -> str:
    """The page as HTML; texts are escaped, and invisible characters shown as escapes."""

    def shown(value: object) -> object:
        return lines(value) if type(value) is str else value  # Markup is our own

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
