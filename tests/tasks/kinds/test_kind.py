"""A kind of task is one object: a fifth one works everywhere without a change anywhere else."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import tombola
from command_line import Cli
from tombola.base.errors import DataError, SpecError
from tombola.base.specs import TrainSpec
from tombola.kernel.reads import Reads
from tombola.models.heads import TaskHead, sequence_head
from tombola.models.network import Network
from tombola.tasks.baselines import trivial_score
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.rows import BadRowError
from tombola.tasks.data.sources import read_split
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Numbers, Predictions
from tombola.tasks.kinds.kind import TASK_KINDS, TaskKind
from tombola.tasks.metrics import METRICS
from tombola.tasks.networks import load_network
from tombola.tasks.task import Task, check_recipe, load_task
from tombola.ticket.mask import Mask
from tombola.ticket.ticket import Ticket
from tombola.training.loop import fit
from tombola.training.loss import mean_loss
from tombola.training.predictions import predict

TOPICS = ("film", "plot")


class MultiLabel(TaskKind):
    """A text has any number of topics; what is scored is the share of topics that are right."""

    metrics = ("accuracy",)
    reads = Reads.FIRST
    by_flags = False

    def labels_of(
        self, row: Mapping[str, Any], texts: Mapping[str, str], task: TaskDefinition
    ) -> dict[str, Any]:
        topics = str(row.get(task.label)).split()
        if not set(topics) <= set(task.labels):
            raise BadRowError(task.label, "topics with blanks between them", row.get(task.label))
        return {"label": [float(name in topics) for name in task.labels]}

    def head(self, classes: int) -> TaskHead:
        settings = {"problem_type": "multi_label_classification", "num_labels": classes}
        return sequence_head(self.name, settings, classes=classes)

    def target(self, row: Mapping[str, Any], task: TaskDefinition) -> Any:
        return row["label"]

    def predictions(
        self, output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: TaskDefinition
    ) -> Predictions:
        right = (output.logits.cpu() > 0) == (labels["labels"] > 0)
        found = torch.stack([right.all(1), torch.ones(len(right))], dim=1)
        return np.asarray(found.double().numpy())

    def constants(
        self, network: Network, task: TaskDefinition, test: Examples
    ) -> Iterator[Predictions]:
        targets = np.array(test.targets)
        for guess in np.unique(targets, axis=0):
            yield np.column_stack([(targets == guess).all(1), np.ones(len(targets))])


@pytest.fixture
def multi_label(monkeypatch: pytest.MonkeyPatch) -> TaskKind:
    """The kind, registered for one test as its decorator would for good."""
    kind = MultiLabel()
    kind.name = "topics"
    assert len(TASK_KINDS) == 4  # found before one is added
    monkeypatch.setitem(TASK_KINDS._registered, kind.name, kind)
    return kind


@pytest.fixture
def task(multi_label: TaskKind, tmp_path: Path) -> Task:
    texts = {
        "a good film": "film",
        "the plot was bad": "plot",
        "film and plot": "film plot",
        "very dull": "",
    }
    for split, times in (("train", 12), ("test", 6)):
        lines = [
            json.dumps({"text": f"{text} {'long ' * (n % 3)}{split}", "label": label})
            for n in range(times)
            for text, label in texts.items()
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    fields: dict[str, Any] = {
        "kind": "topics",
        "texts": ["text"],
        "labels": [*TOPICS],
        "metric": "accuracy",
    }
    fields |= {"data": ".", "recipe": {"epochs": 12, "batch_size": 8, "learning_rate": 5e-3}}
    (tmp_path / "topics.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
    return load_task(str(tmp_path / "topics.yaml"))


def test_a_fifth_kind_is_read_trained_and_scored(task: Task, tiny: Path) -> None:
    assert Task.from_json(task.to_json()) == task
    network = load_network(str(tiny), task.kind, len(task.labels))
    train, test = (
        encode_split(read_split(task, split), task, network.tokenizer, task.recipe)
        for split in ("train", "test")
    )
    network.rewind(0)
    before = mean_loss(network, task, test)
    done = fit(
        *(network, task, train, Mask.full(network.scope("encoder")), task.recipe),
        scope="encoder",
    )
    assert done.steps == 72
    assert mean_loss(network, task, test) < before / 2
    predictions = predict(network, task, test)
    assert predictions.shape == (len(test), 2)
    assert trivial_score(network, task, test) == 25.0
    assert METRICS["accuracy"](predictions) > 90


def test_a_fifth_kind_has_tickets(task: Task, tiny: Path, tmp_path: Path) -> None:
    found = tombola.find(
        model=str(tiny),
        task=str(tmp_path / "topics.yaml"),
        sparsity="0.5",
        rounds=["0.5"],
        seeds=(0,),
        controls=(),
        epochs=1,
        store=str(tmp_path / "store"),
        output=tmp_path / "out",
    )
    assert Ticket.load(found.ticket).mask.sparsity == 0.5


def test_a_row_that_a_fifth_kind_refuses_is_named(task: Task, tmp_path: Path) -> None:
    row = json.dumps({"text": "a film", "label": "music"})
    (tmp_path / "test.jsonl").write_text(row, encoding="utf-8")
    with pytest.raises(DataError, match="needs topics with blanks between them, got"):
        read_split(task, "test")


def test_a_fifth_kind_refuses_metrics_and_knobs_of_others(task: Task) -> None:
    fields = {**json.loads(task.to_json()), "metric": "pearson"}
    with pytest.raises(SpecError, match="no metric of kind topics 'pearson'"):
        Task.from_json(json.dumps(fields))
    with pytest.raises(SpecError, match="stride is for tasks of kind span, got 8"):
        check_recipe(task, TrainSpec(stride=8))


def test_a_fifth_kind_stands_in_messages(multi_label: TaskKind, cli: Cli) -> None:
    status, _, err = cli("find", "--task", "csv:here", "--kind", "ner")
    assert status == 2
    assert "The kinds are classification, mlm, regression, span, topics" in err
