"""The site: its reference has every verb, flag and finder, and its pages fetch nothing."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from tombola.base.specs import TrainSpec
from tombola.cli.main import VERBS
from tombola.finders.finder import FINDERS

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the script that builds the site defines."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return runpy.run_path(str(TOOLS / "build_site.py"))


def test_the_reference_has_every_verb_knob_and_finder(build: dict[str, Any]) -> None:
    verbs, finders = build["MADE"]["verbs"](), build["MADE"]["finders"]()
    assert [name for name in VERBS if f"### `tombola {name}`\n" not in verbs] == []
    knobs = TrainSpec.__dataclass_fields__.keys() - {"order_seed"}  # of an arm, not a flag
    flags = [f"--{name.replace('_', '-')}" for name in knobs]
    assert [flag for flag in flags if f"| `{flag}" not in verbs] == []
    assert [name for name in FINDERS if f"### `{name}`\n" not in finders] == []


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
