"""A result says which finder it is of, and makes sense for one that prunes once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from small_search import small_search
from tombola import api
from tombola.report.pages.page import render
from tombola.report.pages.search import search_page
from tombola.study.report_facts.search_facts import search_facts
from tombola.study.verdicts.verdict import FIXED_TICKET, SEARCH


@pytest.fixture(scope="module")
def snip(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> api.SearchResult:
    place = tmp_path_factory.mktemp("snip")
    asked: dict[str, Any] = {"finder": "snip", "finder_knobs": {"batches": 2}}
    return small_search(place, tiny, reviews, **asked, controls=("one-shot",))


@pytest.fixture(scope="module")
def one_shot(
    tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> api.SearchResult:
    place = tmp_path_factory.mktemp("one-shot")
    return small_search(place, tiny, reviews, finder="one-shot", controls=("one-shot",))


def page(folder: str | Path) -> str:
    return render(search_page(search_facts(Path(folder), api.one_shot)))


def shown(found: api.SearchResult) -> str:
    return (Path(found.output) / "scores.svg").read_text(encoding="utf-8")


def test_a_result_names_its_finder_its_label_and_its_knobs(
    snip: api.SearchResult, one_shot: api.SearchResult
) -> None:
    assert snip.finder == {"name": "snip", "label": "SNIP", "knobs": ["batches=2"]}
    assert one_shot.finder == {"name": "one-shot", "label": "one-shot", "knobs": []}
    assert json.loads((Path(snip.output) / "result.json").read_text())["finder"] == snip.finder


def test_a_result_says_what_its_finder_computed(
    snip: api.SearchResult, one_shot: api.SearchResult
) -> None:
    spent = dict.fromkeys(("forward_tokens", "backward_tokens", "trainings"), 0)
    assert one_shot.compute == spent
    trainings = snip.compute["trainings"]
    assert trainings is not None
    assert 0 < trainings < 1  # two batches of several
    assert snip.compute["forward_tokens"] == snip.compute["backward_tokens"]


def test_picture_and_page_have_the_label_of_the_finder(snip: api.SearchResult) -> None:
    assert "SNIP on sentiment" in shown(snip)
    written = page(snip.output)
    assert "SNIP ticket" in written
    assert "IMP ticket" not in written
    assert "Does SNIP find" in written


def test_finder_and_knobs_are_known_without_the_experiment(
    snip: api.SearchResult, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(snip.output, copy, ignore=shutil.ignore_patterns("experiment.json"))
    written = page(copy)
    assert "SNIP ticket" in written
    assert "--finder snip" in written
    assert "--batches 2" in written


def test_a_result_that_names_no_finder_is_of_imp(snip: api.SearchResult, tmp_path: Path) -> None:
    result: dict[str, Any] = json.loads((Path(snip.output) / "result.json").read_text())
    del result["finder"]
    copy = tmp_path / "copy"
    copy.mkdir()
    for ticket in snip.tickets.values():
        (copy / Path(ticket).name).symlink_to(ticket)
    (copy / "result.json").write_text(json.dumps(result))
    assert search_facts(copy, api.one_shot)["finder"]["label"] == "IMP"


def test_a_ticket_has_another_name_than_the_control_like_it(one_shot: api.SearchResult) -> None:
    picture = shown(one_shot)
    assert "One-shot on sentiment" in picture
    assert "one-shot ticket" in picture


def test_one_mask_of_all_seeds_is_one_ticket(
    snip: api.SearchResult, one_shot: api.SearchResult
) -> None:
    assert one_shot.verdict["estimand"] == FIXED_TICKET
    assert snip.verdict["estimand"] == SEARCH


def test_one_shot_pruning_is_not_compared_with_itself_in_a_note(one_shot: api.SearchResult) -> None:
    assert one_shot.rounds[-1]["jaccard_one_shot"] == 1.0
    assert not any("nearly that of one-shot" in note for note in one_shot.notes)
