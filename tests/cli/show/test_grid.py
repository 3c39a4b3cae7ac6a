"""What a person reads is whole: in a narrow window, in an old encoding, whatever a name holds."""

import io
import re
from collections.abc import Iterator

import pytest
from rich import box

from tombola.cli.show.grid import Grid
from tombola.cli.show.screen import screen
from tombola.cli.streams import spelled
from tombola.lab.progress.screen import Screen, say

ODD = ("[red]", "[/]", "[link=http://x]y[/link]", ":smile:", "plain [bold")
NUMBERS = ("-12.34 to +56.78", "93.07 ± 0.20", "1,234,567")


def grid(frame: box.Box | None = box.SIMPLE) -> Grid:
    made = Grid(
        ("network", "a second name"),
        ("sparsity", "90 % interval", "minus the target's own"),
        ("verdict",),
        title="sentiment, mini: accuracy on the test split, 3 seeds",
        frame=frame,
    )
    made.add("encoder.layer.11.attention.self.query.weight", "own/deed", *NUMBERS, "matching*")
    made.add("", "sentiment → supersense", "", *NUMBERS[:2], "undecided, n = 12", rule=True)
    made.add("a rather long name of an arm", "a", *NUMBERS, "none", style="dim")
    return made


def cells(made: Grid) -> Iterator[str]:
    for row, _, _ in made.rows:
        yield from map(str, row)


def printed(made: Grid, width: int, encoding: str = "utf-8") -> str:
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding)
    console = Screen(file=file, width=width, force_terminal=True, color_system=None)
    made.show(console)
    file.flush()
    return buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("frame", [box.SIMPLE, box.HEAVY_HEAD, box.HORIZONTALS, None])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_no_width_cuts_anything_of_a_table(frame: box.Box | None, encoding: str) -> None:
    for width in (20, *range(44, 80), 100, 160, 400):
        shown = printed(grid(frame), width, encoding)
        assert "…" not in shown
        letters = re.sub(r"\s", "", shown)
        for number in (*NUMBERS, "undecided, n = 12"):
            assert spelled(number, encoding) in shown
        for cell in cells(grid()):
            for word in spelled(cell, encoding).split():
                pieces = {word[:24], word[-8:]}  # a text may go on in the next line
                assert all(piece in letters for piece in pieces), (width, word)


def test_a_table_fits_its_window_as_long_as_its_numbers_do() -> None:
    for width in range(130, 160):
        assert max(map(len, printed(grid(), width).splitlines())) <= width
    lines = printed(grid(), 44).splitlines()
    assert "  90 % interval: 93.07 ± 0.20" in lines
    assert lines.count("network: encoder.layer.11.attention.self.query.weight") == 2


def test_in_an_old_encoding_columns_still_stand_under_each_other() -> None:
    lines = printed(grid(None), 160, "ascii").splitlines()[1:]
    assert "->" in lines[2]
    assert "+/-" in lines[1]
    assert len({len(line.rstrip()) - len("matching*") for line in lines[1:2]}) == 1
    assert lines[1].index("matching*") == lines[2].index("undecided") == lines[3].index("none")


@pytest.mark.parametrize("name", ODD)
def test_names_are_shown_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = screen()
    say(console, name)
    say(console, (name, "bold red"), f" {name}")
    made = Grid((name,), (name,), title=name)
    made.add(name, name)
    made.show(console)
    shown = capsys.readouterr().out
    assert shown.count(name) == 3 + 5


def test_a_pipe_has_room_for_every_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    made = Grid(("name",), ("number",), frame=None)
    made.add("x" * 300, "1")
    made.show(screen())
    assert "x" * 300 in capsys.readouterr().out


def test_with_the_result_on_standard_output_people_read_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(screen("-"), "said")
    say(screen("file.json"), "shown")
    assert capsys.readouterr() == ("shown\n", "said\n")


def test_a_terminal_that_can_do_little_has_its_own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "44")
    assert screen().is_dumb_terminal
    assert screen().width == 44
