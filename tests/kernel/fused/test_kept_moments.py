"""Pruned weights have no moments where few are kept, and no bit depends on that."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tombola.kernel.fused import adamw, loops
from tombola.kernel.fused.adamw import MOMENTS, KeptAdamW
from tombola.kernel.fused.extension import available
from tombola.kernel.fused.loops import AdamWStep
from tombola.ticket.mask import Mask

pytestmark = pytest.mark.skipif(not available(), reason="the C extension was not built")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bits(tensor: Tensor) -> Tensor:
    return tensor.detach().view(torch.int32)


# --- the loop ------------------------------------------------------------------


@given(
    size=st.integers(0, 3000),
    part=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    decay=st.sampled_from([0.0, 0.1]),
)
@settings(deadline=None)
def test_moments_of_kept_weights_alone_make_the_bits_of_moments_of_all(
    size: int, part: float, decay: float
) -> None:
    kept = torch.rand(size, generator=torch.Generator().manual_seed(size)) < part
    whole = [numbers(size) * kept, torch.zeros(size), torch.zeros(size)]
    some = [whole[0].clone(), *torch.zeros(2, int(kept.sum()))]
    for steps in (1, 2, 3):
        g = torch.where(kept, numbers(size, seed=steps), torch.nan)
        step = AdamWStep(0.01, (0.9, 0.999), 1e-8, decay, steps, 0.3)
        loops.adamw(whole[0], g, (whole[1], whole[2]), kept, step)
        loops.adamw_kept(some[0], g, (some[1], some[2]), kept, step)
    expected = [whole[0], whole[1][kept], whole[2][kept]]
    for one, two in zip(some, expected, strict=True):
        assert torch.equal(bits(one), bits(two))


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_moments_of_another_number_of_weights_are_refused(count: int) -> None:
    step = AdamWStep(0.1, (0.9, 0.999), 1e-8, 0.0, 1, 1.0)
    kept, moments = torch.tensor([True, False, False, True, False]), torch.zeros(2, count)
    with pytest.raises(ValueError, match=f"expected moments .* kept, got moments of {count}"):
        loops.adamw_kept(torch.ones(5), torch.ones(5), (moments[0], moments[1]), kept, step)


# --- the optimizer -----------------------------------------------------------------


def network() -> nn.Sequential:
    """Embeddings of which a batch has few, two layers with few kept weights, and one with many."""
    torch.manual_seed(0)
    layers = [nn.Linear(width, 40) for width in (8, 40, 40)]
    return nn.Sequential(nn.Embedding(9, 8, sparse=True), *layers)


KEPT = {"0.weight": 0.2, "1.weight": 0.1, "2.weight": 0.25, "3.weight": 0.5}


def held(model: nn.Module) -> tuple[dict[str, nn.Parameter], Mask]:
    parameters = {n: each for n, each in model.named_parameters() if n in KEPT}
    kept = {n: numbers(*each.shape, seed=5).argsort(1) for n, each in parameters.items()}
    return parameters, Mask({n: each < KEPT[n] * each.shape[1] for n, each in kept.items()})


def states(model: nn.Module, optimizer: KeptAdamW, steps: range) -> Iterator[KeptAdamW]:
    """The optimizer after each of some steps, each of two summed and clipped gradients."""
    with optimizer.hold(*held(model)):
        for step in steps:
            model.zero_grad()
            for ids in ([step % 9, 2, 2], [step * 4 % 9]):
                model(torch.tensor(ids)).square().mean().backward()
            optimizer.clip(0.05)
            optimizer.step()
            yield optimizer


def trained(stop: int = 6) -> tuple[nn.Module, KeptAdamW]:
    """A model and its optimizer after some steps, the last of which is not over."""
    model = network()
    optimizer = KeptAdamW(model.parameters(), 0.1, 0.1)
    return model, [deepcopy(each) for each in states(model, optimizer, range(stop))][-1]


def same(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return all(torch.equal(bits(a), bits(b)) for a, b in pairs)


def test_no_bit_of_a_training_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    few = trained()[0]
    monkeypatch.setattr(adamw, "FEW", -1.0)
    assert same(few, trained()[0])


@pytest.mark.parametrize("before", [-1.0, adamw.FEW])
def test_a_training_goes_on_from_moments_of_all_weights_and_of_kept_ones(
    monkeypatch: pytest.MonkeyPatch, before: float
) -> None:
    whole = trained()[0]
    monkeypatch.setattr(adamw, "FEW", before)
    model, optimizer = trained(3)
    monkeypatch.undo()
    again = KeptAdamW(model.parameters(), 0.1, 0.1)
    again.load_state_dict(optimizer.state_dict())
    assert len([*states(model, again, range(3, 6))]) == 3
    assert same(whole, model)


def test_what_few_kept_weights_need_is_all_that_is_stored() -> None:
    model = network()
    optimizer = KeptAdamW(model.parameters(), 0.1, 0.1)
    mask = held(model)[1]
    for _ in states(model, optimizer, range(2)):
        for name, parameter in model.named_parameters():
            few = name in ("0.weight", "1.weight", "2.weight")
            expected = int(mask[name].sum()) if few else parameter.numel()
            assert [optimizer.state[parameter][each].numel() for each in MOMENTS] == [expected] * 2
