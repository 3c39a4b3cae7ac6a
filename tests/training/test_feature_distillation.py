"""A masked network learns from the hidden states of the whole pre-trained one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, save
from small_network import half_mask
from tombola.base.specs import TrainSpec
from tombola.models.network import Network
from tombola.tasks.data.batches import training_batches
from tombola.tasks.data.encode import encode_split
from tombola.tasks.distillation import FeatureTeacher
from tombola.tasks.examples import Batch
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Tensors
from tombola.training.distributed import accelerator
from tombola.training.gradient import differentiating

TEXTS = [{"text": "the good film was long and the plot was bad"[: 12 + 4 * n]} for n in range(8)]
SPEC = TrainSpec(batch_size=8, max_length=30)
MLM = load_task("mlm")


@pytest.fixture
def network(tiny: Path) -> Network:
    """Half of its weights pruned, and without dropout."""
    found = load_network(str(tiny), "mlm", 0)
    found.rewind(0)
    half_mask(found).fill(found.scope("encoder"))
    for part in found.model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return found


def batch_of(network: Network) -> Batch:
    examples = encode_split(TEXTS, MLM, network.tokenizer, SPEC)
    return next(training_batches(network, MLM, examples, SPEC, first=0, last=1))


def gradient(network: Network, batch: Batch, share: float) -> tuple[Tensor, Tensors]:
    """Loss and gradient of a batch, by the kernel that trainings take."""
    teacher = FeatureTeacher.of(network, share)
    network.model.train().zero_grad()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with differentiating(network, MLM, SPEC, accelerator(), teacher=teacher) as arithmetic:
        loss, _ = arithmetic.backward(batch, scaler, save=False)
    named = network.model.named_parameters()
    return loss, {n: p.grad.clone() for n, p in named if p.grad is not None}


def outputs_of_blocks(network: Network, batch: Batch) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(block: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        found.append(output if isinstance(output, Tensor) else output[0])

    body: Any = network.model.base_model
    hooks = [block.register_forward_hook(keep) for block in body.encoder.layer]
    network.model(**batch)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_the_loss_is_one_minus_the_cosine_of_states_and_the_loss_of_labels(
    network: Network, tiny: Path, share: float
) -> None:
    batch = batch_of(network)
    loss, found = gradient(network, batch, share)
    dense = load_network(str(tiny), "mlm", 0)
    dense.rewind(0)
    dense.model.eval()
    with torch.no_grad():
        wanted = outputs_of_blocks(dense, batch)
    network.model.zero_grad()
    mine = outputs_of_blocks(network, batch)
    places = batch["attention_mask"].nonzero().tolist()
    assert len(places) < batch["attention_mask"].numel(), "some of it is padding"
    cosines = [
        (a[r, c] @ b[r, c]) / (a[r, c].norm() * b[r, c].norm())
        for a, b in zip(mine, wanted, strict=True)
        for r, c in places
    ]
    distance = 1 - torch.stack(cosines).mean()
    expected = share * distance + (1 - share) * network.model(**batch).loss
    expected.backward()
    assert distance > 0.01
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-4, atol=1e-6)
    for name, parameter in network.model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6)


def test_the_teacher_is_the_whole_network_whatever_is_pruned(network: Network) -> None:
    before = network.weights()
    teacher = FeatureTeacher.of(network, 1.0)
    for name, weight in teacher.model.named_parameters():
        assert torch.equal(weight, network.pretrained[name])
        assert not weight.requires_grad
    assert all(torch.equal(w, before[n]) for n, w in network.weights().items())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_encoder_gives_the_states_of_all_its_blocks(name: str, tmp_path: Path) -> None:
    network = load_network(str(save(name, tmp_path / "network")), "classification", 2)
    network.rewind(0)
    teacher = FeatureTeacher.of(network, 1.0)
    half_mask(network).fill(network.scope("encoder"))
    batch = {
        "input_ids": torch.arange(5, 17).view(2, 6),
        "attention_mask": torch.tensor([[1] * 6, [1] * 4 + [0] * 2]),
        "labels": torch.tensor([0, 1]),
    }
    mine, wanted = (model(**batch, **teacher.asks) for model in (network.model, teacher.model))
    distance = teacher.loss(mine, wanted, batch)
    distance.backward()
    assert distance > 1e-3
    assert all(p.grad is not None and p.grad.any() for p in network.scope("encoder").values())
