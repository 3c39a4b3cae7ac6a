"""A masked network learns from the hidden states of the whole pre-trained one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, save
from small_network import half_mask
from tombola.base.specs import TrainSpec
from tombola.kernel.fused.extension import available
from tombola.kernel.packed import FUSED, KERNEL
from tombola.models.network import Network
from tombola.tasks.data.batches import training_batches
from tombola.tasks.data.encode import encode_split
from tombola.tasks.distillation import FeatureTeacher
from tombola.tasks.examples import Batch
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Tensors
from tombola.training import gradient as module
from tombola.training.distributed import accelerator
from tombola.training.gradient import differentiating

TEXTS = [{"text": "the good film was long and the plot was bad"[: 12 + 4 * n]} for n in range(8)]
built = pytest.mark.skipif(not available(), reason="the C extension was not built")
SPEC = TrainSpec(batch_size=8, max_length=30)
MLM = load_task("mlm")


def half_of(folder: Path, kind: str, classes: int) -> Network:
    """A network with half of its weights pruned, and without dropout."""
    found = load_network(str(folder), kind, classes)
    found.rewind(0)
    half_mask(found).fill(found.scope("encoder"))
    for part in found.model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return found


@pytest.fixture
def network(tiny: Path) -> Network:
    return half_of(tiny, "mlm", 0)


def batch_of(network: Network) -> Batch:
    examples = encode_split(TEXTS, MLM, network.tokenizer, SPEC)
    return next(training_batches(network, MLM, examples, SPEC, first=0, last=1))


def gradient(
    network: Network, batch: Batch, share: float, chosen: str, kind: str = "mlm", *, parts: int = 1
) -> tuple[Tensor, Tensors]:
    """Loss and gradient of a batch, by a kernel, in parts."""
    spec = replace(SPEC, kernel=chosen, accumulation=parts)
    teacher = FeatureTeacher.of(network, share)
    network.model.train().zero_grad()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with differentiating(
        network, load_task(kind), spec, accelerator(), teacher=teacher
    ) as arithmetic:
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


@pytest.mark.parametrize("chosen", [KERNEL, pytest.param(FUSED, marks=built)])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_the_loss_is_one_minus_the_cosine_of_states_and_the_loss_of_labels(
    network: Network, tiny: Path, share: float, chosen: str
) -> None:
    batch = batch_of(network)
    loss, found = gradient(network, batch, share, chosen)
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


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("sentiment", {"labels": [0, 1]}),
        ("gloss-span", {"start_positions": [2, 1], "end_positions": [3, 3]}),
    ],
)
def test_states_are_those_of_all_tokens_whatever_the_head_reads(
    tiny: Path, task: str, labels: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = half_of(tiny, load_task(task).kind, 2)
    tokens = {
        "input_ids": torch.arange(5, 17).view(2, 6),
        "attention_mask": torch.ones(2, 6).long(),
    }
    tokens["attention_mask"][1, 4:] = 0
    batch = tokens | {name: torch.tensor(values) for name, values in labels.items()}
    loss, packed = gradient(network, batch, 0.5, KERNEL, task)
    monkeypatch.setattr(module, "kernel", lambda spec: "")
    plain, own = gradient(network, batch, 0.5, KERNEL, task)
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=1e-6)
    for name, expected in own.items():
        torch.testing.assert_close(packed[name], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_parts_of_a_batch_add_up_to_its_gradient_however_unequal_they_are(
    network: Network, share: float
) -> None:
    batch = batch_of(network)
    batch["labels"][:3] = -100  # the first part has no masked tokens, and the fewest others
    tokens, masked = batch["attention_mask"].sum(1), (batch["labels"] >= 0).sum(1)
    assert tokens[:3].sum() > 0
    assert masked[3:6].sum() > 0
    assert masked[6:].sum() > 0
    assert masked[3:6].sum() * tokens[6:].sum() != masked[6:].sum() * tokens[3:6].sum()
    loss, whole = gradient(network, batch, share, KERNEL)
    added, parts = gradient(network, batch, share, KERNEL, parts=3)
    torch.testing.assert_close(added, loss, rtol=1e-5, atol=1e-7)
    assert parts.keys() == whole.keys()
    for name, expected in whole.items():
        torch.testing.assert_close(parts[name], expected, rtol=1e-4, atol=1e-6)


def test_a_rank_without_masked_tokens_has_gradients_of_the_same_weights(network: Network) -> None:
    batch = batch_of(network)
    _, usual = gradient(network, batch, 0.5, KERNEL)
    batch["labels"][:] = -100
    loss, found = gradient(network, batch, 0.5, KERNEL)
    assert loss.isfinite()
    assert loss > 0
    assert found.keys() == usual.keys()


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
