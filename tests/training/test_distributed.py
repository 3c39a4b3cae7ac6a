"""Ranks that share a training come to what one process comes to, and notice what differs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from small_network import half_mask
from tombola.base.errors import SpecError
from tombola.base.specs import TrainSpec
from tombola.kernel.fused.extension import available
from tombola.tasks.data.encode import encode_split
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Tensors
from tombola.training import distributed as ranks
from tombola.training.distributed import (
    accelerator,
    agree,
    part,
    restoring_process,
    world_size,
)
from tombola.training.loop import fit
from tombola.training.predictions import predict

WORDS = "the a film plot actor scene with and of it was very long short story".split()
ROWS: dict[str, list[dict[str, Any]]] = {
    "sentiment": [{"sentence": " ".join(WORDS[n % 11 :]), "label": n % 2} for n in range(16)],
    "mlm": [{"text": " ".join(WORDS[: n % 9 + 1])} for n in range(16)],
}
SPEC = TrainSpec(epochs=2, batch_size=5, learning_rate=1e-3, weight_decay=0.1, seed=3)
"""Of four batches to a pass, the last has one example: none for the second rank."""


def train(model: str, name: str, norms: list[float]) -> tuple[Any, Tensors, Any]:
    """Train a new network and score it; add the norm of each gradient before it is clipped."""
    task = load_task(name)
    network = load_network(model, task.kind, len(task.labels))
    examples = encode_split(ROWS[name], task, network.tokenizer, TrainSpec(max_length=30))
    network.rewind(SPEC.seed)
    mask = half_mask(network)
    weights = [*network.scope("encoder").values()]

    def look() -> None:
        found = [weight.grad for weight in weights if weight.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in found]).norm()))

    done = fit(network, task, examples, mask, SPEC, scope="encoder", on_gradient=look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tombola.tasks.data.batches.EVALUATION_TOKENS", 40
        )  # so that both have batches
        return done, network.weights(), predict(network, task, examples)


# several processes


SCRIPT = """
import json, sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np, torch
from safetensors.torch import save_file

sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from test_checkpoint import At
import pytest
from test_distributed import ROWS, SPEC, train
from small_network import drawn_mask, half_mask
from tombola.base.errors import TombolaError
from tombola.base.specs import TrainSpec
from tombola.tasks.data.encode import encode_split
from tombola.kernel.fused import adamw
from tombola.tasks.networks import load_network
from tombola.ticket.fingerprint import weights_digest
from tombola.training.distributed import accelerator
from tombola.tasks.task import load_task
from tombola.training.predictions import predict
from tombola.training.loop import fit
from tombola.training.numerics import numerics
from tombola.ticket.mask import Mask

here = accelerator()
rank, place = here.process_index, Path(sys.argv[4])
told = {"rank": rank, "processes": numerics(SPEC)["processes"]}

for name in ROWS:
    norms = []
    done, weights, predictions = train(sys.argv[2], name, norms)
    told[name] = asdict(done) | {"digest": weights_digest(weights), "norms": norms}
    save_file({**weights, "outcome": torch.from_numpy(predictions)}, place / f"{name}-{rank}")

task = load_task("sentiment")
def network():
    network = load_network(sys.argv[3], task.kind)
    network.rewind(SPEC.seed)
    return network

def again(network, checkpoint=None, stop=0, mask=None):
    def watch(done, steps, loss):
        if done == stop:
            raise KeyboardInterrupt
    examples = encode_split(ROWS["sentiment"], task, network.tokenizer, TrainSpec(max_length=30))
    try:
        args = network, task, examples, mask or half_mask(network), SPEC
        fit(*args, scope="encoder", checkpoint=checkpoint, on_step=watch)
    except KeyboardInterrupt:
        return ""
    except TombolaError as error:
        return str(error)
    return weights_digest(network.weights())

