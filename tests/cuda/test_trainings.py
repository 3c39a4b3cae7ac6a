"""Every kind of task and encoder trains, in each precision and with each way to save memory."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import CASES, DEVICE, PRECISIONS, SPEC, WITHOUT_DROPOUT, Case, case, needs_card

from tombola.tasks.baselines import trivial_score
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.metrics import score_of
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.training.loop import fit
from tombola.training.predictions import predict

pytestmark = pytest.mark.cuda

ROWS, BETTER = {"cuda": (4000, 15), "cpu": (480, 5)}[DEVICE]
"""Training examples of `mini`, and points by which it is better than a constant afterwards."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny networks are, one for each architecture."""
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture
def still(folder: Path) -> Case:
    """A BERT without dropout that classifies."""
    return case(folder / "still", "bert", "classification", **WITHOUT_DROPOUT["bert"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_losses_are_finite_and_every_step_is_counted(
    name: str, kind: str, precision: str, folder: Path
) -> None:
    one, seen = case(folder / name, name, kind), []
    done, after = one.train(
        replace(SPEC, precision=precision), on_step=lambda n, of, *_: seen.append((n, of))
    )
    assert next(one.network.model.parameters()).device.type == DEVICE
    assert seen == [(n, 8) for n in range(1, 9)]
    assert (done.steps, done.diverged) == (8, None)
    assert done.tokens > 0
    assert math.isfinite(done.loss)
    assert all(bool(weight.isfinite().all()) for weight in after.values())
    assert any(bool((after[n] != one.network.pretrained[n]).any()) for n in after)
    predictions = predict(one.network, one.task, one.examples)
    assert len(predictions) == 4
    assert np.isfinite(predictions).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_mini_learns_in_every_precision(precision: str) -> None:
    task = load_task("sentiment")
    network = load_network("mini", "classification", len(task.labels))
    spec = replace(task.recipe, precision=precision, max_length=32, epochs=1)
    training, test = (
        encode_split(read_split(task, split)[:rows], task, network.tokenizer, spec)
        for split, rows in (("train", ROWS), ("test", 160))
    )
    network.rewind(spec.seed)
    full = Mask.full(network.scope("encoder"))
    done = fit(network, task, training, full, spec, scope="encoder")
    assert done.diverged is None
    score = score_of(predict(network, task, test), task.metric)
    assert score > trivial_score(network, task, test) + BETTER


MEMORY_SAVERS: dict[str, dict[str, Any]] = {
    "accumulation": {"accumulation": 2},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "both": {"accumulation": 2, "gradient_checkpointing": True},
}


@pytest.mark.parametrize("saver", MEMORY_SAVERS)
def test_saving_memory_changes_rounding_only(saver: str, still: Case) -> None:
    plain, _ = still.train()
    saved, _ = still.train(replace(SPEC, **MEMORY_SAVERS[saver]))
    assert saved.steps == plain.steps
    assert saved.loss == pytest.approx(plain.loss, rel=1e-3)


@needs_card("compiling takes a minute on a CPU")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="torch.compile needs a C compiler")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_network_trains_to_about_the_same_loss(precision: str, still: Case) -> None:
    spec = replace(SPEC, precision=precision)
    plain, _ = still.train(spec)
    compiled, _ = still.train(replace(spec, compile=True))
    assert compiled.steps == plain.steps
    assert compiled.loss == pytest.approx(plain.loss, rel=1e-3 if precision == "fp32" else 3e-2)
