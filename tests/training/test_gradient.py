"""Parts, checkpointing, compilation and 16-bit types change a gradient's last digits, no more."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from small_network import half_mask
from tombola.base.errors import ModelError, SpecError
from tombola.base.keys import changed_knobs
from tombola.base.specs import TrainSpec
from tombola.models.network import Network
from tombola.tasks.data.batches import training_batches
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.examples import Examples
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Tensors
from tombola.training import gradient as module
from tombola.training.checkpoint import Checkpoint
from tombola.training.distributed import accelerator
from tombola.training.loop import fit
from tombola.training.numerics import kernel

TASK = load_task("sentiment")
SPEC = TrainSpec(
    epochs=1, batch_size=16, learning_rate=1e-2, weight_decay=0.1, seed=3, kernel="packed-1"
)


@pytest.fixture
def network(tiny: Path) -> Network:
    return load_network(str(tiny), "classification")


@pytest.fixture
def examples(network: Network, reviews: Path) -> Examples:
    return encode_split(
        read_split(TASK, "train", reviews), TASK, network.tokenizer, TrainSpec(max_length=30)
    )


def without_dropout(network: Network) -> None:
    for part in network.model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0


def trained(network: Network, examples: Examples, spec: TrainSpec, **more: Any) -> Tensors:
    """Weights after a training in which every pruned weight was +0.0 after every step."""
    mask = half_mask(network)

    def look(done: int, steps: int, *_: object) -> None:
        for name, weight in network.scope("encoder").items():
            assert not weight.detach()[~mask[name]].view(torch.int32).any()

    network.rewind(spec.seed)
    fit(network, TASK, examples, mask, spec, scope="encoder", **{"on_step": look, **more})
    return network.weights()


def first_gradient(network: Network, examples: Examples, spec: TrainSpec) -> Tensors:
    """The gradient of the first batch."""
    network.rewind(spec.seed)
    without_dropout(network)
    network.model.train().zero_grad()
    batch = next(training_batches(network, TASK, examples, spec, first=0, last=1))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with module.differentiating(network, TASK, spec, accelerator()) as arithmetic:
        arithmetic.backward(batch, scaler, save=False)
    return {n: p.grad.clone() for n, p in network.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("parts", [2, 3, 16, 40])
def test_a_batch_in_parts_has_the_gradient_of_the_batch(
    network: Network, examples: Examples, parts: int
) -> None:
    whole = first_gradient(network, examples, SPEC)
    split = first_gradient(network, examples, replace(SPEC, accumulation=parts))
    for name, gradient in whole.items():
        assert torch.allclose(split[name], gradient, rtol=1e-3, atol=1e-6), name


def test_a_part_is_no_larger_than_its_share(network: Network, examples: Examples) -> None:
    sizes = []
    hook = network.model.register_forward_pre_hook(
        lambda _, args, inputs: sizes.append(len(inputs["input_ids"])), with_kwargs=True
    )
    first_gradient(network, examples, replace(SPEC, accumulation=3))
    hook.remove()
    assert sizes == [6, 5, 5]


@pytest.mark.parametrize(
    "change",
    [{"accumulation": 3}, {"gradient_checkpointing": True}, {"precision": "bf16"}],
    ids=lambda change: next(iter(change)),
)
def test_pruned_weights_stay_pruned_and_bits_repeat(
    network: Network, examples: Examples, change: dict[str, Any]
) -> None:
    spec = replace(SPEC, **change)
    one, two = (trained(network, examples, spec) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert spec.steps(len(examples)) == SPEC.steps(len(examples))


def test_blocks_computed_again_give_the_same_bits_dropout_and_all(
    network: Network, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = trained(network, examples, replace(SPEC, gradient_checkpointing=True))
    assert not any(getattr(m, "gradient_checkpointing", False) for m in network.model.modules())
    monkeypatch.setattr(module, "kernel", lambda spec: "model")
    kept = trained(network, examples, SPEC)
    assert all(torch.equal(again[name], kept[name]) for name in kept)


@pytest.mark.parametrize("more", [{}, {"accumulation": 3}, {"precision": "bf16"}], ids=str)
def test_the_arithmetic_of_a_gpu_has_the_gradient_of_a_cpu(
    network: Network, examples: Examples, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    spec = replace(SPEC, **more)
    packed = first_gradient(network, examples, spec)
    monkeypatch.setattr(module, "kernel", lambda spec: "varlen-1")
    monkeypatch.setattr(module, "packed", None)  # is not called
    rows = first_gradient(network, examples, spec)
    assert rows.keys() == packed.keys()
    norm = torch.stack([gradient.norm() for gradient in packed.values()]).norm()
    for name, gradient in packed.items():
        apart = (rows[name] - gradient).norm() / norm
        assert apart < (2e-2 if spec.precision == "bf16" else 1e-5), name


def test_blocks_are_computed_again(network: Network, examples: Examples) -> None:
    calls = []
    inner = network.model.get_submodule("bert.encoder.layer.0.intermediate.dense")
    hook = inner.register_forward_hook(lambda *_: calls.append(1))
    first_gradient(network, examples, replace(SPEC, gradient_checkpointing=True))
    hook.remove()
    assert len(calls) == 2


def test_a_network_without_gradient_checkpointing_is_refused(
    network: Network, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(network.model), "supports_gradient_checkpointing", False)
    with pytest.raises(ModelError, match="has none"):
        trained(network, examples, replace(SPEC, gradient_checkpointing=True))


def test_a_compiled_network_is_trained_with_masks(
    network: Network, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def compile_eagerly(model: nn.Module, *, dynamic: bool) -> nn.Module:
        compiled.append(dynamic)
        return model

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    after = trained(network, examples, replace(SPEC, compile=True))
    assert compiled == [True]
    assert all(torch.isfinite(weight).all() for weight in after.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_network_really_compiled_has_the_gradient_of_the_network(
    network: Network, examples: Examples
) -> None:
    own = first_gradient(network, examples, SPEC)
    compiled = first_gradient(network, examples, replace(SPEC, compile=True))
    for name, gradient in own.items():
        assert torch.allclose(compiled[name], gradient, rtol=1e-3, atol=1e-6), name
    trained(network, examples, replace(SPEC, compile=True))


# fp16: refused without CUDA; the scaling of losses itself works on any device


def test_fp16_is_refused_without_cuda_in_one_line(network: Network, examples: Examples) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SpecError, match="fp16 needs a CUDA device, got cpu"):
        trained(network, examples, replace(SPEC, precision="fp16"))


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Loss scales of a training in bf16 whose losses are scaled as in fp16."""
    scales: list[float] = []
    update = torch.amp.GradScaler.update

    def scaler(device: str, *, enabled: bool) -> torch.amp.GradScaler:
        return torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)

    def spy(self: torch.amp.GradScaler) -> None:
        scales.append(self.get_scale())
        update(self)

    monkeypatch.setattr("tombola.training.loop.GradScaler", scaler)
    monkeypatch.setattr(torch.amp.GradScaler, "update", spy)
    return scales


