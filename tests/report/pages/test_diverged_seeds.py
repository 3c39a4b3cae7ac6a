"""A search of which some seeds diverged is reported with every seed in its place."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli

KEYS = "Keys of every run"


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    place = folder / "result.json"
    content = json.loads(place.read_text())
    change(content)
    place.write_text(json.dumps(content))


@pytest.fixture
def lost(searched: Path, tmp_path: Path) -> Path:
    """The output of a search whose first seed diverged."""
    folder = Path(shutil.copytree(searched, tmp_path / "out"))

    def lose(content: dict[str, Any]) -> None:
        for entry in (content["dense"], *content["rounds"], *content["controls"].values()):
            entry["values"][0] = entry["mean"] = entry["std"] = None
        del content["tickets"]["0"]
        reason = "sentiment, seed 0, dense, diverged"
        content["verdict"] |= {"interval": None, "difference": None, "reason": reason}

    rewritten(folder, lose)
    shutil.rmtree(folder / "ticket-seed-0")
    return folder


def without_seeds(content: dict[str, Any]) -> None:
    """As earlier versions wrote it."""
    del content["seeds"]


@pytest.mark.parametrize("change", [lambda content: None, without_seeds])
def test_the_runs_and_the_command_have_the_seeds_of_the_search(
    lost: Path, cli: Cli, change: Callable[[dict[str, Any]], None]
) -> None:
    rewritten(lost, change)
    status, _, error = cli("report", lost)
    assert (status, error) == (0, "")
    page = (lost / "report.html").read_text(encoding="utf-8")
    assert "--seeds 0,1" in page
    assert "this recipe and 2 seeds" in page
    result = json.loads((lost / "result.json").read_text())
    for seed, key in enumerate(result["dense"]["keys"]):
        before = page[page.index(KEYS) : page.index(key, page.index(KEYS))]
        cells = before[before.rindex("<tr") :]
        assert f">{seed}<" in cells, cells


def test_seeds_that_nothing_names_are_refused(lost: Path, cli: Cli) -> None:
    rewritten(lost, without_seeds)
    (lost / "experiment.json").unlink()
    status, _, error = cli("report", lost)
    assert status == 2
    assert "expected the seeds of 2 runs with" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "strange", "message"),
    [
        ("seeds", [1, 1], "expected 2 different ones as 'seeds' in"),
        ("seeds", [1, -2], "expected a whole number from 0 as 'seeds.1' in"),
        ("tickets", {"7": "x"}, "expected seeds of [0, 1] as 'tickets' in"),
        ("tickets", {"0": "x", "1": "y", "2": "z"}, "expected up to 2, one a seed, as 'tickets'"),
    ],
)
def test_seeds_and_tickets_that_contradict_each_other_are_refused(
    lost: Path, cli: Cli, name: str, strange: Any, message: str
) -> None:
    rewritten(lost, lambda content: content.update({name: strange}))
    status, _, error = cli("report", lost)
    assert status == 2
    assert message in error
