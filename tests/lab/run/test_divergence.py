"""A network that is not finite has no score, and the rest of a plan goes on."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import Cli
from tombola import api
from tombola.base.specs import TrainSpec
from tombola.lab.store.result_store import Store
from tombola.tasks.data.encode import encode_split
from tombola.tasks.metrics import score_of
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.training.loop import fit
from tombola.training.predictions import predict
from tombola.training.steps import Diverged

SMALL = {"epochs": 1, "batch_size": 8, "threads": 1, "step": "0.25", "sparsity": "0.5"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "sentiment": [{"sentence": "good film " * n, "label": n % 2} for n in range(1, 9)],
    "valence": [{"sentence": "good film " * n, "label": n / 3} for n in range(1, 9)],
    "mlm": [{"text": "a very good film and a bad plot of an actor " * n} for n in range(1, 9)],
    "gloss-span": [
        {
            "question": "short story",
            "context": "the " * n + "plot was long",
            "answers": {"text": ["plot"], "answer_start": [4 * n]},
        }
        for n in range(1, 9)
    ],
}


@pytest.fixture(params=ROWS)
def workspace(request: pytest.FixtureRequest, tiny: Path) -> tuple[Any, ...]:
    """Each kind of task with its network, eight examples and the mask of the dense network."""
    task = load_task(request.param)
    network = load_network(str(tiny), task.kind, len(task.labels))
    network.rewind(0)
    examples = encode_split(ROWS[request.param], task, network.tokenizer, TrainSpec(max_length=60))
    return network, task, examples, Mask.full(network.scope("encoder"))


def test_a_training_of_any_kind_ends_at_the_step_whose_loss_is_not_finite(
    workspace: tuple[Any, ...],
) -> None:
    network, task, examples, full = workspace
    spec = TrainSpec(epochs=4, batch_size=4, learning_rate=1e30, warmup=0.0)
    done = fit(network, task, examples, full, spec, scope="encoder")
    assert done.diverged is not None
    assert done.steps == done.diverged.step < 8


def test_logits_of_any_kind_that_are_not_finite_are_never_scored(
    workspace: tuple[Any, ...],
) -> None:
    network, task, examples, _ = workspace
    finite = predict(network, task, examples)
    assert np.isfinite(finite).all()
    assert np.isfinite(score_of(finite, task.metric))
    for bad in (torch.nan, torch.inf):
        network.rewind(0)
        with torch.no_grad():
            for name, parameter in network.model.named_parameters():
                if name.endswith("layer.0.output.dense.bias"):
                    parameter[7] = bad
        assert np.isnan(score_of(predict(network, task, examples), task.metric))


def test_weights_that_the_last_step_made_infinite_are_noticed(workspace: tuple[Any, ...]) -> None:
    network, task, examples, full = workspace
    spec = TrainSpec(epochs=1, batch_size=8, learning_rate=1e39, warmup=0.0)
    done = fit(network, task, examples, full, spec, scope="encoder")
    assert done.diverged == Diverged(1, "weights")


def test_a_search_whose_dense_network_diverges_ends_undecided_with_the_step(
    tiny: Path, reviews: Path, cli: Cli
) -> None:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    status, out, _ = cli(
        *("find", "--model", tiny, "--task", "sentiment", "--data", reviews, "--output", "out"),
        *("--learning-rate", "1e30", "--controls", "random", *flags),
    )
    assert status == 1
    result = json.loads(Path("out/result.json").read_text())
    assert result["verdict"]["status"] == "undecided"
    assert "dense, diverged: its loss is not finite at step" in result["verdict"]["reason"]
    assert result["dense"]["values"] == result["rounds"][-1]["values"] == [None]
    assert (result["ticket"], result["tickets"]) == ("", {})
    assert "matching" not in out
    again, out, _ = cli(
        *("find", "--model", tiny, "--task", "sentiment", "--data", reviews, "--output", "out"),
        *("--learning-rate", "1e30", "--controls", "random", *flags),
    )
    assert (again, "reused from the store: 2 trainings" in out) == (1, True)
    status, _, err = cli("report", "out")
    assert (status, err.count("\n")) == (2, 1)


PLAN = """
version: 1
tasks: [sentiment]
seeds: [0, 1]
train: {epochs: 1, batch_size: 8}
model: MODEL
arms:
  tickets: {kind: imp, sparsity: 0.5, step: 0.25}
  swept: {kind: control, of: tickets, names: [random, reinit], learning_rates: [1.0e-3, 1.0e+30]}
"""


def test_a_rate_of_a_sweep_that_diverges_leaves_the_rest_of_a_plan_with_scores(
    tiny: Path, reviews: Path, cli: Cli
) -> None:
    Path("mine.yaml").write_text(PLAN.replace("MODEL", str(tiny)))
    status, out, _ = cli("run", "mine.yaml", "--data", reviews, "--threads", 1)
    assert status == 0
    assert "diverged: its loss is not finite at step" in out
    status, out, _ = cli("table", "mine.yaml", "--data", reviews, "--output", "rows.csv")
    with Path("rows.csv").open(newline="") as file:
        states = {(row["kind"], row["learning_rate"]): row["state"] for row in csv.DictReader(file)}
    assert states["random", "1e+30"] == "diverged"
    assert states["random", "0.001"] == states["imp", "0.0003"] == "done"
    status, out, _ = cli("matching", "rows.csv")
    assert status == 0
    assert ", diverged" in out
    status, _, _ = cli("report", "mine.yaml", "--data", reviews, "--output", "out.html")
    assert status == 0
    assert "diverged" in Path("out.html").read_text()


def test_an_evaluation_that_diverges_is_undecided(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    ticket = api.one_shot(str(tiny), sparsity="0.5")
    ticket.save(tmp_path / "ticket")
    found = api.evaluate(
        tmp_path / "ticket",
        task="sentiment",
        data=reviews,
        output=tmp_path / "out",
        store=str(tmp_path / "store"),
        seeds=[1, 2],
        learning_rate=1e30,
        epochs=1,
        batch_size=8,
        threads=1,
    )
    assert found.verdict["status"] == "undecided"
    assert found.dense["values"] == [None, None]
    kept = Store(tmp_path / "store")
    assert {row["score"] for row in kept.rows(kind="train")} == {None}
    assert list((tmp_path / "store" / "weights").rglob("*.safetensors")) == []
