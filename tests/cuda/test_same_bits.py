"""Two runs of one training are bitwise identical, and so is a killed one that resumes."""

import multiprocessing
import os
import signal
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from trainings import PRECISIONS, SPEC, Case, case

from tombola.base.specs import TrainSpec
from tombola.tasks.data.encode import encode_split
from tombola.ticket.mask import Tensors
from tombola.training.checkpoint import Checkpoint
from tombola.training.loop import FitResult

pytestmark = pytest.mark.cuda

LONG = 512
SIZES = {
    "hidden_size": 128,
    "num_attention_heads": 2,  # of 64, as in most encoders
    "intermediate_size": 256,
    "max_position_embeddings": LONG + 2,
}
KINDS = ("classification", "span", "mlm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the networks are."""
    return tmp_path_factory.mktemp("encoders")


def same(one: tuple[FitResult, Tensors], two: tuple[FitResult, Tensors]) -> bool:
    """Whether two trainings ended in bitwise identical results and did the same."""
    fits = [asdict(replace(done, training_seconds=0, earlier_seconds=0)) for done, _ in (one, two)]
    weights = all(torch.equal(bits(one[1][n]), bits(two[1][n])) for n in {*one[1], *two[1]})
    return fits[0] == fits[1] and weights


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """A float32 tensor as integers, so that zeros have signs."""
    return tensor.view(torch.int32)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_of_one_training_give_the_same_bits(
    kind: str, precision: str, folder: Path
) -> None:
    one = case(folder / "bert", "bert", kind)
    spec = replace(SPEC, precision=precision)
    first = one.train(spec)
    torch.manual_seed(99)
    assert same(one.train(spec), first)
    assert not same(one.train(replace(spec, seed=4)), first)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_long_texts_give_the_same_bits_too(name: str, precision: str, folder: Path) -> None:
    one = long_case(name, folder)
    spec = replace(SPEC, precision=precision, epochs=1, max_length=LONG)
    first = one.train(spec)
    assert same(one.train(spec), first)


def long_case(name: str, folder: Path) -> Case:
    """A wider network, and texts of several hundred tokens."""
    one = case(folder / f"long-{name}", name, "classification", **SIZES)
    rows = [{"sentence": "good film " * (250 - 25 * n), "label": n % 2} for n in range(4)]
    spec = TrainSpec(max_length=LONG)
    return replace(one, examples=encode_split(rows, one.task, one.network.tokenizer, spec))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["classification", "mlm"])
def test_a_killed_training_goes_on_to_the_same_bits(
    kind: str, precision: str, folder: Path, tmp_path: Path
) -> None:
    one = case(folder / "bert", "bert", kind)
    spec = replace(SPEC, precision=precision)
    whole = one.train(spec)
    place = folder / "bert", kind, spec, tmp_path
    child = multiprocessing.get_context("spawn").Process(target=train_and_be_killed, args=place)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    done: list[int] = []
    kept = Checkpoint(tmp_path, 0.0)
    again = one.train(spec, checkpoint=kept, on_step=lambda step, *_: done.append(step))
    assert 1 < done[0] <= 6
    assert same(again, whole)


def train_and_be_killed(folder: Path, kind: str, spec: TrainSpec, place: Path) -> None:
    """Train, with copies as often as they may be, until after the fifth step."""

    def step(done: int, *_: object) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    case(folder, "bert", kind).train(spec, checkpoint=Checkpoint(place, 0.0), on_step=step)
