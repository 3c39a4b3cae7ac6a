"""A trained network is a plain checkpoint with its ticket, the one that the store has scored."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel, AutoTokenizer, BertModel

import tombola
from quick_find import RECIPE, Find, Recorder, files, quick_find
from small_network import revived
from tombola import api
from tombola.api.network_folder import saved_network
from tombola.base.errors import (
    ModelError,
    OutputError,
    TicketError,
    TrainingDivergedError,
)
from tombola.base.specs import TrainSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.workspace import Workspace
from tombola.lab.store.artifacts import read_predictions
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.fingerprint import weights_digest
from tombola.ticket.scope import backbone
from tombola.training.predictions import predict

SHORT: dict[str, Any] = {"epochs": 1, "batch_size": 8, "train_limit": 16, "test_limit": 8}
AUTO = {
    "sentiment": "AutoModelForSequenceClassification",
    "valence": "AutoModelForSequenceClassification",
    "gloss-span": "AutoModelForQuestionAnswering",
    "mlm": "AutoModelForMaskedLM",
}


def recipe(task: str) -> dict[str, Any]:
    """A short recipe in which the questions of a span task fit."""
    return SHORT | ({"query_length": 16, "max_length": 48} if task == "gloss-span" else {})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default store is in the current folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("a store") / "store")


@pytest.fixture(scope="module")
def find(tiny: Path, reviews: Path, store: str) -> Find:
    return quick_find(tiny, reviews, store)


@pytest.fixture(scope="module")
def ticket(tiny: Path) -> api.Ticket:
    return tombola.one_shot(tiny, sparsity=0.5)


@pytest.fixture
def options(reviews: Path, store: str) -> dict[str, Any]:
    """A training that takes a second."""
    return {"data": reviews, "store": store, **RECIPE}


def weights_in(store: str) -> list[Path]:
    return list(Path(store, "weights").rglob("*.safetensors"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", AUTO)
def test_transformers_loads_the_network_as_any_other(
    task: str, ticket: api.Ticket, store: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "a network"
    trained = tombola.train(ticket, task=task, output=place, store=store, **recipe(task))
    capfd.readouterr()
    loader = getattr(transformers, AUTO[task])
    model, report = loader.from_pretrained(place, output_loading_info=True)
    assert not any(report.values())
    assert "".join(capfd.readouterr()) == ""
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert revived(model, ticket) == 0
    assert weights_digest(dict(model.named_parameters())) == trained.weights
    assert (place / "README.md").read_text().count(AUTO[task]) == 2


@pytest.mark.parametrize("task", AUTO)
def test_the_network_predicts_what_was_scored(
    task: str, ticket: api.Ticket, store: str, tmp_path: Path
) -> None:
    trained = tombola.train(ticket, task=task, output=tmp_path / "n", store=store, **recipe(task))
    kind = load_task(task)
    network = load_network(str(tmp_path / "n"), kind.kind, len(kind.labels), head="checkpoint")
    spec = TrainSpec(**trained.recipe)
    again = predict(network, kind, Workspace(network, kind, None).test(spec), spec)
    assert np.array_equal(again, read_predictions(Store(store), trained.key))


def test_the_configuration_has_the_labels_and_the_tokenizer_is_the_base_s(
    ticket: api.Ticket, tiny: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    tombola.train(ticket, output=tmp_path / "n", **options)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "n")
    assert config.id2label == {0: "negative", 1: "positive"}
    assert config.label2id == {"negative": 0, "positive": 1}
    ours, theirs = (AutoTokenizer.from_pretrained(place) for place in (tmp_path / "n", tiny))
    text = "a lovely bright film, poorly acted"
    assert dict(ours(text, "dull")) == dict(theirs(text, "dull"))


def test_the_score_is_that_of_an_evaluation_and_is_not_computed_twice(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    trained = tombola.train(ticket, seed=7, output=tmp_path / "n", **options)
    callback = Recorder()
    evaluated = tombola.evaluate(
        ticket, seeds=[7], output=tmp_path / "e", callback=callback, **options
    )
    assert evaluated.scores["values"] == [trained.score]
    assert evaluated.scores["keys"] == [trained.key]
    assert callback.done == ["sentiment, seed 7, dense"]
    assert repr(trained).startswith("<TrainingResult: model ")
    assert trained._repr_html_().count("<tr>") == 6


def test_a_second_run_trains_nothing_and_keeps_every_byte(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    place, first = tmp_path / "n", Recorder()
    trained = tombola.train(ticket, output=place, callback=first, **options)
    (place / "README.md").write_text("license: mit")
    before = files(place)
    again = Recorder()
    assert tombola.train(ticket, output=place, callback=again, **options) == trained
    assert (first.done, again.done) == (["sentiment, seed 100, ticket at 0.5"], [])
    assert files(place) == before
    assert weights_in(options["store"]) == []


def test_another_place_has_the_same_bytes(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        tombola.train(ticket, output=place, **options)
    contents = [files(place) for place in places]
    for content in contents:
        content.pop("result.json")
    assert contents[0] == contents[1]


def test_by_default_the_training_names_the_folder(
    ticket: api.Ticket, options: dict[str, Any]
) -> None:
    trained = tombola.train(ticket, **options)
    assert trained.output == Path(f"runs/train-sentiment-{trained.key[:8]}")
    assert (Path(trained.output) / "ticket" / "mask.safetensors").is_file()


@pytest.mark.parametrize("spoil", ["model.safetensors", "ticket/ticket.json", "config.json"])
def test_a_folder_that_was_changed_is_refused_before_any_training(
    spoil: str, ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    place = tmp_path / "n"
    tombola.train(ticket, output=place, **options)
    content = (place / spoil).read_bytes()
    callback = Recorder()
    for change in (lambda: (place / spoil).write_bytes(content + b" "), (place / spoil).unlink):
        change()
        with pytest.raises(OutputError, match=f"expected {spoil} in .* Delete the folder"):
            tombola.train(ticket, output=place, callback=callback, **options)
    assert callback.done == []


@pytest.mark.parametrize(
    ("holds", "message"),
    [
        ({"notes.txt": "mine"}, "holds something else"),
        ({"config.json": "{}", "model.safetensors": ""}, "holds something else"),
        ({"result.json": "{}"}, "holds something else"),
        ({"result.json": "[" * 5000}, "holds something else"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(
    holds: dict[str, str],
    message: str,
    ticket: api.Ticket,
    options: dict[str, Any],
    tmp_path: Path,
) -> None:
    for name, content in holds.items():
        (tmp_path / name).write_text(content)
    before, callback = files(tmp_path), Recorder()
    with pytest.raises(OutputError, match=message):
        tombola.train(ticket, output=tmp_path, callback=callback, **options)
    assert (files(tmp_path), callback.done) == (before, [])


def test_a_folder_of_another_training_is_refused(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    trained = tombola.train(ticket, output=tmp_path / "n", **options)
    another = r"holds another network: that of training .* \(sentiment, seed 100, sparsity 0\.5\)"
    with pytest.raises(OutputError, match=another):
        tombola.train(ticket, output=tmp_path / "n", seed=8, **options)
    assert tombola.train(ticket, output=tmp_path / "n", **options) == trained


class Interrupting(RunCallback):
    """Presses Ctrl-C in the middle of a training."""

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_training_leaves_no_folder(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    options |= {"store": str(tmp_path / "s")}
    with pytest.raises(KeyboardInterrupt):
        tombola.train(ticket, output=tmp_path / "n", callback=Interrupting(), **options)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert not list((tmp_path / "s" / "leases").iterdir())
    assert tombola.train(ticket, output=tmp_path / "n", **options).score >= 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_a_network_that_could_not_be_written_is_not_trained_again(
    error: BaseException,
    ticket: api.Ticket,
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options |= {"store": str(tmp_path / "s")}
    with monkeypatch.context() as patch:
        refuse = Refusing(error)
        patch.setattr("tombola.models.saving.save_network", refuse)
        with pytest.raises((KeyboardInterrupt, OutputError)) as caught:
            tombola.train(ticket, output=tmp_path / "n", **options)
    if isinstance(caught.value, OutputError):
        assert "No space left. Free some space" in str(caught.value)
        assert "retrains nothing" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    callback = Recorder()
    tombola.train(ticket, output=tmp_path / "n", callback=callback, **options)
    assert callback.done == []
    assert weights_in(options["store"]) == []


def test_two_processes_may_write_one_folder(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tombola.train(ticket, output=tmp_path / "a", **options)
    looked: list[Path] = []

    def too_early(folder: Path, key: str) -> api.TrainingResult | None:
        looked.append(folder)
        if len(looked) == 1:  # nothing is there yet, and then another process is faster
            shutil.copytree(tmp_path / "a", tmp_path / "b")
            return None
        return saved_network(folder, key)

    for module in ("training", "network_folder"):
        monkeypatch.setattr(f"tombola.api.{module}.saved_network", too_early)
    second = tombola.train(ticket, output=tmp_path / "b", **options)
    assert len(looked) == 2
    assert second == replace(first, output=tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


class Refusing:
    """Writes half of a network, and fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, network: Any, folder: Path, **labels: Any) -> None:
        (folder / "config.json").write_text("{}")
        raise self.error


