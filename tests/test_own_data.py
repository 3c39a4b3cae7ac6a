"""Own data at the first try: rate, steps and margin are settled, and a ticket knows its data."""

import json
import random
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import tombola
from command_line import Cli
from conftest import review
from ticket_seal import reseal
from tombola import api
from tombola.base.errors import DataError, SpecError, TicketError, TrainingDivergedError
from tombola.base.specs import EvaluateSpec, LabSpec
from tombola.lab import tuning
from tombola.lab.options import ticket_options
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.lab.ticket_origin import Origin
from tombola.study.table.margins import margin_rule, margins
from tombola.study.table.table import rows

SMALL: dict[str, Any] = {
    "sparsity": 0.5,
    "step": 0.5,
    "controls": (),
    "epochs": 1,
    "batch_size": 16,
    "max_length": 16,
    "text_columns": ("text",),
}


def write(folder: Path, *splits: str, header: str = "text,label") -> Path:
    """Reviews as CSV files, 48 to train and 24 for each other split."""
    chance = random.Random(1)
    folder.mkdir(exist_ok=True, parents=True)
    for split in ("train", *splits):
        some = [review(chance) for _ in range(48 if split == "train" else 24)]
        lines = [header, *(f"{each['sentence']},{'ab'[each['label']]}" for each in some)]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("shared") / "store")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "films", "dev", "test")


Find = Callable[..., api.SearchResult]


@pytest.fixture(scope="module")
def find(tiny: Path, films: Path, store: str, tmp_path_factory: pytest.TempPathFactory) -> Find:
    """`tombola.find` on the films, with a small recipe and a store that all share."""
    small = {"task": f"csv:{films}", "model": str(tiny), "store": store, **SMALL}
    outputs = tmp_path_factory.mktemp("outputs")

    def call(**options: Any) -> api.SearchResult:
        output = outputs / str(len(list(outputs.iterdir())))
        return tombola.find(**{"output": output, **small, **options})

    return call


@pytest.fixture(scope="module")
def found(find: Find) -> api.SearchResult:
    return find(learning_rate=1e-2)


def kinds(folder: str) -> list[str]:
    return [row["kind"] for row in Store(folder).rows()]


# the margin


def test_the_margin_of_an_own_task_is_the_rule_s_from_dev(
    found: api.SearchResult, find: Find, store: str
) -> None:
    told = found.margin
    assert (told["origin"], told["seed"]) == ("rule", 0)
    assert told["points"] == margin_rule(told["dense"], told["trivial"]) == found.verdict["margin"]
    scored = [
        Store(store).read(row["key"]) for row in Store(store).rows() if row["kind"] == "score"
    ]
    (result,) = [r for r in scored if r and r.parents["trained"] == found.dense["keys"][0]]
    assert (result.facts["split"], result.facts["score"]) == ("dev", told["dense"])
    assert any("5 % of dense's gain" in note for note in found.notes)
    again = find(learning_rate=1e-2, seeds=(0, 1))
    assert again.margin == told  # more seeds don't move it


def test_the_margin_is_no_part_of_a_training(
    found: api.SearchResult, find: Find, store: str
) -> None:
    before = len(kinds(store))
    wide = find(learning_rate=1e-2, margin=40)
    assert len(kinds(store)) == before  # nothing is trained
    assert (wide.margin["points"], wide.margin["origin"]) == (40, "named")
    assert wide.verdict["margin"] == 40
    assert wide.dense["keys"] == found.dense["keys"]
    assert wide.key != found.key  # another experiment, with another verdict
    assert find(learning_rate=1e-2, margin=0).verdict["margin"] == 0


@pytest.mark.parametrize("wrong", [-5, float("nan"), float("inf"), "wide", True])
def test_a_margin_that_is_no_number_of_points_is_refused(find: Find, wrong: Any) -> None:
    with pytest.raises(SpecError, match=r"margin (must be 0 or more|must be a number)"):
        find(margin=wrong)


def test_without_a_dev_split_the_margin_is_one_point(find: Find, tmp_path: Path) -> None:
    found = find(task=f"csv:{write(tmp_path / 'no-dev', 'test')}", learning_rate=1e-2)
    assert (found.margin["points"], found.margin["origin"]) == (1.0, "least")
    assert any("there is no dev split" in note for note in found.notes)


def test_a_dev_split_that_cannot_be_scored_is_refused(find: Find, tmp_path: Path) -> None:
    folder = write(tmp_path / "films", "test")
    (folder / "dev.csv").write_text("text,label\na film,c\n")  # no class of the training rows
    with pytest.raises(DataError, match=r"dev\.csv', line 2, column 'label'"):
        find(task=f"csv:{folder}", learning_rate=1e-2)
    (folder / "dev.csv").unlink()
    assert find(task=f"csv:{folder}", learning_rate=1e-2).margin["origin"] == "least"


