"""An evaluation: a ticket is trained with fresh seeds, on its network only."""

import json
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import tombola
from quick_find import RECIPE, Find, Recorder, other_model, quick_find
from tombola import api
from tombola.base.errors import SpecError, TicketError
from tombola.lab.store.result_store import Store
from tombola.study.verdicts.verdict import FIXED_TICKET, THIS_RUN
from tombola.ticket.ticket import Ticket


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default store is in the current folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("store") / "store")


@pytest.fixture(scope="module")
def find(tiny: Path, reviews: Path, store: str) -> Find:
    """`tombola.find` with a small recipe and a store that all share."""
    return quick_find(tiny, reviews, store)


@pytest.fixture(scope="module")
def two(find: Find, tmp_path_factory: pytest.TempPathFactory) -> api.SearchResult:
    """Two seeds, no control."""
    return find(output=tmp_path_factory.mktemp("found") / "two", seeds=[3, 4], controls=[])


@pytest.mark.parametrize("init", ["pretrained", "reinit", "shuffle"])
def test_a_ticket_is_evaluated_with_fresh_seeds(
    init: str, two: api.SearchResult, reviews: Path, tmp_path: Path
) -> None:
    result = tombola.evaluate(
        two.ticket, data=reviews, output=tmp_path / "out", init=init, seeds=[7, 8], **RECIPE
    )
    assert result.to_json().keys() == {
        *("task", "model", "metric", "split", "init", "sparsity", "dense", "scores", "verdict"),
        *("ticket", "seconds", "left_out", "notes", "counts", "margin", "trivial", "output", "key"),
    }
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result.to_json()
    assert (result.task, result.init, result.sparsity, result.split) == (
        "sentiment",
        init,
        Decimal("0.5"),
        "test",
    )
    assert len(result.dense["values"]) == len(result.scores["values"]) == 2
    assert (result.verdict["estimand"], result.verdict["sparsity"]) == (FIXED_TICKET, "0.5")


def test_a_ticket_goes_to_another_task(
    two: api.SearchResult, reviews: Path, tmp_path: Path
) -> None:
    result = tombola.evaluate(
        two.ticket, data=reviews, output=tmp_path, task="valence", seeds=[7, 8], **RECIPE
    )
    assert (result.task, result.metric, result.verdict["margin"]) == ("valence", "pearson", 3.0)
    assert all(score is not None and -100 <= score <= 100 for score in result.scores["values"])


def test_evaluating_twice_trains_once(two: api.SearchResult, reviews: Path, tmp_path: Path) -> None:
    callbacks = [Recorder(), Recorder()]
    result = [
        tombola.evaluate(two.ticket, data=reviews, output=tmp_path, callback=callback, **RECIPE)
        for callback in callbacks
    ]
    assert result[0] == result[1]
    assert result[0].verdict["estimand"] == THIS_RUN
    names = ["sentiment, seed 100, dense", "sentiment, seed 100, ticket at 0.5"]
    assert [(callback.done, callback.kept) for callback in callbacks] == [(names, []), ([], names)]


def test_a_ticket_in_memory_is_evaluated_as_the_one_on_disk(
    two: api.SearchResult, reviews: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"data": reviews, "seeds": [100], "store": tmp_path / "s", **RECIPE}
    ticket = Ticket.load(two.ticket)
    memory = tombola.evaluate(ticket, output=tmp_path / "a", **options)
    callback = Recorder()
    disk = tombola.evaluate(two.ticket, output=tmp_path / "b", callback=callback, **options)
    assert (memory.key, memory.scores, callback.done) == (disk.key, disk.scores, [])
    assert (memory.ticket, disk.ticket) == (None, two.ticket)


def test_the_seed_of_the_search_is_refused(
    two: api.SearchResult, reviews: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"other than that of its search, got 3\. Use fresh"):
        tombola.evaluate(two.ticket, data=reviews, output=tmp_path / "out", seeds=[7, 3])
    assert not list(tmp_path.iterdir())