def test_a_training_that_diverges_leaves_no_folder(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    options |= {"learning_rate": 1e30}
    message = r"ticket at 0\.5 diverged: .* lower learning rate"
    with pytest.raises(TrainingDivergedError, match=message):
        tombola.train(ticket, output=tmp_path / "n", **options)
    assert not list(tmp_path.iterdir())


def test_ticket_and_base_rebuild_the_exact_starting_network(
    ticket: api.Ticket, tiny: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    options |= {"learning_rate": 1e-60}  # zero in float32, so that it ends where it starts
    tombola.train(ticket, output=tmp_path / "n", **options)
    trained = tombola.load(tmp_path / "n")
    start = trained.ticket.apply(AutoModel.from_pretrained(tiny)).state_dict()
    weights = backbone(trained.model).state_dict()
    assert start.keys() == weights.keys()
    assert all(torch.equal(start[name], weight) for name, weight in weights.items())
    network = load_network(str(tiny), "classification", 2)
    network.rewind(100)
    whole = trained.ticket.apply(network.model).state_dict()
    assert all(torch.equal(whole[n], w) for n, w in trained.model.state_dict().items())


def test_loading_gives_network_tokenizer_and_a_ticket_that_holds_it(
    find: Find, options: dict[str, Any], tmp_path: Path
) -> None:
    found = find(output=tmp_path / "f", controls=[])
    trained = tombola.load(tombola.train(found, output=tmp_path / "n", **options))
    assert trained.ticket == api.Ticket.load(found.ticket)
    assert repr(trained).startswith("<TrainedNetwork: BertForSequenceClassification under <Ticket")
    assert not trained.model.training
    inputs = trained.tokenizer(["a good film", "dull"], return_tensors="pt", padding=True)
    optimizer = torch.optim.AdamW(trained.model.parameters(), lr=0.1)
    with trained.ticket.hold(trained.model):
        trained.model(**inputs, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
    assert revived(trained.model, trained.ticket) == 0


def test_the_ticket_next_to_a_network_without_pooler_leaves_it_out(
    tiny: Path, store: str, tmp_path: Path
) -> None:
    whole = tombola.one_shot(tiny, sparsity=0.5, scope="encoder+pooler")
    trained = tombola.train(whole, task="mlm", output=tmp_path / "n", store=store, **SHORT)
    loaded = tombola.load(tmp_path / "n")
    assert any("pooler" in note for note in trained.notes)
    assert (loaded.ticket.scope, loaded.ticket.mask) == ("encoder", whole.mask_for("encoder"))
    assert revived(loaded.model, loaded.ticket) == 0


def test_the_pooler_stays_dense_where_that_is_asked_for(
    tiny: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    whole = tombola.one_shot(tiny, sparsity=0.5, scope="encoder+pooler")
    tombola.train(whole, scope="encoder", output=tmp_path / "n", **options)
    loaded = tombola.load(tmp_path / "n")
    model: Any = loaded.model
    assert loaded.ticket.scope == "encoder"
    assert model.bert.pooler.dense.weight.all()


# --- other networks and tickets --------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_in_shards_of_another_type_becomes_float32(
    dtype: torch.dtype, tiny: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    base = tmp_path / "a base"
    BertModel.from_pretrained(tiny, dtype=dtype).save_pretrained(base, max_shard_size="20KB")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(base)
    assert len(list(base.glob("*.safetensors"))) > 1
    tombola.train(tombola.one_shot(base, sparsity=0.5), output=tmp_path / "a network", **options)
    loaded = tombola.load(tmp_path / "a network")
    assert loaded.model.dtype == torch.float32
    assert revived(loaded.model, loaded.ticket) == 0


def test_a_head_of_the_checkpoint_is_trained_further(
    finetuned: Path, store: str, tmp_path: Path
) -> None:
    rows = "".join(f"a good film {n},{n % 3}\n" for n in range(30))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.csv").write_text("text,label\n" + rows)
    (tmp_path / "mine" / "test.csv").write_text("text,label\n" + rows.replace("good", "poor"))
    ticket = tombola.one_shot(finetuned, sparsity=0.5)
    options: dict[str, Any] = {"task": f"csv:{tmp_path / 'mine'}", "store": store, "min_steps": 1}
    trained = tombola.train(
        ticket, head="checkpoint", learning_rate=1e-60, output=tmp_path / "n", **options
    )
    model: Any = tombola.load(tmp_path / "n").model
    theirs: Any = load_network(str(finetuned), "classification", 3, head="checkpoint").model
    assert torch.equal(model.classifier.weight, theirs.classifier.weight)
    assert model.config.id2label == {0: "0", 1: "1", 2: "2"}
    assert any("starts from the checkpoint's" in note for note in trained.notes)


def test_an_imported_ticket_is_trained(
    ticket: api.Ticket, tiny: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    theirs = {f"bert.{name}_mask": kept.float() for name, kept in ticket.mask.items()}
    torch.save(theirs, tmp_path / "mask.pt")
    imported = tombola.import_ticket(tmp_path / "mask.pt", model=tiny)
    tombola.train(imported, output=tmp_path / "n", task="sentiment", **options)
    assert tombola.load(tmp_path / "n").ticket.provenance == {"imported": "masks"}


# --- find --keep-weights -----------------------------------------------------------


@pytest.fixture(scope="module")
def kept(find: Find, tmp_path_factory: pytest.TempPathFactory) -> api.SearchResult:
    output = tmp_path_factory.mktemp("kept") / "two"
    return find(output=output, seeds=[3, 4], controls=[], keep_weights=True)


def test_a_search_keeps_the_network_of_each_ticket(
    kept: api.SearchResult, options: dict[str, Any], store: str, tmp_path: Path
) -> None:
    assert list(kept.networks) == [3, 4]
    assert json.loads(Path(kept.output, "result.json").read_text()) == kept.to_json()
    for seed, score in zip((3, 4), kept.rounds[-1]["values"], strict=True):
        place = Path(kept.networks[seed])
        assert tombola.load(place).ticket == api.Ticket.load(kept.tickets[seed])
        again = tombola.train(kept.tickets[seed], seed=seed, output=tmp_path / str(seed), **options)
        assert again.score == score
        for name in ("model.safetensors", "config.json", "tokenizer.json"):
            assert (tmp_path / str(seed) / name).read_bytes() == (place / name).read_bytes()
    assert weights_in(store) == []


def test_a_search_with_its_networks_is_the_search_without(
    kept: api.SearchResult, find: Find, tmp_path: Path
) -> None:
    plain = find(output=tmp_path / "plain", seeds=[3, 4], controls=[])
    assert (plain.key, plain.networks) == (kept.key, {})
    assert "networks" not in plain.to_json()
    assert [api.Ticket.load(t) for t in plain.tickets.values()] == [
        api.Ticket.load(t) for t in kept.tickets.values()
    ]


def test_a_network_that_is_missing_is_trained_again_and_no_other(
    kept: api.SearchResult, find: Find
) -> None:
    before = files(kept.networks[3])
    shutil.rmtree(kept.networks[4])
    callback = Recorder()
    again = find(
        output=Path(kept.output), seeds=[3, 4], controls=[], keep_weights=True, callback=callback
    )
    assert callback.done == ["sentiment, seed 4, IMP at 0.5"]
    assert again.networks == kept.networks
    assert files(kept.networks[3]) == before


def test_a_changed_network_of_a_search_is_refused_before_any_training(
    kept: api.SearchResult, find: Find, tmp_path: Path
) -> None:
    shutil.copytree(kept.output, tmp_path / "copy")
    (tmp_path / "copy" / "network-seed-3" / "config.json").write_text("{}")
    callback = Recorder()
    with pytest.raises(OutputError, match=r"expected config\.json in .*network-seed-3"):
        find(
            output=tmp_path / "copy",
            seeds=[3, 4],
            controls=[],
            keep_weights=True,
            callback=callback,
        )
    assert callback.done == []


def test_a_search_without_a_ticket_has_no_network(find: Find, tmp_path: Path) -> None:
    found = find(output=tmp_path / "f", learning_rate=1e30, controls=[], keep_weights=True)
    assert (found.tickets, found.networks) == ({}, {})
    assert "networks" not in json.loads((tmp_path / "f" / "result.json").read_text())


def test_the_network_of_standard_pruning_says_where_it_started(find: Find, tmp_path: Path) -> None:
    options: dict[str, Any] = {"controls": [], "no_rewind": True, "keep_weights": True}
    found = find(output=tmp_path / "f", **options)
    facts = json.loads((Path(found.networks[0]) / "result.json").read_text())
    assert facts["init"] == "sentiment, seed 0, standard pruning at 0.25"
    assert facts["score"] == found.rounds[-1]["values"][0]


# --- loading -------------------------------------------------------------------------


@pytest.fixture
def folder(ticket: api.Ticket, options: dict[str, Any], tmp_path: Path) -> Path:
    tombola.train(ticket, output=tmp_path / "n", **options)
    return tmp_path / "n"


def test_weights_that_the_ticket_prunes_must_be_zero(folder: Path, ticket: api.Ticket) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    name = next(iter(ticket.mask))
    with torch.no_grad():
        dict(model.bert.named_parameters())[name][~ticket.mask[name]] += 1
    model.save_pretrained(folder)
    revived = int((~ticket.mask[name]).sum())
    with pytest.raises(TicketError, match=rf"where the ticket prunes {name} .* got {revived} "):
        tombola.load(folder)


def test_the_folder_of_a_network_given_as_a_ticket_names_the_one_in_it(folder: Path) -> None:
    with pytest.raises(TicketError, match=r"got a trained network\. Its ticket is in .*n/ticket\."):
        tombola.evaluate(folder)


def test_a_folder_without_a_ticket_is_refused(folder: Path, tiny: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "ticket")
    for place in (folder, tiny, tmp_path / "nothing"):
        with pytest.raises(TicketError, match=r"got nothing at|that `tombola train` wrote"):
            tombola.load(place)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["Popen"], "got 'Popen'"),
        (["AutoModel"], "got 'AutoModel'"),
        ("BertModel", "got 'None'"),
        ([["x"]], "got "),
        (["BertForQuestionAnswering"], "got none for qa_outputs"),
    ],
)
def test_an_odd_configuration_is_refused(classes: Any, message: str, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": classes}))
    with pytest.raises(ModelError, match=message):
        tombola.load(folder)


def test_a_ticket_in_memory_is_trained_as_the_one_on_disk(
    ticket: api.Ticket, options: dict[str, Any], tmp_path: Path
) -> None:
    place = ticket.save(tmp_path / "t")
    memory = tombola.train(ticket, output=tmp_path / "n", **options)
    disk = tombola.train(place, output=tmp_path / "n", **options)
    assert (memory.ticket, disk) == (None, replace(memory, ticket=place))
