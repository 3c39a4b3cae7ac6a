"""A folder that a user names holds one experiment, and nothing else of theirs is touched."""

import json
from pathlib import Path
from typing import Any

import pytest

from tombola.api.experiment import Experiment
from tombola.base.errors import OutputError
from tombola.lab.output_folder import Output

OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"train": {"epochs": 2.0}, "seeds": [0]}, "its epochs is 1.0, asked for 2.0"),
    ({"train": {"epochs": 1.0, "warmup": 0.1}, "seeds": [0]}, "its warmup is the default, asked"),
    ({"train": {}, "seeds": [0]}, "its epochs is 1.0, asked for the default"),
    ({"train": {"epochs": 1.0}, "seeds": [0, 1]}, r"its seeds is \[0\], asked for \[0, 1\]"),
]


@pytest.mark.parametrize(("wanted", "message"), OTHERS)
def test_a_folder_belongs_to_one_experiment(
    wanted: dict[str, Any], message: str, tmp_path: Path
) -> None:
    mine = {"train": {"epochs": 1.0}, "seeds": [0]}
    Output(tmp_path / "out", mine).open()
    assert Output(tmp_path / "out", mine).open() == tmp_path / "out"
    with pytest.raises(OutputError, match=message):
        Output(tmp_path / "out", wanted)
    assert json.loads((tmp_path / "out" / "experiment.json").read_text()) == mine


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "runs/seed-0/notes.txt"])
def test_a_folder_with_something_else_is_refused_and_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        Output(tmp_path, {})
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_is_no_place_for_results(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        Output(tmp_path / "out", {})
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_damaged_description_is_reported(text: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(OutputError, match=r"expected an experiment in .*, got no JSON object"):
        Output(tmp_path, {})


def test_a_folder_gets_the_experiments_key_unless_it_is_named() -> None:
    found = Experiment.of("find", 1, {}, folder=None, name="sentiment-0.5")
    assert found.output.folder == Path("runs", f"sentiment-0.5-{found.key[:8]}")
    for name in ("MONKEY", "sentiment-KEY"):
        assert Experiment.of("find", 1, {}, folder=Path(name), name="").output.folder == Path(name)
