"""Pruned weights are +0.0 after every step, and their gradients zero before the clip."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import CASES, DEVICE, PRECISIONS, SPEC, Case, case, half

from tombola.ticket.hold.network import hold_model

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the networks are."""
    return tmp_path_factory.mktemp("encoders")


def revived(one: Case) -> int:
    """Pruned weights of a network that have any bit set: +0.0 has none."""
    return sum(
        int(weight.detach().view(torch.int32)[~one.mask[name].to(weight.device)].count_nonzero())
        for name, weight in one.under_mask().items()
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_pruned_weights_are_positive_zero_after_every_step(
    name: str, kind: str, precision: str, folder: Path
) -> None:
    one = case(folder / name, name, kind)
    found: list[int] = []
    spec = replace(SPEC, precision=precision, epochs=2)
    one.train(spec, on_step=lambda *_: found.append(revived(one)))
    assert found == [0] * 4
    kept = {n: w.detach() != 0 for n, w in one.under_mask().items()}
    assert all(bool((kept[n].cpu() == one.mask[n]).float().mean() > 0.99) for n in kept)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_of_pruned_weights_are_zero_before_the_clip(precision: str, folder: Path) -> None:
    """They are looked at as they are added up, and counted on the device."""
    one = case(folder / "bert", "bert", "classification")
    one.network.model.to(DEVICE)
    found = torch.zeros(2, dtype=torch.int64, device=DEVICE)

    def counting(kept: torch.Tensor) -> Callable[[torch.Tensor], None]:
        def look(weight: torch.Tensor) -> None:
            assert weight.grad is not None
            nonzero = weight.grad != 0
            found.add_(torch.stack([(nonzero & ~kept).sum(), (nonzero & kept).sum()]))

        return look

    hooks = [
        weight.register_post_accumulate_grad_hook(counting(one.mask[name].to(DEVICE)))
        for name, weight in one.under_mask().items()
    ]
    kernel = "packed-1" if DEVICE == "cpu" else SPEC.kernel  # the optimizer in C masks them itself
    one.train(replace(SPEC, precision=precision, kernel=kernel))
    for hook in hooks:
        hook.remove()
    pruned, kept = found.tolist()
    assert kept > one.mask.size  # in eight steps
    assert pruned == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_network_is_held_in_a_loop_of_ones_own(dtype: torch.dtype, folder: Path) -> None:
    """Its mask is on the CPU, and the network moves while it is held."""
    one = case(folder / "bert", "bert", "classification")
    one.network.rewind(0)
    model = one.network.model.cpu()
    with hold_model(model, half(one.network)):
        model.to(DEVICE, dtype).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=DEVICE == "cuda")
        ids = torch.arange(24, device=DEVICE).reshape(4, 6)
        labels = torch.tensor([0, 1, 1, 0], device=DEVICE)
        for _ in range(3):
            model(input_ids=ids, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            for name, weight in one.under_mask().items():
                pruned = weight.detach()[~one.mask[name].to(DEVICE)]
                assert not bool(((pruned != 0) | pruned.signbit()).any())