def test_a_task_with_a_margin_keeps_it(find: Find, films: Path, tmp_path: Path) -> None:
    text = "kind: classification\ntexts: [text]\nlabels: [a, b]\nmetric: accuracy\n"
    (tmp_path / "mine.yaml").write_text(f"{text}margin: 7\ndata: {films}\n")
    options = {"task": "mine.yaml", "text_columns": (), "learning_rate": 1e-2}
    assert find(**options).margin["points"] == 7
    assert find(**options, margin=3).margin["points"] == 3


def test_a_plan_s_own_tasks_have_the_rule_s_margin(tiny: Path, films: Path, tmp_path: Path) -> None:
    text = "kind: classification\ntexts: [text]\nlabels: [a, b]\nmetric: accuracy\n"
    (tmp_path / "mine.yaml").write_text(f"{text}data: {films}\n")
    (tmp_path / "plan.yaml").write_text(
        f"version: 1\nmodel: {tiny}\ntasks: [{tmp_path}/mine.yaml]\nseeds: [3, 4]\n"
        "train: {epochs: 1, batch_size: 16, max_length: 16, learning_rate: 1.0e-2}\n"
        "arms: {dense: {kind: dense}, one-shot: {kind: one-shot, sparsity: 0.5}}\n"
    )
    known = SubjectFactory(tmp_path / "store")
    plan = expand(
        read_plan(tmp_path / "plan.yaml"),
        lambda task, recipe: known.subject(str(tiny), task, recipe, scope="encoder", folder=None),
    )
    assert [job.kind for job in plan.jobs].count("score") == 1
    kept = Store(tmp_path / "store")
    assert {row.margin for row in rows(plan, kept)} == {None}
    run_plan(plan, LabSpec(store=str(kept.folder)), RunCallback())
    (points,) = margins(plan, kept).values()
    (scored,) = [kept.read(job.key) for job in plan.jobs if job.kind == "score"]
    assert scored is not None
    assert scored.facts["seed"] == 3
    assert points == margin_rule(scored.facts["score"], scored.facts["trivial"])
    assert {row.margin for row in rows(plan, kept)} == {points}
    kept.remove(scored.key)
    assert {row.margin for row in rows(plan, kept)} == {None}


# the learning rate


def test_a_tuned_learning_rate_is_the_best_of_three_on_dev(find: Find, store: str) -> None:
    found = find(learning_rate="tune")
    tuned = found.tuned
    assert tuned is not None
    assert list(tuned["scores"]) == ["0.0001", "0.0003", "0.0009"]
    best = tuned["scores"][f"{tuned['learning_rate']:g}"]
    assert best == max(tuned["scores"].values())
    (folder,) = found.tickets.values()
    kept = tombola.Ticket.load(folder).provenance
    assert kept["tuned"] == tuned
    assert kept["recipe"]["learning_rate"] == tuned["learning_rate"]
    before = len(kinds(store))
    named = find(learning_rate=tuned["learning_rate"])
    assert len(kinds(store)) == before  # the number given shares every job
    assert (named.key, named.tuned, named.dense) == (found.key, None, found.dense)


def test_tuning_asks_for_dev_and_never_for_test(find: Find, films: Path, tmp_path: Path) -> None:
    other = tmp_path / "turned"
    shutil.copytree(films, other)
    lines = (films / "test.csv").read_text().splitlines()
    turned = lines[1][:-1] + "ba"["ab".index(lines[1][-1])]
    (other / "test.csv").write_text("\n".join([lines[0], turned, *lines[2:]]) + "\n")
    first, second = (find(learning_rate="tune", task=f"csv:{each}") for each in (films, other))
    assert first.tuned == second.tuned
    assert first.dense["values"] != second.dense["values"]


def test_tuning_without_dev_is_refused_before_anything_is_trained(
    find: Find, tmp_path: Path
) -> None:
    folder = write(tmp_path / "no-dev", "test")
    store = str(tmp_path / "fresh")
    with pytest.raises(SpecError, match=r"chooses on a dev split .* got none .* Add one"):
        find(task=f"csv:{folder}", learning_rate="tune", store=store)
    with pytest.raises(SpecError, match="scores come from another split, got 'dev'"):
        find(learning_rate="tune", eval_split="dev", store=store)
    assert not Path(store).exists() or not kinds(store)


def test_a_rate_that_diverges_is_not_chosen(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "FACTORS", (Fraction(10**30), Fraction(1)))
    tuned = find(learning_rate="tune", seeds=(5,)).tuned
    assert tuned is not None
    assert (tuned["learning_rate"], tuned["seed"]) == (3e-4, 5)
    assert tuned["scores"]["3e+26"] is None
    monkeypatch.setattr(tuning, "FACTORS", (Fraction(10**30),))
    with pytest.raises(TrainingDivergedError, match=r"the dense network diverged\. Use a lower"):
        find(learning_rate="tune", seeds=(5,))


