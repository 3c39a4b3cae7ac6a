"""A report of untrusted files: one line for what is wrong, nothing obeyed."""

import copy
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli
from ticket_seal import reseal
from tombola import api
from tombola.base.text import lines
from tombola.study.results.result_file import read_search_record

HOSTILE = "</script><b>\x1b[2J\x00\u202e\ud800'\"`$(x)`"
STRANGE: tuple[Any, ...] = (None, True, 3, -1e300, "text", [], [None], {}, {"a": []}, [[]])


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / "out"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a report asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))
    if path.name == "ticket.json":
        reseal(path.parent)


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    if way:
        yield way
    for name in value if isinstance(value, dict) else range(min(len(value), 1)):
        if isinstance(value[name], dict | list):
            yield from places(value[name], (*way, name))
        else:
            yield (*way, name)


def put(content: Any, way: tuple[Any, ...], value: Any) -> None:
    for name in way[:-1]:
        content = content[name]
    content[way[-1]] = value


def test_every_field_of_any_other_kind_makes_a_page_or_one_line(folder: Path) -> None:
    """Validation and page agree: what is let through is drawn."""
    from tombola.base.errors import TombolaError
    from tombola.report.pages.page import render
    from tombola.report.pages.search import search_page
    from tombola.study.report_facts.search_facts import search_facts

    place = folder / "result.json"
    whole = json.loads(place.read_text())
    facts = search_facts(folder, api.one_shot)
    refused, drawn = list[str](), 0
    for way in places(whole):
        for strange in STRANGE:
            changed = copy.deepcopy(whole)
            put(changed, way, strange)
            place.write_text(json.dumps(changed))
            try:
                result = read_search_record(place)
            except TombolaError as error:
                refused.append(str(error))
                continue
            drawn += 1
            if drawn % 20 == 0:
                render(search_page({**facts, "result": result}))
    assert len(refused) > 100
    assert all("\n" not in error and len(error) < 600 for error in refused)
    assert drawn > 20


@pytest.mark.parametrize(
    ("way", "strange", "message"),
    [
        (("trivial",), "high", "expected a finite number or null as 'trivial' in"),
        (("rounds", 0, "values"), 3, "expected a list of scores as 'rounds.0.values' in"),
        (("rounds", 0, "sparsity"), 0.5, "a fraction such as '0.7'"),
        (("verdict", "interval"), ["a", 1], "as 'verdict.interval.0' in"),
        (("dense", "values"), [1.0], "expected 1 entries, one a seed, as 'dense.keys' in"),
        (("tickets",), {"x": "y"}, "expected a whole number as 'tickets.x' in"),
        (("notes",), "none", "expected a list as 'notes' in"),
        (("controls",), [], "expected an object as 'controls' in"),
        (("metric",), None, "expected text as 'metric' in"),
    ],
)
def test_a_field_of_another_kind_is_named_with_what_came(
    folder: Path, cli: Cli, way: tuple[Any, ...], strange: Any, message: str
) -> None:
    rewrite(folder / "result.json", lambda content: put(content, way, strange))
    status, _, error = cli("report", folder)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


def test_hostile_names_are_shown_and_never_obeyed(folder: Path, cli: Cli) -> None:
    def spoil(content: Any) -> None:
        content["task"] = content["metric"] = content["key"] = HOSTILE
        content["notes"] = [HOSTILE]
        content["controls"] = {HOSTILE: content["controls"]["random"]}
        content["verdict"]["sentence"] = HOSTILE

    rewrite(folder / "result.json", spoil)
    status, _, error = cli("report", folder)
    assert (status, error) == (0, "")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert lines(page) == page
    assert "</script><b>" not in page
    assert r"\x1b[2J\x00\u202e\ud800" in page


def test_the_command_has_only_knobs_that_there_are(folder: Path, cli: Cli) -> None:
    def spoil(content: Any) -> None:
        content["provenance"]["recipe"] |= {
            "$(touch x)": "y",
            "epochs": ["; rm -rf /"],
            "batch_size": 16,
            "precision": "$(touch x)",
        }
        content["provenance"]["numerics"] = {"threads": "1; touch x", "processes": 1}
        content["provenance"]["rounds"] = {"a": 1}

    rewrite(folder / "ticket-seed-0" / "ticket.json", spoil)
    rewrite(folder / "experiment.json", lambda content: content.update(step={"a": 1}, scope=["x"]))
    status, _, error = cli("report", folder)
    assert (status, error) == (0, "")
    page = (folder / "report.html").read_text()
    code = page.split("How to reproduce it</h2>")[1].split("</pre>")[0]
    assert "--batch-size 16" in code
    assert "touch x)&#39;" in code
    assert "rm -rf" not in code
    assert "1; touch" not in code
    assert "--$(" not in code


@pytest.mark.parametrize("model", ["owner/name", "http://localhost/x", "nowhere/\x1b[2J", "/dev"])
def test_a_ticket_s_model_is_never_asked_for_elsewhere(
    folder: Path, cli: Cli, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ticket in folder.glob("ticket-seed-*/ticket.json"):
        rewrite(ticket, lambda content: content.update(model=model))
    status, _, error = cli("report", folder)
    assert (status, error) == (0, "")
    assert "not on this machine" in (folder / "report.html").read_text()


@pytest.mark.parametrize("name", ["result.json", "experiment.json"])
@pytest.mark.parametrize("what", ["pipe", "folder", "deep", "twice", "endless"])
def test_files_of_a_search_are_plain_small_json(
    folder: Path, cli: Cli, name: str, what: str
) -> None:
    import os

    place = folder / name
    place.unlink()
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    elif what == "endless":
        place.symlink_to("/dev/zero")
    else:
        place.write_text('{"a": ' + "[" * 9999 if what == "deep" else '{"a": 1, "a": 2}')
    status, _, error = cli("report", folder)
    assert status == 2
    assert error.count("\n") == 1
    assert name in error


def test_a_plan_of_hostile_names_is_shown_and_never_obeyed(tmp_path: Path, cli: Cli) -> None:
    name = json.dumps("</script><b>\u202e'\"$(x)\x1b[2J[red]")
    plan = tmp_path / "x.yaml"
    plan.write_text(
        f"version: 1\nabout: {name}\nmodel: mini\ntasks: [sentiment]\narms:\n"
        f"  {name}: {{kind: dense}}\n",
        encoding="utf-8",
    )
    from tombola.lab.store.result_store import Store

    Store(tmp_path / "store")
    status, _, error = cli("report", plan, "--store", tmp_path / "store", "--output", "x.html")
    assert (status, error) == (0, "")
    page = Path("x.html").read_text(encoding="utf-8")
    assert "</script><b>" not in page
    assert lines(page) == page
