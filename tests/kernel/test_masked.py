"""A layer that skips pruned weights while it trains comes to what the dense one does."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from test_fused import model_of, within
from test_packed import LENGTHS, MODELS, batch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tombola.kernel.fused.weights import Matrix, Weights
from tombola.kernel.packed import FUSED, SPARSE
from tombola.kernel.sparse import masked, products
from tombola.kernel.sparse.crossovers import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT
from tombola.kernel.sparse.masked import MaskedMatrix, MaskedWeights, skipping

built = pytest.mark.skipif(not products.available(), reason="the C extension was not built")


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    if products.available():
        products.use_best()


def pruned(weight: Tensor, sparsity: float) -> Tensor:
    """A mask of a weight, which is filled with zeros there."""
    kept = torch.rand(weight.shape) >= sparsity
    with torch.no_grad():
        weight.mul_(kept)
    return kept


def masks_of(model: Any, sparsity: float = 0.7) -> dict[Tensor, Tensor]:
    """A mask of each weight of the blocks; the first is pruned whole."""
    blocks: Any = model.base_model.encoder
    layers = [each for each in blocks.modules() if isinstance(each, nn.Linear)]
    return {each.weight: pruned(each.weight, sparsity if n else 1) for n, each in enumerate(layers)}


def near(found: Tensor, expected: Tensor) -> bool:
    scale = float(expected.detach().abs().max().clamp(min=1)) if expected.numel() else 1.0
    return torch.allclose(found, expected, rtol=0, atol=1e-5 * scale)


@built
@pytest.mark.parametrize("name", MODELS)
def test_blocks_have_the_masked_dense_gradients(name: str) -> None:
    model, kind = model_of(name)
    masks, inputs = masks_of(model), batch(LENGTHS, kind)
    dense_loss, dense = within(model, inputs, kind, FUSED)
    with skipping(model, weights := MaskedWeights(masks, always=True)):
        loss, found = within(model, inputs, kind, SPARSE, weights)
    assert torch.allclose(loss, dense_loss, rtol=1e-5)
    assert found.keys() == dense.keys()
    for title, parameter in model.named_parameters():
        kept = masks.get(parameter)
        expected = dense[title] if kept is None else dense[title] * kept
        assert near(found[title], expected), title
        if kept is not None:
            assert not found[title][~kept].view(torch.int32).any(), title  # nor is any -0.0


@built
@pytest.mark.parametrize("made_by", ["plain", "avx2", "avx512"])
@pytest.mark.parametrize("layer", [nn.Linear(150, 140), nn.Linear(7, 3, False), Conv1D(9, 130)])
@pytest.mark.parametrize("sparsity", [0.0, 0.6, 1.0])
def test_a_layer_of_any_model_has_them_as_well(
    layer: nn.Module, sparsity: float, made_by: str
) -> None:
    try:
        products.use(made_by)
    except ValueError:
        pytest.skip(f"this processor or compiler has no {made_by}")
    own = copy.deepcopy(layer)
    kept = pruned(own.weight, sparsity)  # type: ignore[arg-type]
    dense = copy.deepcopy(own)
    x = torch.randn(2, 35, kept.shape[0 if isinstance(layer, Conv1D) else 1])
    ours, theirs = (x.clone().requires_grad_() for _ in range(2))
    weights = MaskedWeights({own.weight: kept}, always=True)  # type: ignore[dict-item]
    with skipping(own, weights):
        y = own(ours)
    expected = dense(theirs)
    assert near(y, expected)
    g = torch.randn_like(y)
    y.backward(g)
    expected.backward(g)
    assert near(ours.grad, theirs.grad)  # type: ignore[arg-type]
    for (title, mine), other in zip(own.named_parameters(), dense.parameters(), strict=True):
        assert near(mine.grad, other.grad * kept if title == "weight" else other.grad)  # type: ignore[arg-type,operator]


@built
def test_a_kept_weight_that_is_zero_has_its_gradient() -> None:
    weight, kept = torch.zeros(4, 3), torch.eye(4, 3).bool()
    found = MaskedMatrix(weight, kept, always=True).weight_gradient(
        torch.ones(5, 4), torch.ones(5, 3)
    )
    assert torch.equal(found, 5.0 * kept)


@built
def test_weights_that_an_optimizer_changed_are_read_again() -> None:
    weight = torch.randn(40, 30)
    kept = torch.rand(40, 30) < 0.5
    weight.mul_(kept)
    matrix, x = MaskedMatrix(weight, kept, always=True), torch.randn(6, 30)
    before = matrix.product(x)
    weight.mul_(2)
    assert torch.equal(matrix.product(x), 2 * before)


@pytest.mark.parametrize("work", [FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT])
def test_the_table_decides_for_each_product(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def pays(*sizes: Any, work: str, threads: int) -> bool:
        seen.append((*sizes, work, threads))
        return False

    monkeypatch.setattr(masked, "pays", pays)
    weight, kept = torch.randn(20, 10), torch.arange(200).view(20, 10) % 4 == 0
    matrix, dense = MaskedMatrix(weight, kept), Matrix(weight)
    g, x = torch.randn(6, 20), torch.randn(6, 10)
    results = {
        FORWARD: lambda m: m.product(x),
        INPUT_GRADIENT: lambda m: m.input_gradient(g),
        WEIGHT_GRADIENT: lambda m: m.weight_gradient(g, x),
    }
    assert torch.equal(results[work](matrix), results[work](dense))
    sizes = (20, 10) if work == INPUT_GRADIENT else (10, 20)
    assert seen == [(*sizes, 0.75, 6, work, torch.get_num_threads())]


def test_where_nothing_pays_a_layer_is_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked, "pays", lambda *_, **__: False)
    layer, x = nn.Linear(10, 20), torch.randn(3, 10)
    expected = layer(x)
    kept = torch.rand(20, 10) < 0.5
    with skipping(layer, MaskedWeights({layer.weight: kept})):
        assert torch.equal(layer(x), expected)
        assert "forward" in vars(layer)
    assert "forward" not in vars(layer)


def test_other_weights_and_other_kernels_change_no_layer() -> None:
    layer = nn.Linear(10, 20)
    for weights in (Weights(), MaskedWeights({})):
        with skipping(layer, weights):
            assert "forward" not in vars(layer)
    assert type(MaskedWeights({}).matrix(layer.weight)) is Matrix