def test_tuning_is_for_a_search_only(cli: Cli, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "version: 1\ntasks: [sentiment]\ntrain: {learning_rate: tune}\narms: {d: {kind: dense}}\n"
    )
    with pytest.raises(SpecError, match=r"plan.yaml:3: learning_rate: tune is for `tombola find`"):
        read_plan(plan)
    with pytest.raises(SpecError, match="tune is for `tombola find`"):
        ticket_options(EvaluateSpec, {"learning_rate": "tune"}, Origin(), "mini")
    status, _, said = cli("find", "--learning-rate", "tuna")
    assert (status, said.count("\n")) == (2, 1)
    assert "expected a number or `tune`, got 'tuna'" in said


# the ticket


def evaluate(found: api.SearchResult, **options: Any) -> api.EvaluationResult:
    return tombola.evaluate(found.ticket, **options)


def test_a_ticket_of_own_data_is_evaluated_by_itself(
    find: Find, films: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(films.parent)
    found = find(task="csv:films", learning_rate=1e-2, weight_decay=0.1)
    monkeypatch.chdir(tmp_path)
    told = evaluate(found, store=store)
    assert (told.task, told.metric, told.split) == ("csv", "accuracy", "test")
    assert told.margin["points"] == found.margin["points"]
    assert told.margin["origin"] == "ticket"
    result = Store(store).read(told.dense["keys"][0])
    assert result is not None
    assert result.spec["train"] == {
        "batch_size": 16,
        "epochs": 1.0,
        "learning_rate": 1e-2,
        "max_length": 16,
        "seed": 100,
        "warmup": 0.1,
        "weight_decay": 0.1,
    }
    changed = evaluate(found, store=store, learning_rate=1e-3, margin=9)
    assert changed.verdict["margin"] == 9
    assert changed.dense["keys"] != told.dense["keys"]


def test_a_yaml_task_need_not_be_there_any_more(
    find: Find, films: Path, store: str, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(films, own / "files")
    (own / "mine.yaml").write_text(
        "kind: classification\ntexts: [text]\nlabels: [a, b]\nmetric: matthews\ndata: files\n"
    )
    found = find(task=str(own / "mine.yaml"), text_columns=(), learning_rate=1e-2)
    (own / "mine.yaml").unlink()
    told = evaluate(found, store=store)
    assert (told.task, told.metric) == ("mine", "matthews")


def test_data_that_have_gone_are_named_by_a_keyword(
    find: Find, films: Path, store: str, tmp_path: Path
) -> None:
    shutil.copytree(films, tmp_path / "moved")
    found = find(task=f"csv:{tmp_path / 'moved'}", learning_rate=1e-2)
    (tmp_path / "moved").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"moved', got nothing there. Pass `data`"):
        evaluate(found, store=store)
    told = evaluate(found, store=store, data=tmp_path / "elsewhere")
    assert told.task == "csv"


def test_another_task_has_its_own_recipe(
    found: api.SearchResult, store: str, reviews: Path
) -> None:
    told = evaluate(found, store=store, task="sentiment", data=reviews, epochs=1, max_length=16)
    result = Store(store).read(told.dense["keys"][0])
    assert result is not None
    assert result.spec["train"]["learning_rate"] == 3e-4
    assert told.margin == {
        "points": 1.5,
        "origin": "named",
        **dict.fromkeys(("dense", "trivial", "seed")),
    }


def with_provenance(folder: Path, ticket: Path, **changes: Any) -> str:
    """A copy of a ticket that tells something else of its search, or nothing where that is None."""
    shutil.copytree(ticket, folder)
    place = folder / "ticket.json"
    content = json.loads(place.read_text())
    for name, value in changes.items():
        content["provenance"][name] = value
        if value is None:
            del content["provenance"][name]
    place.write_text(json.dumps(content))
    reseal(folder)
    return str(folder)


def test_an_older_ticket_says_what_to_name(
    found: api.SearchResult, films: Path, store: str, tmp_path: Path
) -> None:
    gone = dict.fromkeys(("task", "data", "split", "margin"))
    old = with_provenance(tmp_path / "old", found.ticket, **gone)
    with pytest.raises(SpecError, match="found on 'csv', a task that does not come with"):
        tombola.evaluate(old, store=store)
    options: dict[str, Any] = {"task": f"csv:{films}", "text_columns": ("text",)}
    told = tombola.evaluate(old, store=store, **options, epochs=1, max_length=16)
    assert told.margin["origin"] == "rule"


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": 5},
        {"task": {"kind": "classification"}},
        {"task": {"name": "../../x", "kind": "mlm", "texts": ["t"], "metric": "masked-accuracy"}},
        {"task": {"name": "x", "kind": "mlm", "texts": "t", "metric": "masked-accuracy"}},
        {"recipe": [1]},
        {"recipe": {"epochs": "many"}},
        {"recipe": {"learning_rate": -1}},
    ],
)
def test_a_ticket_whose_search_makes_no_sense_is_refused_in_a_line(
    found: api.SearchResult, store: str, wrong: dict[str, Any], tmp_path: Path
) -> None:
    ticket = with_provenance(tmp_path / "ticket", found.ticket, **wrong)
    with pytest.raises(TicketError, match="expected the task and the recipe of a search") as caught:
        tombola.evaluate(ticket, store=store)
    assert "\n" not in str(caught.value)
