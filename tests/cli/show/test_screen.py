"""What comes from files and names is shown in a terminal, and never obeyed."""

import ast
import io
from pathlib import Path

import pytest
from rich.table import Table

import tombola
from tombola.base.text import printable
from tombola.cli.main import main
from tombola.cli.show.catalog import show_entries
from tombola.cli.show.grid import show_rows
from tombola.cli.show.screen import stacked
from tombola.lab.progress.bar import ProgressBar
from tombola.lab.progress.screen import Screen, styled

HOSTILE = (
    "\x1b[2Jgone",  # clears the screen
    "\x9b31m",  # the same in one character
    "\x07\x08\r\x00\x7f",
    "a\nb",
    "\u202egnp.exe",
    "\u2066\u2069\u200f",
    "\ud800",
    "\u2028\ufeff",
)


def _drawn(draw: object, **options: object) -> str:
    file = io.StringIO()
    console = Screen(file=file, width=200, **options)
    draw(console)  # type: ignore[operator]
    return file.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_becomes_an_escape_wherever_it_stands(text: str) -> None:
    def draw(console: Screen) -> None:
        console.print(text)
        console.print(styled((text, "red"), text))
        console.print(stacked([text, text]))
        table = Table(text, title=text, caption=text)
        table.add_row(text)
        console.print(table)
        show_rows([text], [[text]], console)
        show_entries([text], [([text], text)], console)

    drawn = _drawn(draw)
    assert all(line.isprintable() for line in drawn.split("\n"))
    assert drawn.count(printable(text)) >= 10


@pytest.mark.parametrize(
    "text", ["[red]x[/red]", "[/]", "[link=file:///x]y[/link]", ":smile:", "\\["]
)
def test_markup_in_a_name_is_text(text: str) -> None:
    drawn = _drawn(lambda console: console.print(text), force_terminal=True)
    assert drawn == f"{text}\n"


def test_other_writing_stays_as_it_is() -> None:
    text = "naïve → 日本語\u3000עברית\u00a0−1 ±"
    assert printable(text) == text


def test_the_progress_of_a_hostile_name_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    label = "\x1b[2J[red]"
    job = SimpleNamespace(key="k", label=label, steps=1, kind="train")

    def draw(console: Screen) -> None:
        shown = ProgressBar(console)
        shown.on_plan([job], [])  # type: ignore[list-item]
        shown.on_job_start(job)  # type: ignore[arg-type]
        shown.bar.refresh()
        shown.on_job_error(job, label)  # type: ignore[arg-type]
        shown.on_run_end()

    drawn = _drawn(draw, force_terminal=True)
    assert "\x1b[2J" not in drawn
    assert r"\x1b[2J[red]" in drawn


def test_how_far_a_mask_is_stands_next_to_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    job = SimpleNamespace(key="k", label="sentiment, seed 0, OBS mask", steps=0, kind="prune")

    def draw(console: Screen) -> None:
        shown = ProgressBar(console)
        shown.on_plan([job], [])  # type: ignore[list-item]
        shown.on_job_start(job)  # type: ignore[arg-type]
        shown.on_job_step(job, 3, 4, None)  # type: ignore[arg-type]
        shown.bar.refresh()
        shown.on_run_end()

    assert "OBS mask 75%" in _drawn(draw, force_terminal=True)


def test_an_error_is_one_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "no\n\x1b[2Jticket"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "\x1b" not in errors


def test_only_the_screen_makes_text_for_rich() -> None:
    root = Path(tombola.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and path.name != "screen.py":
                names = {alias.name for alias in node.names}
                assert node.module != "rich.markup", path
                assert node.module != "rich.text" or names == {"Text"}, path
            if isinstance(node, ast.Call) and path.name != "screen.py":
                called = ast.unparse(node.func)
                assert called not in ("Console", "Text", "Text.from_markup"), path
