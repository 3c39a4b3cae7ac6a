"""AdamW in C comes to the steps of torch's, and leaves pruned weights and their moments alone."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from tombola.base.errors import TicketError
from tombola.kernel.fused.adamw import KeptAdamW
from tombola.kernel.fused.extension import available
from tombola.ticket.mask import Mask

pytestmark = pytest.mark.skipif(not available(), reason="the C extension was not built")


class Small(nn.Module):
    """Embeddings of which a batch has few, a layer, and a weight without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.layer = nn.Embedding(9, 5, sparse=True), nn.Linear(5, 7)
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)

    def loss(self, ids: Tensor) -> Tensor:
        made: Tensor = self.layer(self.words(ids)).square().mean()
        return made


def masks(model: Small) -> Mask:
    kept = torch.rand(7, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    rows = torch.rand(9, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    return Mask({"layer.weight": kept, "words.weight": rows})


def parameters(model: Small) -> dict[str, nn.Parameter]:
    return {name: each for name, each in model.named_parameters() if name in masks(model)}


def batches() -> list[Tensor]:
    return [torch.tensor(ids) for ids in ([1, 2, 2], [2, 5], [1, 1, 8], [3])]


def by_torch(mask: Mask, clip: float, decay: float) -> tuple[Small, list[float]]:
    model = Small().double()
    model.words.sparse = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=decay)
    mask.fill(parameters(model))
    norms = []
    for ids in batches():
        model.zero_grad()
        model.loss(ids).backward()
        for name, parameter in parameters(model).items():
            assert parameter.grad is not None
            parameter.grad *= mask[name]
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), clip)))
        optimizer.step()
    return model, norms


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_its_steps_are_torchs(clip: float, decay: float) -> None:
    model = Small()
    mask, optimizer = masks(model), KeptAdamW(model.parameters(), 0.1, decay)
    expected, norms = by_torch(mask, clip, decay)
    with optimizer.hold(parameters(model), mask):
        for ids, norm in zip(batches(), norms, strict=True):
            model.zero_grad()
            model.loss(ids).backward()
            assert float(optimizer.clip(clip)) == pytest.approx(norm, rel=1e-5)
            optimizer.step()
            for name, parameter in parameters(model).items():
                state = optimizer.state[parameter]
                for each in (parameter.detach(), state["exp_avg"], state["exp_avg_sq"]):
                    assert not each.view(torch.int32)[~mask[name]].any()
    for one, two in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(one.double(), two, rtol=1e-4, atol=1e-6)


def test_its_state_is_torchs_and_goes_on_from_there() -> None:
    """After a state is loaded, rows with moments are known to have been touched."""
    whole, first, second = Small(), Small(), Small()
    optimizers = [KeptAdamW(model.parameters(), 0.1, 0.1) for model in (whole, first, second)]

    def run(model: Small, optimizer: KeptAdamW, some: list[Tensor]) -> None:
        for ids in some:
            model.zero_grad()
            model.loss(ids).backward()
            optimizer.clip(1.0)
            optimizer.step()

    run(whole, optimizers[0], batches())
    run(first, optimizers[1], batches()[:2])
    second.load_state_dict(first.state_dict())
    optimizers[2].load_state_dict(deepcopy(optimizers[1].state_dict()))
    run(second, optimizers[2], batches()[2:])
    for one, two in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)
    theirs = torch.optim.AdamW(first.parameters())
    theirs.load_state_dict(deepcopy(optimizers[1].state_dict()))
    assert float(theirs.state[first.layer.weight]["step"]) == 2


def test_a_sparse_gradient_may_turn_dense_and_back() -> None:
    one, two = Small(), Small()
    two.words.sparse = False
    both = [(model, KeptAdamW(model.parameters(), 0.1, 0.1)) for model in (one, two)]
    for number, ids in enumerate([*batches(), *batches()]):
        one.words.sparse = number not in (2, 3)
        for model, optimizer in both:
            model.zero_grad()
            model.loss(ids).backward()
            optimizer.clip(1e9)
            optimizer.step()
    assert torch.allclose(one.words.weight, two.words.weight, rtol=1e-5, atol=1e-7)


def test_words_that_are_predicted_from_their_embeddings_have_a_dense_gradient() -> None:
    one, two = Small(), Small()
    two.words.sparse = False
    for model in (one, two):
        optimizer = KeptAdamW(model.parameters(), 0.1, 0.1)
        for ids in batches():
            model.zero_grad()
            (model.words(ids) @ model.words.weight.T).square().mean().backward()
            optimizer.clip(1.0)
            optimizer.step()
    assert torch.allclose(one.words.weight, two.words.weight, rtol=1e-5, atol=1e-7)


def test_a_mask_of_another_network_is_refused() -> None:
    model = Small()
    optimizer = KeptAdamW(model.parameters(), 0.1, 0.0)
    wrong = Mask({"weight": torch.ones(7, 4, dtype=torch.bool)})
    with (
        pytest.raises(TicketError, match="differ first at bias"),
        optimizer.hold(dict(model.layer.named_parameters()), wrong),
    ):
        pass


def test_weights_of_another_dtype_are_refused() -> None:
    model = nn.Linear(3, 2).double()
    optimizer = KeptAdamW(model.parameters(), 0.1, 0.0)
    model(torch.ones(1, 3).double()).sum().backward()
    with pytest.raises(ValueError, match=r"expected a contiguous torch\.float32 tensor"):
        optimizer.step()