told["undisturbed"] = again(network())
again(network(), At(place / "checkpoint", 3), stop=5)
checkpoint = At(place / "checkpoint")
told["resumed"], told["at"] = again(network(), checkpoint), checkpoint.resumed
few = drawn_mask(network(), 0.1)
def moments(most, *args, **more):
    # digest, and number of first moments, where matrices that keep at most that share have few
    sizes, move = {}, adamw.KeptAdamW._move
    def watch(optimizer, parameter, group):
        move(optimizer, parameter, group)
        sizes[id(parameter)] = optimizer.state[parameter]["exp_avg"].numel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adamw, "FEW", most)
        patch.setattr(adamw.KeptAdamW, "_move", watch)
        return again(network(), *args, mask=few, **more), sum(sizes.values())
told["dense moments"] = moments(-1.0)
told["few moments"] = moments(adamw.FEW)
moments(adamw.FEW, At(place / "few", 3), stop=5)
told["few resumed"] = moments(adamw.FEW, At(place / "few"))
told["pruned"] = few.pruned
told["mask"] = again(network(), mask=half_mask(network(), rank))
other = network()
with torch.no_grad():
    other.model.classifier.bias[0] += rank
told["weights"] = again(other)
(place / f"told-{rank}.json").write_text(json.dumps(told))
here.wait_for_everyone()  # a process group that is torn down at exit may abort
here.end_training()
"""


@pytest.fixture(scope="module")
def calm(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT without dropout."""
    folder = tmp_path_factory.mktemp("calm") / "calm"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def place(calm: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks left."""
    place = tmp_path_factory.mktemp("ranks")
    (place / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(place / "script.py"), str(Path(__file__).parent)]
    done = subprocess.run(
        [*command, str(calm), str(tiny), str(place)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def told(place: Path) -> list[dict[str, Any]]:
    """What each rank said."""
    return [json.loads((place / f"told-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", ROWS)
def test_two_ranks_come_to_what_one_process_comes_to(
    place: Path, told: list[dict[str, Any]], calm: Path, name: str
) -> None:
    norms: list[float] = []
    done, weights, predictions = train(str(calm), name, norms)
    assert [one["rank"] for one in told] == [0, 1]
    assert [one["processes"] for one in told] == [2, 2]
    for rank in range(2):
        theirs = load_file(place / f"{name}-{rank}")
        assert np.array_equal(theirs.pop("outcome").numpy(), predictions)
        for parameter, weight in weights.items():
            if not parameter.endswith("key.bias"):  # whose gradient is rounding and nothing else
                assert torch.allclose(theirs[parameter], weight, rtol=1e-3, atol=1e-5), parameter
        said = told[rank][name]
        assert (said["steps"], said["tokens"]) == (done.steps, done.tokens)
        assert said["loss"] == pytest.approx(done.loss, rel=1e-5)
        assert said["digest"] == told[0][name]["digest"]
        assert said["norms"] == told[0][name]["norms"] == pytest.approx(norms, rel=1e-2)


def test_pruned_weights_are_zero_on_every_rank(place: Path, calm: Path) -> None:
    network = load_network(str(calm), "classification")
    mask = half_mask(network)
    for rank in range(2):
        weights = load_file(place / f"sentiment-{rank}")
        for name, alive in mask.items():
            assert not weights[f"bert.{name}"][~alive].view(torch.int32).any()


def test_interrupted_ranks_go_on_to_the_same_bits_each_with_its_own_dropout(
    told: list[dict[str, Any]],
) -> None:
    for one in told:
        assert one["at"] == 3
        assert len(one["undisturbed"]) == 64
        assert one["resumed"] == one["undisturbed"] == told[0]["undisturbed"]


@pytest.mark.skipif(not available(), reason="moments of all weights without the C extension")
def test_ranks_have_moments_of_kept_weights_only_and_the_same_bits(
    told: list[dict[str, Any]],
) -> None:
    for one in told:
        (dense, all_of_them), (digest, kept) = one["dense moments"], one["few moments"]
        assert len(dense) == 64
        assert digest == dense == told[0]["few moments"][0]
        assert kept == all_of_them - one["pruned"]
        assert one["few resumed"] == [digest, kept]


def test_distributed_that_differ_stop_with_one_line(told: list[dict[str, Any]]) -> None:
    for one in told:
        assert "expected the same mask on every rank, got " in one["mask"]
        assert "on rank 0 and " in one["mask"]
        assert "on rank 1. Start all ranks" in one["mask"]
        assert "expected the same weights before the training on every rank" in one["weights"]
        assert "\n" not in one["mask"] + one["weights"]


# one process


def test_one_process_agrees_with_itself() -> None:
    assert world_size() == accelerator().num_processes == 1
    agree("mask", "ab" * 32)


def test_the_number_of_threads_is_left_alone() -> None:
    before = torch.get_num_threads()
    accelerator()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 9])
def test_the_parts_of_a_batch_are_the_batch(rows: int) -> None:
    batch = {"input_ids": torch.arange(rows * 2).view(rows, 2), "labels": torch.arange(rows)}
    parts = [part(batch, here(rank, 3)) for rank in range(3)]
    for name, tensor in batch.items():
        assert torch.equal(torch.cat([one[name] for one in parts]), tensor)
    sizes = [len(one["labels"]) for one in parts]
    assert max(sizes) - min(sizes) <= 1


def here(rank: int, processes: int, kind: DistributedType = DistributedType.NO) -> Any:
    return SimpleNamespace(process_index=rank, num_processes=processes, distributed_type=kind)


@pytest.mark.parametrize(
    ("made", "came"),
    [
        (here(0, 1, DistributedType.FSDP), "FSDP"),
        (here(0, 1, DistributedType.DEEPSPEED), "DEEPSPEED"),
        (here(0, 1, DistributedType.MEGATRON_LM), "MEGATRON_LM"),
        (here(0, 2, DistributedType.MULTI_GPU), "2 of 1 processes"),
        (ImportError("DeepSpeed is not installed =>\n run pip"), "DeepSpeed is not installed => r"),
        (ValueError("AcceleratorState has already been"), "AcceleratorState has already"),
    ],
)
def test_anything_but_data_parallelism_is_refused(
    monkeypatch: pytest.MonkeyPatch, made: Any, came: str
) -> None:
    def make(**_: Any) -> Any:
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr(ranks, "Accelerator", make)
    with pytest.raises(SpecError, match="plain data parallelism, got: ") as refused:
        accelerator()
    assert came in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def no_accelerator() -> Iterator[None]:
    """accelerate as it is before its first use; what other tests left comes back."""
    kinds = (PartialState, AcceleratorState)
    before = [kind._shared_state.copy() for kind in kinds]
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    for kind, state in zip(kinds, before, strict=True):
        kind._shared_state.clear()
        kind._shared_state.update(state)


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_a_program_finds_its_process_as_it_left_it(
    workspace: str | None, no_accelerator: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)

    @restoring_process()
    def stopped() -> None:
        accelerator()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (workspace or ":4096:8")
        torch.set_num_threads(threads + 1)
        torch.manual_seed(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)
    assert Accelerator(cpu=True, mixed_precision="bf16").mixed_precision == "bf16"


def test_an_accelerator_from_before_stays_in_use(no_accelerator: None) -> None:
    theirs = Accelerator(cpu=True, mixed_precision="bf16")
    with restoring_process():
        accelerator()
    assert (theirs.mixed_precision, theirs.num_processes) == ("bf16", 1)


def test_a_trainer_of_sixteen_bits_before_changes_nothing() -> None:
    state = AcceleratorState._shared_state.copy()
    AcceleratorState._reset_state()
    try:
        theirs = Accelerator(cpu=True, mixed_precision="bf16")
        ours = accelerator()
        assert (theirs.mixed_precision, ours.device) == ("bf16", theirs.device)
        with torch.no_grad():
            assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.float32
    finally:
        AcceleratorState._reset_state()
        AcceleratorState._shared_state.update(state)