def test_scaled_losses_make_the_same_steps(
    network: Network, examples: Examples, scaled: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Powers of two scale exactly."""
    found = trained(network, examples, SPEC)
    assert scaled == [1024, 1024, 2048]
    monkeypatch.undo()
    expected = trained(network, examples, SPEC)
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, rtol=1e-4, atol=1e-5), name


def test_a_training_with_scaled_losses_goes_on_to_the_same_bits(
    network: Network,
    examples: Examples,
    scaled: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = trained(network, examples, SPEC)

    class StopError(Exception):
        pass

    def stop(done: int, steps: int, *_: object) -> None:
        if done == 2:
            raise StopError

    def checkpoint() -> Checkpoint:
        return Checkpoint(tmp_path, every=0.0, identity="scaled")

    scaled.clear()
    monkeypatch.setattr("tombola.training.checkpoint.PATIENCE", 0)
    with pytest.raises(StopError):
        trained(network, examples, SPEC, on_step=stop, checkpoint=checkpoint())
    resumed = trained(network, examples, SPEC, checkpoint=checkpoint())
    assert scaled == [1024, 1024, 2048]
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


# what it is called


def test_the_kernel_tells_whose_arithmetic_it_is() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert kernel(SPEC) == "packed-1"
    assert kernel(replace(SPEC, gradient_checkpointing=True)) == "model"
    assert kernel(replace(SPEC, compile=True)) == "compiled"


def test_new_knobs_are_left_out_of_names_at_their_defaults() -> None:
    assert not {"accumulation", "compile", "gradient_checkpointing"} & changed_knobs(SPEC).keys()
