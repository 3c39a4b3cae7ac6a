"""Streams that refuse, that are closed or that lack characters end in one line and no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import Cli
from tombola import api
from tombola.base.json_text import finite, json_text
from tombola.lab.store.result_store import Store

FULL = Path("/dev/full")
COMMANDS = (["tasks"], ["find", "--help"])


def said(argv: list[str], shell: str, **environment: str) -> tuple[int, str, str]:
    """What a command says behind a shell's redirections: exit status, output, errors."""
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m tombola "$@" {shell}', sys.executable, *argv],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_a_full_disk_under_standard_output_is_one_line(argv: list[str]) -> None:
    status, _, errors = said(argv, "> /dev/full")
    assert status == 2
    assert errors.startswith("tombola: expected to write to standard output, got: No space")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_not_a_bug(shell: str) -> None:
    status, _, errors = said(["tasks"], shell)
    assert (status, errors) == (0, "")


@pytest.mark.parametrize("shell", ["2> /dev/full", "2>&-"])
def test_a_mistake_without_standard_error_has_its_status(shell: str) -> None:
    assert said(["fnid"], shell)[0] == 2


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("argv", [["tasks"], ["find", "--task", "sentimènt→"]], ids=" ".join)
def test_every_encoding_is_enough(argv: list[str], encoding: str) -> None:
    words = {"PYTHONIOENCODING": encoding, "LANG": "C", "TERM": "dumb", "COLUMNS": "44"}
    status, shown, errors = said(argv, "", **words)
    assert status == 2 * ("--task" in argv)
    assert "Traceback" not in errors
    assert shown or "sentim" in errors


def test_without_a_home_the_package_works(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "HOME"}
    command = [sys.executable, "-m", "tombola", "tasks"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert not list(tmp_path.iterdir())


def test_json_is_valid_whatever_a_number_is() -> None:
    nan, inf = float("nan"), float("inf")
    content = {"score": nan, "rounds": [{"mean": 1.5}, {"mean": -inf}], "pair": (nan, 2)}
    text = json_text(content)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads(text, parse_constant=refuse)
    assert read == {
        "score": None,
        "rounds": [{"mean": 1.5}, {"mean": None}],
        "pair": [None, 2],
        "not_finite": {"score": "nan", "rounds.1.mean": "-inf", "pair.0": "nan"},
    }
    assert json.loads(json_text([inf, 1]), parse_constant=refuse) == [None, 1]
    assert json.loads(json_text({"mean": 1.0})) == finite({"mean": 1.0}) == {"mean": 1.0}


def test_json_on_standard_output_is_nothing_but_json(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    api.one_shot(str(tiny), sparsity="0.5").save(tmp_path / "mine")
    asked = "inspect", str(tmp_path / "mine")
    everything = said([*asked, "--json", "-"], "")
    for status, shown, errors in (everything, cli(*asked, "--json"), cli(*asked, "--json=-")):
        assert (status, errors) == (0, "")
        assert json.loads(shown) == api.inspect(tmp_path / "mine").to_json()
    status, shown, _ = cli(*asked, "--json", "/dev/null")
    assert status == 0
    assert "encoder.layer.0" in shown
    assert not Path("/dev/null").is_file()


def test_help_fits_its_window() -> None:
    for width in ("44", "79", "200"):
        shown = said(["store", "--help"], "", COLUMNS=width)[1]
        assert max(map(len, shown.splitlines())) <= max(52, min(int(width), 100))


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("columns", ["0", "00", "-5", "", "wide", "²"])
def test_a_width_that_is_no_positive_number_is_none(
    columns: str, terminal: bool, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("COLUMNS")
    without = cli("tasks")
    assert "sentiment" in without[1]
    monkeypatch.setenv("COLUMNS", columns)
    assert cli("tasks") == without


@pytest.mark.parametrize("verb", [["tasks"], ["store", "list", "--json"]])
def test_a_reader_that_has_gone_gets_no_traceback(tmp_path: Path, verb: list[str]) -> None:
    Store(tmp_path / "runs/store")
    command = [sys.executable, "-m", "tombola", *verb]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 1)
