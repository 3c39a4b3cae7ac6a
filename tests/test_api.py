"""The public functions: the same call gives the same bytes, and a wrong one says what to do."""

import dataclasses
import json
import runpy
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, BertModel

import tombola
from tombola import api
from tombola.base.errors import DataError, ModelError, OutputError, SpecError, TicketError
from tombola.base.specs import (
    CONTROLS,
    SEEDS,
    EvaluateSpec,
    FindSpec,
    LabSpec,
    TaskSpec,
    TrainSpec,
)
from tombola.lab.run.engine import RunCallback
from tombola.lab.store.result_store import Result, Store
from tombola.plan.job import Job
from tombola.report.figures import score_curve as picture
from tombola.study.results.notes import SAME_MASK
from tombola.study.verdicts.verdict import FIXED_TICKET, SEARCH, THIS_RUN
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.schedule import pruned_count
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

ROOT = Path(__file__).parents[1]
Find = Callable[..., api.Found]
RECIPE: dict[str, Any] = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-2}


class Recorder(RunCallback):
    """Remembers which trainings were done and which were kept from before."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.kept: list[str] = []

    def plan(self, todo: list[Job], kept: list[Job]) -> None:
        self.kept = [job.label for job in kept if job.kind == "train"]

    def finish(self, job: Job, result: Result) -> None:
        if job.kind == "train":
            self.done.append(job.label)


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
    small = {"model": str(tiny), "data": reviews, "sparsity": 0.5, "step": 0.25, "store": store}
    small |= RECIPE
    return lambda **options: api.find(**{**small, **options})


@pytest.fixture(scope="module")
def found(find: Find, tmp_path_factory: pytest.TempPathFactory) -> api.Found:
    return find(output=tmp_path_factory.mktemp("found") / "one")


@pytest.fixture(scope="module")
def two(find: Find, tmp_path_factory: pytest.TempPathFactory) -> api.Found:
    """Two seeds, no control."""
    return find(output=tmp_path_factory.mktemp("found") / "two", seeds=[3, 4], controls=[])


def other_model(folder: Path, tiny: Path, **changes: Any) -> str:
    """A network like `tiny`, with other weights."""
    shutil.copytree(tiny, folder)
    config = BertConfig.from_pretrained(tiny)
    for name, value in changes.items():
        setattr(config, name, value)
    BertModel(config).save_pretrained(folder)
    return str(folder)


def files(folder: Path | str) -> dict[str, bytes]:
    places = sorted(Path(folder).rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in places if path.is_file()}


# the result


def test_a_result_says_everything_that_is_documented(found: api.Found, tiny: Path) -> None:
    result = json.loads((Path(found.output) / "result.json").read_text())
    assert result == json.loads(json.dumps(found.to_json()))
    assert set(result) == {
        *("task", "model", "metric", "split", "dense", "rounds", "controls", "trivial", "verdict"),
        *("finder", "margin", "tuned"),
        *("ticket", "tickets", "seconds", "summed_learning_rate", "whole_model_sparsity"),
        *("left_out", "counts", "notes", "output", "key"),
    }
    assert result["finder"] == {"name": "imp", "label": "IMP"}
    assert (result["task"], result["model"]) == ("sentiment", str(tiny))
    assert (result["metric"], result["split"]) == ("accuracy", "test")
    assert [entry["sparsity"] for entry in result["rounds"]] == ["0.25", "0.5"]
    assert list(result["controls"]) == list(CONTROLS)
    for entry in (result["dense"], *result["rounds"], *result["controls"].values()):
        (value,) = entry["values"]
        assert 0 <= value <= 100
        assert (entry["mean"], entry["std"]) == (value, None)
    for entry in result["rounds"]:
        assert 0 < entry["jaccard_one_shot"] <= 1
    assert result["verdict"].keys() >= {"status", "sparsity", "interval", "margin", "estimand"}
    assert (result["verdict"]["sparsity"], result["verdict"]["margin"]) == ("0.5", 1.5)
    low, high = result["verdict"]["interval"]
    assert low <= result["rounds"][-1]["mean"] - result["dense"]["mean"] <= high
    assert list(result["tickets"]) == ["0"]
    assert result["ticket"] == result["tickets"]["0"]
    assert result["seconds"] > 0
    assert result["summed_learning_rate"] == pytest.approx(1e-2 * 4 / 2)
    assert len(result["key"]) == 64


def test_one_seed_says_something_of_this_run_only(found: api.Found) -> None:
    assert (found.verdict["estimand"], found.verdict["seeds"]) == (THIS_RUN, 1)
    assert found.verdict["sentence"].startswith("this run only: ")


def test_an_interpreter_and_a_notebook_show_the_verdict(found: api.Found) -> None:
    assert repr(found).startswith("<Found: sentiment on ")
    assert found.verdict["sentence"] in repr(found)
    assert len(repr(found)) < 500
    assert found._repr_html_().count("<tr>") == 2 + len(found.rounds) + len(found.controls)


def test_two_seeds_are_paired(two: api.Found) -> None:
    assert (two.verdict["estimand"], two.verdict["seeds"]) == (SEARCH, 2)
    assert len(two.dense["values"]) == len(two.rounds[0]["values"]) == 2
    assert two.dense["std"] is not None
    assert two.controls == {}
    assert list(two.tickets) == ["3", "4"]
    assert two.ticket == two.tickets["3"]
    masks = [Ticket.load(ticket).mask for ticket in two.tickets.values()]
    assert masks[0] != masks[1]


def test_a_network_that_learned_nothing_is_noted(found: api.Found) -> None:
    hardly = found.dense["mean"] - found.trivial <= 1.5
    assert any("has not learned the task" in note for note in found.notes) == hardly
    same = found.rounds[-1]["jaccard_one_shot"] >= SAME_MASK
    assert any("nearly that of one-shot" in note for note in found.notes) == same


def test_the_ticket_is_that_of_the_last_round(found: api.Found, tiny: Path) -> None:
    ticket = Ticket.load(found.ticket)
    model = AutoModel.from_pretrained(tiny)
    assert ticket.fingerprint == fingerprint(model)
    assert (ticket.model, ticket.task, ticket.seed) == (str(tiny), "sentiment", 0)
    assert (ticket.scope, ticket.scores) == ("encoder", "magnitude")
    assert (ticket.schedule, ticket.sparsity, ticket.step) == (
        *("linear", Decimal("0.5"), Decimal("0.25")),
    )
    assert ticket.provenance["dense"] == found.dense["mean"]
    assert ticket.provenance["ticket"] == found.rounds[-1]["mean"]
    assert ticket.provenance["recipe"]["learning_rate"] == 1e-2
    assert ticket.provenance["numerics"]["torch"] == torch.__version__
    weights = scope_parameters(ticket.apply(model), "encoder")
    dead = sum(int((weight == 0).sum()) for weight in weights.values())
    assert dead == ticket.mask.pruned == ticket.mask.size // 2
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert found.whole_model_sparsity == pytest.approx(dead / whole)


def test_the_picture_stands_beside_the_result(found: api.Found) -> None:
    folder = Path(found.output)
    assert (folder / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "accuracy" in (folder / "scores.svg").read_text(encoding="utf-8")
    assert picture.draw(found.to_json()).to_dict()
    assert {path.name for path in folder.iterdir()} == {
        *("experiment.json", "result.json", "scores.png", "scores.svg", "ticket-seed-0"),
    }


# the same again


def test_the_same_call_gives_the_same_bytes_in_another_folder(
    found: api.Found, find: Find, tmp_path: Path, store: str
) -> None:
    callback = Recorder()
    again = find(output=tmp_path / "again", store=tmp_path / "store", callback=callback)
    assert len(callback.done) == 8
    assert files(again.ticket) == files(found.ticket)
    places = ("ticket", "tickets", "output", "seconds")
    told = [{k: v for k, v in f.to_json().items() if k not in places} for f in (found, again)]
    assert told[0] == told[1]
    fresh, first = Store(tmp_path / "store"), Store(store)
    for row in fresh.rows():
        ours, theirs = fresh.read(row["key"]), first.read(row["key"])
        assert ours is not None
        assert theirs is not None
        assert ours.files == theirs.files


def test_the_same_call_does_nothing(found: api.Found, find: Find, tmp_path: Path) -> None:
    callback, before = Recorder(), files(found.output)
    again = find(output=found.output, callback=callback)
    assert again == found
    assert (len(callback.kept), callback.done) == (8, [])
    assert files(found.output) == before
    elsewhere = find(output=tmp_path / "out", callback=callback)
    assert (len(callback.kept), callback.done) == (8, [])
    assert files(elsewhere.ticket) == files(found.ticket)


def test_a_place_of_its_own_is_named_by_the_experiment(
    find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"sparsity": "0.250", "controls": (), "seeds": (1, 2)}
    found = find(**options)
    assert Path(found.output) == Path("runs") / f"sentiment-0.25-{found.key[:8]}"
    callback = Recorder()
    again = find(**options | {"sparsity": 0.25, "seeds": [1, 2], "epochs": 1.0}, callback=callback)
    assert again == found
    assert callback.kept
    assert not callback.done
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [
        f"sentiment-0.25-{again.key[:8]}"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 2}, "its epochs is 1.0, asked for 2.0"),
        ({"sparsity": 0.6}, "its sparsity is '0.5', asked for '0.6'"),
        ({"seeds": [0, 1]}, r"its seeds is the default, asked for \[0, 1\]"),
        ({"controls": []}, r"its controls is the default, asked for \[\]"),
        ({"scope": "encoder+pooler"}, "its scope is the default, asked for 'encoder.pooler'"),
        ({"task": "valence"}, "its data is "),
    ],
)
def test_another_experiment_in_the_same_folder_is_refused(
    options: dict[str, Any], message: str, found: api.Found, find: Find
) -> None:
    before = files(found.output)
    with pytest.raises(OutputError, match=f"holds another experiment: {message}"):
        find(output=found.output, **options)
    assert files(found.output) == before


def test_other_data_or_another_network_make_another_experiment(
    found: api.Found, find: Find, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(reviews, tmp_path / "data")
    table = pq.read_table(reviews / "test-00000-of-00001.parquet")
    pq.write_table(table.slice(1), tmp_path / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(OutputError, match="holds another experiment: its data is"):
        find(output=found.output, data=tmp_path / "data")
    with pytest.raises(OutputError, match="holds another experiment: its model is"):
        find(output=found.output, model=other_model(tmp_path / "model", tiny))


def test_a_folder_with_something_else_is_left_alone(find: Find, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        find(output=tmp_path)
    assert files(tmp_path) == {"notes.txt": b"mine"}


# options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 70}, "For 70 % write 0.7."),
        ({"step": 0}, "step is a fraction in (0, 1), got 0."),
        ({"task": "sentimnt"}, "no task 'sentimnt'. Did you mean 'sentiment'?"),
        ({"schedule": "liner"}, "no schedule 'liner'. Did you mean 'linear'?"),
        ({"scope": "encodre"}, "no scope 'encodre'. Did you mean 'encoder'?"),
        ({"controls": ["shufle"]}, "no control 'shufle'. Did you mean 'shuffle'?"),
    ],
)
def test_a_bad_option_is_told_and_leaves_nothing(
    options: dict[str, Any], message: str, find: Find, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        find(output=tmp_path / "out", **options)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [api.find, partial(api.evaluate, "ticket")])
def test_a_mistyped_argument_is_python_s_own_error(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sparsty'"):
        call(sparsty=0.5)


def test_signatures_are_what_the_specs_make() -> None:
    build = runpy.run_path(str(ROOT / "tools" / "build_signatures.py"))
    kept = (ROOT / "src" / "tombola" / "api" / "signatures.py").read_text(encoding="utf-8")
    assert build["page"]() == kept, "run `python tools/build_signatures.py`"


@pytest.mark.parametrize(
    ("call", "specs"), [(api.find, (FindSpec,)), (api.evaluate, (EvaluateSpec,))]
)
def test_every_knob_is_in_the_signature_with_its_default(
    call: Callable[..., Any], specs: tuple[type, ...]
) -> None:
    parameters = signature(call).parameters
    assert {each.kind for each in parameters.values()} <= {
        *(Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD),
    }
    for spec in (*specs, TaskSpec, LabSpec):
        for field in dataclasses.fields(spec):
            default = parameters[field.name].default
            wanted = field.default
            assert default == (float(wanted) if isinstance(wanted, Decimal) else wanted)
    for field in dataclasses.fields(TrainSpec):
        assert (field.name in SEEDS) == (field.name not in parameters)
        assert field.name in SEEDS or parameters[field.name].default is None


def test_a_default_that_is_asked_for_may_contradict_another_knob(find: Find) -> None:
    with pytest.raises(SpecError, match="the last of the rounds is the final sparsity"):
        api.find(rounds=(0.5, 0.6), sparsity=float("0.7"))


def test_a_bug_in_a_training_is_a_typed_error_with_its_cause(
    find: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("tombola.lab.run.perform.perform", broken)
    with pytest.raises(
        tombola.JobFailedError, match=r"sentiment, seed 9, dense.*by zero"
    ) as caught:
        find(output=tmp_path / "out", seeds=[9])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_texts_too_long_for_the_network_are_refused(find: Find, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [{"sentence": "film " * 200, "label": 1}, {"sentence": "plot", "label": 0}]
    for split in ("train", "test"):
        place = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows), place)
    with pytest.raises(SpecError, match="at most 128 tokens at once, got an example of 150"):
        find(output=tmp_path / "out", data=tmp_path / "data", max_length=150)
    assert not (tmp_path / "out").exists()


def test_data_that_are_not_there_are_told(find: Find, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected parquet, .* in .*nowhere.*found no data files"):
        find(output=tmp_path / "out", data=tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


# evaluation


@pytest.mark.parametrize("init", ["pretrained", "reinit", "shuffle"])
def test_a_ticket_is_evaluated_with_fresh_seeds(
    init: str, two: api.Found, reviews: Path, tmp_path: Path
) -> None:
    told = tombola.evaluate(
        two.ticket, data=reviews, output=tmp_path / "out", init=init, seeds=[7, 8], **RECIPE
    )
    assert told.to_json().keys() == {
        *("task", "model", "metric", "split", "init", "sparsity", "dense", "scores", "verdict"),
        *("ticket", "seconds", "left_out", "notes", "counts", "margin", "trivial", "output", "key"),
    }
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == told.to_json()
    assert (told.task, told.init, told.sparsity, told.split) == ("sentiment", init, "0.5", "test")
    assert len(told.dense["values"]) == len(told.scores["values"]) == 2
    assert (told.verdict["estimand"], told.verdict["sparsity"]) == (FIXED_TICKET, "0.5")


def test_a_ticket_goes_to_another_task(two: api.Found, reviews: Path, tmp_path: Path) -> None:
    told = tombola.evaluate(
        two.ticket, data=reviews, output=tmp_path, task="valence", seeds=[7, 8], **RECIPE
    )
    assert (told.task, told.metric, told.verdict["margin"]) == ("valence", "pearson", 3.0)
    assert all(-100 <= score <= 100 for score in told.scores["values"])


def test_evaluating_twice_trains_once(two: api.Found, reviews: Path, tmp_path: Path) -> None:
    callbacks = [Recorder(), Recorder()]
    told = [
        tombola.evaluate(two.ticket, data=reviews, output=tmp_path, callback=callback, **RECIPE)
        for callback in callbacks
    ]
    assert told[0] == told[1]
    assert told[0].verdict["estimand"] == THIS_RUN
    names = ["sentiment, seed 100, dense", "sentiment, seed 100, ticket at 0.5"]
    assert [(callback.done, callback.kept) for callback in callbacks] == [(names, []), ([], names)]


def test_a_ticket_in_memory_is_evaluated_as_the_one_on_disk(
    two: api.Found, reviews: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"data": reviews, "seeds": [100], "store": tmp_path / "s", **RECIPE}
    ticket = Ticket.load(two.ticket)
    memory = tombola.evaluate(ticket, output=tmp_path / "a", **options)
    callback = Recorder()
    disk = tombola.evaluate(two.ticket, output=tmp_path / "b", callback=callback, **options)
    assert (memory.key, memory.scores, callback.done) == (disk.key, disk.scores, [])
    assert (memory.ticket, disk.ticket) == ("", two.ticket)


def test_the_seed_of_the_search_is_refused(two: api.Found, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"other than that of its search, got 3\. Name fresh"):
        tombola.evaluate(two.ticket, data=reviews, output=tmp_path / "out", seeds=[7, 3])
    assert not list(tmp_path.iterdir())


def test_a_network_with_other_weights_is_refused(
    two: api.Found, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    model = other_model(tmp_path / "model", tiny)
    mine = Ticket.load(two.ticket).fingerprint[:12]
    with pytest.raises(TicketError, match=f"fingerprint {mine} .* as --model"):
        tombola.evaluate(two.ticket, model=model, data=reviews, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_of_another_shape_is_told_with_both_shapes(
    two: api.Found, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    model = other_model(tmp_path / "model", tiny, intermediate_size=40)
    differs = r"first at encoder\.layer\.0\.intermediate\.dense\.weight: .*\(48, 32\).*\(40, 32\)"
    with pytest.raises(TicketError, match=differs):
        tombola.evaluate(two.ticket, model=model, data=reviews, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_network_may_have_moved(
    two: api.Found, reviews: Path, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "moved")
    options: dict[str, Any] = {"data": reviews, "seeds": [7, 8], **RECIPE}
    told = [
        tombola.evaluate(two.ticket, model=model, output=tmp_path / name, **options)
        for name, model in (("a", None), ("b", str(tmp_path / "moved")))
    ]
    assert told[0].key == told[1].key
    assert told[0].scores == told[1].scores
    assert told[1].model == str(tmp_path / "moved")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "shufle"}, "no initialisation 'shufle'. Did you mean 'shuffle'?"),
        ({"task": "mml"}, "no task 'mml'. Did you mean 'mlm'?"),
        ({"seeds": [7, 7]}, "seeds are different whole numbers"),
    ],
)
def test_a_bad_option_of_an_evaluation_is_told_before_any_training(
    options: dict[str, Any], message: str, two: api.Found, reviews: Path, tmp_path: Path
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


# without training


@pytest.mark.parametrize("scope", ["encoder", "encoder+pooler"])
@pytest.mark.parametrize("sparsity", [0.7, "0.70", Decimal("0.7")])
def test_one_shot_keeps_the_largest_pretrained_weights(
    sparsity: Any, scope: str, tiny: Path, tmp_path: Path
) -> None:
    ticket = tombola.one_shot(str(tiny), sparsity=sparsity, scope=scope)
    weights = scope_parameters(AutoModel.from_pretrained(tiny), scope)
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    assert ticket.mask == keep_top(scores, Mask.full(weights), sparsity=Decimal("0.7"))
    assert ticket.mask.pruned == pruned_count(Decimal("0.7"), ticket.mask.size)
    assert (ticket.seed, ticket.task, ticket.schedule) == (None, None, None)
    assert Ticket.load(ticket.save(tmp_path / "ticket")) == ticket


@pytest.mark.parametrize("kind", [AutoModel, AutoModelForSequenceClassification])
def test_one_shot_takes_a_folder_or_a_network(kind: Any, tiny: Path) -> None:
    by_name = tombola.one_shot(str(tiny), sparsity=0.5)
    assert tombola.one_shot(tiny, sparsity=0.5) == by_name
    assert tombola.one_shot(kind.from_pretrained(tiny), sparsity=0.5) == by_name


def test_a_network_is_called_by_the_name_that_it_was_loaded_under(tiny: Path) -> None:
    mini = AutoModel.from_pretrained(tombola.model_path("mini"), dtype="float32")
    assert tombola.one_shot(mini, sparsity=0.5) == tombola.one_shot("mini", sparsity=0.5)
    with pytest.raises(ModelError, match=r"from_pretrained.* got BertModel .*save_pretrained"):
        tombola.one_shot(BertModel(BertConfig.from_pretrained(tiny)), sparsity=0.5)


def test_one_shot_refuses_a_bad_sparsity(tiny: Path) -> None:
    with pytest.raises(SpecError, match=r"For 70 % write 0\.7"):
        tombola.one_shot(str(tiny), sparsity=70)


def test_a_ticket_of_one_shot_is_evaluated_on_any_seed(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    place = tombola.one_shot(str(tiny), sparsity=0.5).save(tmp_path / "ticket")
    told = tombola.evaluate(place, data=reviews, output=tmp_path / "out", seeds=[0, 1], **RECIPE)
    assert told.task == "sentiment"
    assert told.sparsity == "0.5"


def test_a_ticket_of_a_task_of_one_s_own_asks_for_it(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    place = replace(tombola.one_shot(str(tiny), sparsity=0.5), task="mine").save(tmp_path / "mine")
    with pytest.raises(SpecError, match=r"found on 'mine', which is no task .* with --task"):
        tombola.evaluate(place, data=reviews, seeds=[0])


def test_inspecting_tells_provenance_size_and_layers(two: api.Found) -> None:
    facts = tombola.inspect(two.ticket)
    ticket = Ticket.load(two.ticket)
    assert facts["layers"] == ticket.mask.layer_sparsities()
    assert facts["bytes"] == sum(len(content) for content in files(two.ticket).values())
    assert {k: v for k, v in facts.items() if k not in ("layers", "bytes")} == ticket.describe()
    assert json.loads(json.dumps(facts)) == facts


def test_the_package_has_its_public_names_and_no_others() -> None:
    assert tombola.find is api.find
    assert tombola.Ticket is Ticket
    assert tombola.model_path("mini").endswith("mini")
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = tombola.serach


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
    inside = {name: alive for name, alive in whole.mask.items() if "pooler" not in name}
    dead = sum(int((~alive).sum()) for alive in inside.values())
    assert f"{dead:,} pruned of {sum(alive.numel() for alive in inside.values()):,}" in note
    (run,) = [Store(store).read(key) for key in result.scores["keys"]]
    assert run is not None
    assert run.facts["dead"] == dead


def test_a_ticket_finds_its_folder_again_from_anywhere(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    ticket = tombola.one_shot("models/mine", sparsity="0.5")
    assert ticket.model == str((tmp_path / "models" / "mine").resolve())
    assert tombola.one_shot("mini", sparsity="0.5").model == "mini"
    ticket.save("ticket")
    (tmp_path / "models").rename(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"nothing at .*mine'\. Name the folder .* with --model"):
        api.evaluate("ticket", task="sentiment")
