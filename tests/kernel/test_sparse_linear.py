"""A sparse linear layer comes to what the masked dense layer does."""

import copy
import io

import pytest
import torch
from torch import nn

from tombola.kernel.sparse import crossovers
from tombola.kernel.sparse.crossovers import pays
from tombola.kernel.sparse.linear import SparseLinear

TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2, "int8": 2e-2}


def masked(width: int, height: int, sparsity: float, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    linear = nn.Linear(width, height, bias=bias).requires_grad_(False)
    linear.weight[torch.rand(height, width) < sparsity] = 0
    return linear


def check(linear: nn.Linear, x: torch.Tensor, dtype: str = "float32") -> None:
    exact = copy.deepcopy(linear).double()(x.double())
    found = SparseLinear.from_linear(linear, dtype=dtype)(x)
    assert found.dtype == x.dtype
    assert found.shape == exact.shape
    assert float((found - exact).abs().max()) < TOLERANCE[dtype] * max(1, float(exact.abs().max()))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sparsity", [0, 0.7, 0.97, 1])
def test_it_comes_to_the_masked_dense_layer(dtype: str, sparsity: float) -> None:
    check(masked(300, 70, sparsity), torch.randn(2, 33, 300), dtype)


def test_a_layer_without_a_bias_has_none() -> None:
    check(masked(20, 10, 0.5, bias=False), torch.randn(3, 20))


def test_it_is_saved_and_copied_with_its_weights() -> None:
    layer, x = SparseLinear.from_linear(masked(40, 30, 0.8)), torch.randn(5, 40)
    other = SparseLinear.from_linear(masked(40, 30, 0.8))
    other.values.zero_()
    other.load_state_dict(layer.state_dict())
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for same in (other, copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert torch.equal(same(x), layer(x))


def test_its_bytes_are_those_of_the_living_weights() -> None:
    linear = masked(768, 768, 0.9)
    dense = linear.weight.nbytes
    sizes = {
        name: SparseLinear.from_linear(linear, dtype=name).nbytes / dense for name in TOLERANCE
    }
    assert sizes["int8"] < sizes["bfloat16"] < sizes["float32"] < 1 / 7


def test_a_dtype_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="expected a dtype of float32, bfloat16, int8, got 'half'"):
        SparseLinear.from_linear(nn.Linear(2, 2), dtype="half")


def test_it_pays_where_few_weights_live_and_not_where_all_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossovers, "instruction_set", lambda: "avx512")
    assert pays(768, 3072, 0.9, 128)
    assert not pays(768, 3072, 0.0, 128)


def test_without_the_extension_it_never_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossovers, "instruction_set", lambda: "none")
    assert not pays(768, 768, 1.0, 128)