def test_a_network_with_other_weights_is_refused(
    two: api.SearchResult, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    model = other_model(tmp_path / "model", tiny)
    mine = Ticket.load(two.ticket).fingerprint[:12]
    with pytest.raises(TicketError, match=f"fingerprint {mine} .* as `model`"):
        tombola.evaluate(two.ticket, model=model, data=reviews, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_of_another_shape_is_refused_with_both_shapes(
    two: api.SearchResult, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    model = other_model(tmp_path / "model", tiny, intermediate_size=40)
    differs = r"first at encoder\.layer\.0\.intermediate\.dense\.weight: .*\(48, 32\).*\(40, 32\)"
    with pytest.raises(TicketError, match=differs):
        tombola.evaluate(two.ticket, model=model, data=reviews, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_network_may_have_moved(
    two: api.SearchResult, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "moved")
    options: dict[str, Any] = {"data": reviews, "seeds": [7, 8], **RECIPE}
    result = [
        tombola.evaluate(two.ticket, model=model, output=tmp_path / name, **options)
        for name, model in (("a", None), ("b", str(tmp_path / "moved")))
    ]
    assert result[0].key == result[1].key
    assert result[0].scores == result[1].scores
    assert result[1].model == str(tmp_path / "moved")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "shufle"}, "no initialisation 'shufle'. Did you mean 'shuffle'?"),
        ({"task": "mml"}, "no task 'mml'. Did you mean 'mlm'?"),
        ({"seeds": [7, 7]}, "seeds must be distinct integers"),
    ],
)
def test_a_bad_option_of_an_evaluation_is_refused_before_any_training(
    options: dict[str, Any], message: str, two: api.SearchResult, reviews: Path, tmp_path: Path
) -> None:
    callback = Recorder()
    with pytest.raises(SpecError) as caught:
        tombola.evaluate(
            two.ticket, data=reviews, output=tmp_path / "o", callback=callback, **options
        )
    assert message in str(caught.value)
    assert not callback.kept
    assert not callback.done
    assert not list(tmp_path.iterdir())


def test_a_ticket_of_one_shot_is_evaluated_on_any_seed(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    place = tombola.one_shot(str(tiny), sparsity=0.5).save(tmp_path / "ticket")
    result = tombola.evaluate(place, data=reviews, output=tmp_path / "out", seeds=[0, 1], **RECIPE)
    assert result.task == "sentiment"
    assert result.sparsity == Decimal("0.5")


def test_a_ticket_of_a_task_of_one_s_own_asks_for_it(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    place = replace(tombola.one_shot(str(tiny), sparsity=0.5), task="mine").save(tmp_path / "mine")
    with pytest.raises(SpecError, match=r"found on 'mine', a task that .* same `task`"):
        tombola.evaluate(place, data=reviews, seeds=[0])


@pytest.mark.parametrize("task", ["mlm", "gloss-span"])
def test_a_ticket_with_the_pooler_is_trained_without_it_under_heads_that_have_none(
    task: str, tiny: Path, tmp_path: Path, store: str
) -> None:
    whole = tombola.one_shot(str(tiny), sparsity="0.5", scope="encoder+pooler")
    whole.save(tmp_path / "ticket")
    short: dict[str, Any] = {"train_limit": 8, "test_limit": 4, "epochs": 1, "threads": 1}
    short |= {"max_length": 48} | ({"query_length": 16} if task == "gloss-span" else {})
    result = api.evaluate(
        tmp_path / "ticket", task=task, output=tmp_path / "result", store=store, **short
    )
    (note,) = [note for note in result.notes if "pooler" in note]
    inside = {name: kept for name, kept in whole.mask.items() if "pooler" not in name}
    pruned = sum(int((~kept).sum()) for kept in inside.values())
    assert f"{pruned:,} pruned of {sum(kept.numel() for kept in inside.values()):,}" in note
    (run,) = [Store(store).read(key) for key in result.scores["keys"]]
    assert run is not None
    assert run.facts["dead"] == pruned


def test_the_pooler_of_a_ticket_is_left_out_where_that_is_asked_for(
    tiny: Path, reviews: Path, tmp_path: Path, store: str
) -> None:
    whole = tombola.one_shot(str(tiny), sparsity="0.5", scope="encoder+pooler")
    options: dict[str, Any] = {"data": reviews, "store": store, "scope": "encoder", **RECIPE}
    result = api.evaluate(whole, output=tmp_path / "result", **options)
    (run,) = [Store(store).read(key) for key in result.scores["keys"]]
    assert run is not None
    part = whole.mask_for("encoder")
    assert (run.facts["dead"], run.facts["scope_size"]) == (part.pruned, part.size)
    assert not [note for note in result.notes if "pooler" in note]


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("encoder+pooler", "expected a scope that the ticket covers, got 'encoder+pooler'"),
        ("encoders", "there is no scope 'encoders'. Did you mean 'encoder'?"),
    ],
)
def test_a_scope_that_a_ticket_does_not_cover_is_refused(
    scope: str, message: str, two: api.SearchResult, reviews: Path, tmp_path: Path
) -> None:
    with pytest.raises((SpecError, TicketError)) as caught:
        tombola.evaluate(two.ticket, scope=scope, data=reviews, output=tmp_path / "out")
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())
