"""The site: its reference has every verb, flag, finder and field, and its pages fetch nothing."""

import dataclasses
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from tombola.base.specs import SEEDS, PruneSpec, TrainSpec
from tombola.cli.main import VERBS
from tombola.finders.finder import FINDERS
from tombola.lab.planfile.arm import ARMS
from tombola.lab.planfile.fields import IN_A_FILE
from tombola.lab.planfile.finder_arm import FinderArm
from tombola.lab.planfile.plan_file import SIMPLE
from tombola.tasks.task import COMPUTED, Task

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def build() -> dict[str, Any]:
    """What the script that builds the site defines."""
    return runpy.run_path(str(TOOLS / "build_site.py"))


def test_the_reference_has_every_verb_knob_and_finder(build: dict[str, Any]) -> None:
    verbs, finders = build["MADE"]["verbs"](), build["MADE"]["finders"]()
    assert [name for name in VERBS if f"### `tombola {name}`\n" not in verbs] == []
    knobs = TrainSpec.__dataclass_fields__.keys() - {"order_seed"}  # of an arm, not a flag
    flags = [f"--{name.replace('_', '-')}" for name in knobs]
    assert [flag for flag in flags if f"| `{flag}" not in verbs] == []
    assert [name for name in FINDERS if f"### `{name}`\n" not in finders] == []


def documented(text: str) -> set[str]:
    """The fields that a table has, each with what it takes, its default and its meaning."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) ?\| (.+?) \|$", text, re.M)
    assert all(takes and len(about) > 10 for _, takes, _, about in rows)
    return {name for name, *_ in rows}


def fields(spec: Any) -> set[str]:
    names = [field.name for field in dataclasses.fields(spec)]
    return {IN_A_FILE.get(name, name) for name in names}


def test_the_reference_has_every_field_of_a_task_a_recipe_and_a_plan(build: dict[str, Any]) -> None:
    made = build["MADE"]
    assert documented(made["task-file"]()) == fields(Task) - {*COMPUTED}
    assert documented(made["recipe"]()) == fields(TrainSpec) - {*SEEDS}
    plan = {"version", *SIMPLE, "tasks", "train", "arms", "data"}
    assert documented(made["plan-file"]()) == plan


def test_the_reference_has_every_kind_of_arm_with_its_fields(build: dict[str, Any]) -> None:
    head, *sections = re.split(r"^### ", build["MADE"]["arms"](), flags=re.M)
    assert head == ""
    found = {text.partition("\n")[0]: documented(text) for text in sections}
    every = found.pop("The name of a finder")
    assert every == (fields(FinderArm) - {"search"}) | fields(PruneSpec)
    assert found.keys() == {f"`kind: {name}`" for name in (*ARMS, *FINDERS)}
    for name in ARMS:
        assert found[f"`kind: {name}`"] == fields(ARMS[name])
    for name in FINDERS:
        mine = found[f"`kind: {name}`"]
        assert fields(FINDERS[name].spec) - fields(PruneSpec) <= mine <= fields(FINDERS[name].spec)


def test_bars_and_brackets_in_a_help_text_stay_in_their_cell(build: dict[str, Any]) -> None:
    cell = build["MADE"]["verbs"].__globals__["cell"]
    assert cell("|w| < 100 %%") == r"\|w\| &lt; 100 %"


def test_a_page_loads_our_script_for_its_search(build: dict[str, Any]) -> None:
    page = build["SITE"] / "docs" / "x.html"
    kept = build["local"](f'<script src="{build["SHIM"]}"></script>', page)
    assert kept == '<script src="../site/frame_worker.js"></script>'


@pytest.mark.parametrize(
    "element",
    [
        '<script defer src="https://elsewhere.org/x.js"></script>',
        '<link rel="stylesheet" href="https://elsewhere.org/x.css">',
        '<img alt="" src="http://elsewhere.org/x.png">',
    ],
)
def test_a_page_that_would_fetch_something_is_refused(build: dict[str, Any], element: str) -> None:
    with pytest.raises(ValueError, match="expected a page that fetches nothing"):
        build["local"](element, build["SITE"] / "x.html")


def test_a_link_is_no_fetch(build: dict[str, Any]) -> None:
    link = '<a href="https://elsewhere.org">there</a>'
    assert build["local"](link, build["SITE"] / "x.html") == link


def test_a_note_on_where_the_tables_are_is_not_on_the_site(build: dict[str, Any]) -> None:
    for name in ("python", "command-line", "yaml-files"):
        page = TOOLS.parent / "docs" / "reference" / f"{name}.md"
        text = page.read_text(encoding="utf-8")
        kept = build["LEFT_OUT"].sub("", text)
        assert "appear only in the built site" in text
        assert "built site" not in kept
        assert text.partition("<!-- end -->\n\n")[2] in kept
