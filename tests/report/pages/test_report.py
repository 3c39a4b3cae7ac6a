"""A report holds every number of its result, fetches nothing, and escapes what it shows."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from report_scripts import without_own_scripts
from ticket_seal import reseal
from tombola import api
from tombola.base.specs import SEEDS, TrainSpec
from tombola.cli.main import main
from tombola.cli.parser import Parser
from tombola.cli.verbs.search import VERBS
from tombola.finders.imp import ImpSpec
from tombola.lab.options import find_options
from tombola.report.figures import heatmap as heat
from tombola.report.figures.style import svg
from tombola.report.pages.command import command
from tombola.report.pages.page import Page, Picture, Section, Table, render
from tombola.report.pages.search import search_page
from tombola.study.report_facts.search_facts import search_facts, task_flags

EVIL = "<script>alert('x & y')</script>"
VOID = {"meta", "br", "link", "img", "hr", "input"}


@pytest.fixture(scope="module")
def facts(searched: Path) -> dict[str, Any]:
    return search_facts(searched, api.one_shot)


@pytest.fixture(scope="module")
def html(facts: dict[str, Any]) -> str:
    return render(search_page(facts))


class Reader(HTMLParser):
    """Texts and tags; every tag that is opened must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.open, self.attributes = "", [""], list[tuple[str, str, str | None]]()
        self.feed(html)
        assert self.open == [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def numbers(value: Any) -> Iterator[str]:
    """Every number of a JSON value, as JSON writes it."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)


def test_every_number_of_the_result_is_there(facts: dict[str, Any], html: str) -> None:
    text = Reader(html).text
    found = list(numbers(facts["result"]))
    assert len(found) > 20
    assert [number for number in found if number not in text] == []
    tables = text.split("The result as JSON")[1].split("What this does not show")[0]
    for entry in (facts["result"]["dense"], *facts["result"]["rounds"]):
        assert f"{entry['mean']:.2f} ± {entry['std']:.2f}" in tables
        assert all(key in tables for key in entry["keys"])
    assert facts["result"]["verdict"]["sentence"][1:] in text


def test_nothing_is_fetched_and_no_script_runs_but_the_page_s_own(html: str) -> None:
    assert "default-src 'none'" in html
    html = without_own_scripts(html)
    read = Reader(html)
    tags = {tag for tag, _, _ in read.attributes}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for tag, name, value in read.attributes:
        assert name not in ("src", "srcset", "data", "action"), tag
        assert not name.startswith("on"), tag
        if name == "href":
            assert value is not None
            assert value.startswith("#")
    outside = set(re.findall(r"https?://[^\s\"'<>)]*", html))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"@import|url\(\s*['\"]?(?!#|\s*['\"]?#)", html)


def test_anatomy_overlap_numerics_and_limits_are_shown(facts: dict[str, Any], html: str) -> None:
    text = Reader(html).text
    about = facts["tickets"][0]["about"]
    for words in (
        *("Anatomy of the ticket", "Is it more than one-shot pruning?", "Do the seeds agree?"),
        *("0 of 4", "0 of 96", "What this does not show", about["fingerprint"], about["digest"]),
        *map(str, about["provenance"]["numerics"].values()),
        *about["versions"].values(),
        f"{facts['one_shot'][0]['chance']:.4f}",
    ):
        assert words in text
    assert without_own_scripts(html).count("<svg") == 3
    assert "attention.output.dense" in html


@pytest.mark.parametrize(
    ("task", "flags"),
    [
        (["sentiment", 1], ["--task sentiment"]),
        (
            ["mine", 1, {"kind": "classification", "texts": ["a"], "metric": "accuracy"}],
            ["--task mine.yaml"],
        ),
        (["mlm", 1, {"kind": "mlm", "texts": ["body"]}], ["--task mlm", "--text-columns body"]),
        (
            [
                *("csv", 1),
                {
                    "kind": "classification",
                    "texts": ["title", "body"],
                    "label": "stars",
                    "labels": ["bad", "good"],
                    "metric": "accuracy",
                },
            ],
            [
                *("--task csv:DIR", "--kind classification", "--text-columns title,body"),
                *("--label-column stars", "--labels bad,good", "--metric accuracy"),
            ],
        ),
    ],
)
def test_the_command_names_a_task_of_one_s_own_and_its_split(
    facts: dict[str, Any], task: list[Any], flags: list[str]
) -> None:
    result = {**facts["result"], "task": task[0], "split": "dev"}
    text = command({**facts, "result": result, "task": task_flags(task)})
    lines = [line.strip(" \\") for line in text.split("\n")]
    assert {*flags, "--eval-split dev"} <= set(lines)
    assert "--eval-split" not in command(facts)
    assert "--drop-bad-rows" not in command(facts)
    counts = {"train": {"rows": 3, "dropped": {"label": 1}}}
    dropping = {**facts, "result": {**facts["result"], "counts": counts}}
    assert "--drop-bad-rows" in command(dropping)


def test_the_command_makes_the_same_search_again(facts: dict[str, Any]) -> None:
    name, verb, *argv = shlex.split(command(facts).replace("\\\n", " "))
    assert (name, verb) == ("tombola", "find")
    parser = Parser("tombola find", "")
    VERBS["find"].flags(parser)
    given = vars(parser.read(argv))
    asked = find_options({k: v for k, v in given.items() if k not in ("json", "config")})
    spec, knobs = asked.search, asked.prune
    assert isinstance(knobs, ImpSpec)
    assert (spec.seeds, spec.controls, spec.model) == (
        (0, 1),
        ("random",),
        facts["result"]["model"],
    )
    assert (str(knobs.sparsity), str(knobs.step)) == ("0.5", "0.25")
    recipe = {name: given[name] for name in TrainSpec.__dataclass_fields__ if name in given}
    wanted = facts["tickets"][0]["about"]["provenance"]["recipe"]
    unset = {name for name, value in wanted.items() if value is False}
    assert recipe == {k: v for k, v in wanted.items() if k not in {*SEEDS, *unset}}


def test_the_same_facts_make_the_same_page_and_texts_are_escaped(facts: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(facts))
    changed["result"] |= {"task": EVIL, "model": EVIL, "notes": [EVIL]}
    changed["result"]["controls"] = {EVIL: changed["result"]["controls"]["random"]}
    changed["tickets"][0]["about"]["provenance"]["numerics"] = {EVIL: EVIL}
    html = without_own_scripts(render(search_page(changed)))
    assert "<script" not in html
    assert EVIL in Reader(html).text


def test_a_page_of_any_sections_escapes_them() -> None:
    section = Section(EVIL, [EVIL], [EVIL], [Picture("<svg></svg>", EVIL)], (), EVIL)
    table = Section("t", tables=[Table((EVIL,), [(EVIL,)], EVIL, frozenset((0,)))])
    page = Page(title=EVIL, question=EVIL, answers=[EVIL], sections=[section, table], notes=[EVIL])
    html = render(page)
    assert "<script" not in html
    assert Reader(html).text.count(EVIL) >= 11


def test_a_heat_map_leaves_out_what_is_not_there() -> None:
    grid = {
        "layers": [0, 1],
        "types": ["a", EVIL],
        "sparsity": [[0.25, None], [0.5, 1.0]],
        "by_layer": [0.25, 0.75],
        "by_type": [0.375, 1.0],
    }
    drawn = svg(heat.draw(grid, title=EVIL))
    assert "<script" not in drawn
    shares = re.findall(r">(\d+ %)<", drawn)
    assert shares.count("100 %") == 2
    assert len(shares) == 3 + 4
    flat = {**grid, "types": ["a"], "sparsity": [[0.5], [0.5]], "by_type": [0.5]}
    assert svg(heat.draw(flat, title="flat"))


def test_result_and_tickets_are_enough(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(searched, moved)
    (moved / "experiment.json").unlink()
    document = json.loads((moved / "ticket-seed-0" / "ticket.json").read_text())
    gone = {"model": str(tmp_path / "gone")}
    for seed in (0, 1):
        place = moved / f"ticket-seed-{seed}" / "ticket.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | gone))
        reseal(place.parent)
    assert document["model"] != gone["model"]
    assert main(["report", str(moved)]) == 0
    assert capsys.readouterr().out == f"{moved / 'report.html'}\n"
    text = Reader((moved / "report.html").read_text()).text
    assert "experiment.json is missing" in text
    assert "the network is not available" in text
    assert "Heads and neurons are unknown" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected the output of `tombola find` with"),
        ("{", "expected the output of `tombola find` with"),
        ("[]", "expected a JSON object in"),
        ('{"dense": {}}', "expected text as 'task' in"),
    ],
)
def test_a_folder_without_a_search_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()
