"""A search: the same call gives the same bytes, and a wrong one says what to do."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel

import tombola
from quick_find import Find, Recorder, files, other_model, quick_find
from tombola import api
from tombola.base.errors import DataError, OutputError, SpecError
from tombola.base.specs import DEFAULT_CONTROLS
from tombola.lab.store.result_store import Store
from tombola.plan.subject import Subject
from tombola.report.figures import score_curve as picture
from tombola.ship.card import card
from tombola.study.results.notes import SAME_MASK
from tombola.study.verdicts.verdict import SEARCH, THIS_RUN
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.scope import scope_parameters
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
def found(find: Find, tmp_path_factory: pytest.TempPathFactory) -> api.SearchResult:
    return find(output=tmp_path_factory.mktemp("found") / "one")


@pytest.fixture(scope="module")
def two(find: Find, tmp_path_factory: pytest.TempPathFactory) -> api.SearchResult:
    """Two seeds, no control."""
    return find(output=tmp_path_factory.mktemp("found") / "two", seeds=[3, 4], controls=[])


# the result


def test_the_result_of_one_seed_stands_for_its_ticket(
    found: api.SearchResult, two: api.SearchResult, tmp_path: Path
) -> None:
    assert tombola.Ticket.load(found) == Ticket.load(found.ticket)
    assert tombola.inspect(found) == tombola.inspect(found.ticket)
    apart = shutil.copytree(found.ticket, tmp_path / "ticket")  # push leaves a card in it
    copied = replace(found, tickets={0: apart})
    assert tombola.push(copied, tmp_path / "sent") == str(tmp_path / "sent")
    assert Ticket.load(tmp_path / "sent") == Ticket.load(found.ticket)
    assert tombola.merge(two) == tombola.merge(two.tickets.values())


TAKERS: list[Callable[[api.SearchResult], object]] = [
    *(tombola.evaluate, tombola.train, tombola.inspect, tombola.bench, Ticket.load),
    *(Ticket.from_pretrained, tombola.TicketCallback),
    lambda found: tombola.push(found, "./sent"),
    lambda found: tombola.export(found, output="network.onnx", task="sentiment"),
    lambda found: tombola.merge([found, found.ticket]),
    lambda found: tombola.find(model=found.model, from_ticket=found),
]


@pytest.mark.parametrize("number", range(len(TAKERS)))
def test_one_of_several_tickets_has_to_be_chosen(number: int, two: api.SearchResult) -> None:
    choose = r"tickets of the seeds 3, 4\. Choose .*`found\.tickets\[4\]` the last\."
    with pytest.raises(SpecError, match=choose):
        TAKERS[number](two)


def test_a_result_says_everything_that_is_documented(found: api.SearchResult, tiny: Path) -> None:
    result = json.loads((Path(found.output) / "result.json").read_text())
    assert result == json.loads(json.dumps(found.to_json()))
    assert set(result) == {
        *("task", "model", "metric", "split", "dense", "rounds", "controls", "trivial", "verdict"),
        *("finder", "seeds", "margin", "tuned", "compute", "search_seconds"),
        *("ticket", "tickets", "seconds", "summed_learning_rate", "whole_model_sparsity"),
        *("left_out", "counts", "notes", "output", "key"),
    }
    assert result["finder"] == {"name": "imp", "label": "IMP", "knobs": []}
    assert (result["task"], result["model"]) == ("sentiment", str(tiny))
    assert (result["metric"], result["split"]) == ("accuracy", "test")
    assert [entry["sparsity"] for entry in result["rounds"]] == ["0.25", "0.5"]
    assert list(result["controls"]) == list(DEFAULT_CONTROLS)
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
    assert result["seconds"] > result["search_seconds"] > 0
    assert result["compute"]["forward_tokens"] == result["compute"]["backward_tokens"] > 0
    assert result["compute"]["trainings"] == 2  # the dense one, and that of the first round
    assert result["summed_learning_rate"] == pytest.approx(1e-2 * 4 / 2)
    assert len(result["key"]) == 64


def test_one_seed_says_something_of_this_run_only(found: api.SearchResult) -> None:
    assert (found.verdict["estimand"], found.verdict["seeds"]) == (THIS_RUN, 1)
    assert found.verdict["sentence"].startswith("this run only: ")


def test_an_interpreter_and_a_notebook_show_the_verdict(found: api.SearchResult) -> None:
    assert repr(found).startswith("<SearchResult: sentiment on ")
    assert found.verdict["sentence"] in repr(found)
    assert len(repr(found)) < 500
    assert found._repr_html_().count("<tr>") == 2 + len(found.rounds) + len(found.controls)


def test_two_seeds_are_paired(two: api.SearchResult) -> None:
    assert (two.verdict["estimand"], two.verdict["seeds"]) == (SEARCH, 2)
    assert len(two.dense["values"]) == len(two.rounds[0]["values"]) == 2
    assert two.dense["std"] is not None
    assert two.controls == {}
    assert list(two.tickets) == [3, 4]
    assert two.ticket == two.tickets[3]
    tickets = [Ticket.load(ticket) for ticket in two.tickets.values()]
    assert tickets[0].mask != tickets[1].mask
    verdict: dict[str, Any] = {**two.verdict}
    of_both = {name: verdict[name] for name in ("difference", "interval", "level", "seeds")}
    assert all(ticket.provenance.items() >= of_both.items() for ticket in tickets)
    assert "mean of 2 seeds" in card(tickets[0])


def test_one_seed_has_no_interval_over_seeds(found: api.SearchResult) -> None:
    assert found.verdict["interval"] is not None
    assert not Ticket.load(found.ticket).provenance.keys() & {"interval", "seeds", "difference"}


def test_a_network_that_learned_nothing_is_noted(found: api.SearchResult) -> None:
    mean, same_mask = found.dense["mean"], found.rounds[-1]["jaccard_one_shot"]
    assert mean is not None
    assert same_mask is not None
    hardly = mean - found.trivial <= 1.5
    assert any("has not learned the task" in note for note in found.notes) == hardly
    same = same_mask >= SAME_MASK
    assert any("nearly that of one-shot" in note for note in found.notes) == same


def test_the_ticket_is_that_of_the_last_round(found: api.SearchResult, tiny: Path) -> None:
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
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    assert zeros == ticket.mask.pruned == ticket.mask.size // 2
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert found.whole_model_sparsity == pytest.approx(zeros / whole)


def test_the_picture_is_next_to_the_result(found: api.SearchResult) -> None:
    folder = Path(found.output)
    assert (folder / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "accuracy" in (folder / "scores.svg").read_text(encoding="utf-8")
    assert picture.draw(found.to_json()).to_dict()
    assert {path.name for path in folder.iterdir()} == {
        *("experiment.json", "result.json", "scores.png", "scores.svg", "ticket-seed-0"),
    }


def test_inspecting_shows_provenance_size_and_layers(two: api.SearchResult) -> None:
    found = tombola.inspect(two.ticket)
    assert isinstance(found, tombola.TicketInfo)
    ticket = Ticket.load(two.ticket)
    assert found.ticket == ticket
    assert found.layers == ticket.mask.layer_sparsities()
    assert found.bytes == sum(len(content) for content in files(two.ticket).values())
    facts = found.to_json()
    assert {k: v for k, v in facts.items() if k not in ("layers", "bytes")} == ticket.to_json()
    assert json.loads(json.dumps(facts)) == facts


# the same again


def test_the_same_call_gives_the_same_bytes_in_another_folder(
    found: api.SearchResult, find: Find, tmp_path: Path, store: str
) -> None:
    callback = Recorder()
    again = find(output=tmp_path / "again", store=tmp_path / "store", callback=callback)
    assert len(callback.done) == 8
    assert files(again.ticket) == files(found.ticket)
    places = ("ticket", "tickets", "output", "seconds", "search_seconds")
    shown = [{k: v for k, v in f.to_json().items() if k not in places} for f in (found, again)]
    assert shown[0] == shown[1]
    fresh, first = Store(tmp_path / "store"), Store(store)
    for row in fresh.rows():
        ours, theirs = fresh.read(row["key"]), first.read(row["key"])
        assert ours is not None
        assert theirs is not None
        assert ours.files == theirs.files


def test_the_same_call_does_nothing(found: api.SearchResult, find: Find, tmp_path: Path) -> None:
    callback, before = Recorder(), files(found.output)
    again = find(output=found.output, callback=callback)
    assert again == found
    assert (len(callback.kept), callback.done) == (8, [])
    assert files(found.output) == before
    elsewhere = find(output=tmp_path / "out", callback=callback)
    assert (len(callback.kept), callback.done) == (8, [])
    assert files(elsewhere.ticket) == files(found.ticket)


def test_a_search_leaves_the_generator_of_the_program_alone(
    found: api.SearchResult, find: Find
) -> None:
    class Careless(Recorder):
        def on_subject(self, subject: Subject) -> None:
            torch.manual_seed(7)

    before = torch.get_rng_state()
    find(output=found.output, callback=Careless())
    assert torch.equal(torch.get_rng_state(), before)


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
    options: dict[str, Any], message: str, found: api.SearchResult, find: Find
) -> None:
    before = files(found.output)
    with pytest.raises(OutputError, match=f"holds another experiment: {message}"):
        find(output=found.output, **options)
    assert files(found.output) == before


def test_other_data_or_another_network_make_another_experiment(
    found: api.SearchResult, find: Find, reviews: Path, tiny: Path, tmp_path: Path
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
        ({"step": 0}, "step must be above 0 and below 1, got 0."),
        ({"task": "sentimnt"}, "no task 'sentimnt'. Did you mean 'sentiment'?"),
        ({"schedule": "liner"}, "no schedule 'liner'. Did you mean 'linear'?"),
        ({"scope": "encodre"}, "no scope 'encodre'. Did you mean 'encoder'?"),
        ({"controls": ["shufle"]}, "no control 'shufle'. Did you mean 'shuffle'?"),
    ],
)
def test_a_bad_option_is_refused_and_leaves_nothing(
    options: dict[str, Any], message: str, find: Find, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        find(output=tmp_path / "out", **options)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


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


def test_data_that_are_not_there_are_refused(find: Find, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected parquet, .* in .*nowhere.*found no data files"):
        find(output=tmp_path / "out", data=tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())
