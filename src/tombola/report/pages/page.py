"""One self-contained HTML file: pictures inlined, nothing fetched, readable on paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined

from tombola.base.files import write_file
from tombola.base.text import counted, lines
from tombola.report.pages.assets import data_block, packed, policy, scripts, style

__all__ = ["Cell", "Explorer", "Number", "Page", "Picture", "Section", "Table", "render", "save"]


@dataclass(frozen=True)
class Number:
    """A text with the runs behind it, which a click on it shows."""

    text: str
    runs: Sequence[int]
    """Indices in the page's list of runs."""
    tint: str = ""
    """A class of the background: below-3 to below-1, even, above-1 to above-3."""

    def __str__(self) -> str:
        return self.text


Cell: TypeAlias = str | Number


@dataclass(frozen=True)
class Table:
    """Rows of text."""

    columns: Sequence[str]
    """Headings; none for a list of names and values."""
    rows: Sequence[Sequence[Cell]]
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
class Explorer:
    """Charts that are drawn in the browser, of what a reader chooses."""

    networks: Sequence[Mapping[str, Any]]
    """What can be shown: see `pages.explorer`."""
    baselines: Sequence[Mapping[str, Any]]
    """Score of dense and margin, of each plan and task."""
    charts: Mapping[str, Mapping[str, Any]]
    """Name -> a Vega-Lite chart that has the names of its data and not the data."""


@dataclass(frozen=True)
class Section:
    """A heading and its content, in the order of the fields."""

    heading: str
    text: Sequence[str] = ()
    """Paragraphs."""
    points: Sequence[Cell] = ()
    """A list of short sentences, shown as bullets."""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    """Preformatted text."""
    explorer: Explorer | None = None
    """Charts to choose from, above the pictures; one section of a page may have them."""


@dataclass(frozen=True)
class Page:
    """A report: question, answer in a line, and sections."""

    title: str
    question: str
    answers: Sequence[Cell]
    """Verdicts at the top, each as a sentence."""
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    """What a reader must know to interpret the answers."""
    foot: str = ""
    runs: Mapping[str, Any] = field(default_factory=dict)
    """The runs that numbers point to: "columns" and "rows"."""


class _RunSets:
    """Sets of runs that numbers point to, each once, by their place."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, ...], int] = {}

    def place(self, runs: Sequence[int]) -> int:
        return self.places.setdefault(tuple(runs), len(self.places))


def render(page: Page) -> str:
    """The page as HTML; texts are escaped, and invisible characters shown as escapes.

    The page's scripts are its own, and its policy lets no others run: neither names nor scores
    can become code.
    """

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
    sets = _RunSets()
    body = environment.get_template("body.html").render(
        page=page, place=sets.place, counted=counted
    )
    explorer = next((each.explorer for each in page.sections if each.explorer), None)
    code = scripts(explored=explorer is not None) if page.runs else []
    return environment.get_template("report.html").render(
        title=page.title,
        style=style(),
        policy=policy(code),
        body=body,
        data=data_block(_data(page, explorer, list(sets.places))),
        scripts=code,
    )


def _data(page: Page, explorer: Explorer | None, sets: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What the scripts read: runs, the sets of them that numbers name, and what can be drawn."""
    if not page.runs:
        return {}
    found: dict[str, Any] = {"runs": packed(page.runs["columns"], page.runs["rows"]), "sets": sets}
    if explorer is not None:
        names = list(explorer.networks[0])
        rows = [[one[name] for name in names] for one in explorer.networks]
        found["explorer"] = vars(explorer) | {"networks": packed(names, rows)}
    return found


def save(page: Page, file: Path) -> Path:
    """Write the page.

    Raises: OutputError, if the file can't be written.
    """
    write_file(file, render(page))
    return file
