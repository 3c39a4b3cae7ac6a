"""A sparse linear layer comes to what the masked dense layer does."""

import copy
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tombola.kernel.sparse import crossovers, linear, products
from tombola.kernel.sparse.crossovers import pays
from tombola.kernel.sparse.linear import SparseLinear
from tombola.kernel.sparse.products import available

TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2, "int8": 2e-2}
SETS = ["plain", "avx2", "avx512"]

built = pytest.mark.skipif(not available(), reason="the C extension was not built")


def masked(width: int, height: int, sparsity: float, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(width, height, bias=bias)
    with torch.no_grad():
        layer.weight[torch.rand(height, width) < sparsity] = 0
    return layer


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    if available():
        products.use_best()


def near(found: Tensor, exact: Tensor, tolerance: float) -> bool:
    scale = float(exact.detach().abs().max().clamp(min=1)) if exact.numel() else 1.0
    return torch.allclose(found.double(), exact, rtol=0, atol=tolerance * scale)


def check(layer: nn.Linear, x: Tensor, dtype: str = "float32") -> None:
    """The output, and in float32 the gradient of the kept weights, are near to those of float64."""
    exact, found = copy.deepcopy(layer).double(), SparseLinear.from_linear(layer, dtype=dtype)
    y, expected = found(x), exact(x.double())
    assert near(y, expected, TOLERANCE[dtype])
    if dtype == "float32" and available():
        g = torch.randn_like(y)
        expected.backward(g.double())
        rows, own = (each.reshape(-1, each.shape[-1]) for each in (x, g))
        kept = products.gradient(rows, own, found.weight)
        assert exact.weight.grad is not None
        whole = replace(found.weight, values=kept).dense()
        assert near(whole, exact.weight.grad * (exact.weight != 0), 1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sparsity", [0, 0.7, 0.97, 1])
def test_it_comes_to_the_masked_dense_layer(dtype: str, sparsity: float) -> None:
    check(masked(300, 70, sparsity), torch.randn(2, 33, 300), dtype)


@built
@pytest.mark.parametrize("instruction_set", SETS)
def test_shapes_sets_and_threads_change_nothing(instruction_set: str) -> None:
    try:
        products.use(instruction_set)
    except ValueError:
        pytest.skip(f"this processor has no {instruction_set}")
    draw = random.Random(0)
    for tokens in (1, 3, 4, 5, 16, 17, 40, 63, 64, 65, 150, 257):
        torch.set_num_threads(draw.choice([1, 2, 5]))
        width, height = draw.choice([1, 7, 127, 128, 129, 300]), draw.choice([1, 15, 128, 131, 290])
        layer = masked(width, height, draw.choice([0, 0.5, 0.9, 1]), bias=draw.random() < 0.5)
        with torch.no_grad():
            layer.weight[: height // 3] = 0
        check(layer, torch.randn(tokens, width), draw.choice(list(TOLERANCE)))


@built
@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gelu_in_the_same_pass_is_that_of_torch(dtype: str, instruction_set: str) -> None:
    try:
        products.use(instruction_set)
    except ValueError:
        pytest.skip(f"this processor has no {instruction_set}")
    layer = SparseLinear.from_linear(masked(129, 70, 0.8), dtype=dtype)
    with torch.no_grad():
        layer.values *= 8  # some outputs are far beyond where erf ends
    for tokens in (0, 1, 5, 64, 70):
        x = torch.randn(tokens, 129)
        layer.gelu = False
        expected = nn.functional.gelu(layer(x))
        layer.gelu = True
        assert torch.allclose(layer(x), expected, rtol=1e-6, atol=2e-6)
    strange = torch.full((3, 129), torch.nan)
    assert layer(strange)[:, layer.weight.dense().any(1)].isnan().all()


def test_an_input_that_is_not_contiguous_is_read_as_it_stands() -> None:
    layer = masked(40, 30, 0.8)
    for x in (torch.randn(40, 9).T, torch.randn(3, 5, 80)[:, :, ::2], torch.randn(40)):
        check(layer, x)


def test_no_tokens_give_no_outputs() -> None:
    assert SparseLinear.from_linear(masked(40, 30, 0.8))(torch.randn(2, 0, 40)).shape == (2, 0, 30)


def test_other_dtypes_of_the_input_come_back() -> None:
    layer, x = SparseLinear.from_linear(masked(40, 30, 0.8)), torch.randn(5, 40)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert layer(x.to(dtype)).dtype == dtype


def test_infinity_and_nan_spread_along_kept_weights_only() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [0.0, -2.0]])})
    found = SparseLinear.from_linear(layer)(torch.tensor([[torch.nan, 1.0], [1.0, torch.inf]]))
    assert found.nan_to_num(5.0, 7.0, -7.0).tolist() == [[5.0, -2.0], [1.0, -7.0]]


def test_a_weight_that_is_nan_is_kept() -> None:
    layer = masked(20, 10, 1.0)
    with torch.no_grad():
        layer.weight[3, 4] = torch.nan
    found = SparseLinear.from_linear(layer)(torch.ones(1, 20))
    assert found.isnan().flatten().nonzero().tolist() == [[3]]


def test_it_is_frozen_and_refuses_to_be_trained() -> None:
    layer, x = SparseLinear.from_linear(masked(40, 30, 0.8)), torch.randn(5, 40)
    assert not any(each.requires_grad for each in layer.parameters())
    y = layer(x)
    for trained, given in ((False, x.clone().requires_grad_()), (True, x)):
        layer.requires_grad_(trained)
        with pytest.raises(ValueError, match="a sparse layer records no gradients"):
            layer(given)
        with torch.no_grad():
            assert torch.equal(layer(given), y)


def test_it_is_saved_and_copied_with_its_weights() -> None:
    layer, x = SparseLinear.from_linear(masked(40, 30, 0.8)), torch.randn(5, 40)
    layer(x)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.values.zero_()
    other.load_state_dict(layer.state_dict())
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for same in (other, copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert torch.equal(same(x), layer(x))


def test_its_bytes_are_those_of_the_kept_weights() -> None:
    dense = masked(768, 768, 0.9)
    sizes = {name: SparseLinear.from_linear(dense, dtype=name).nbytes for name in TOLERANCE}
    assert sizes["int8"] < sizes["bfloat16"] < sizes["float32"] < dense.weight.nbytes / 7


# --- faults ------------------------------------------------------------------------


def test_a_dtype_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="expected a dtype of float32, bfloat16, int8, got 'half'"):
        SparseLinear.from_linear(nn.Linear(2, 2), dtype="half")


@pytest.mark.parametrize("shape", [(3, 80), (20,), ()])
def test_an_input_of_another_width_is_refused(shape: tuple[int, ...]) -> None:
    layer = SparseLinear.from_linear(masked(40, 30, 0.8))
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 40\), got"):
        layer(torch.randn(shape))


@built
@pytest.mark.parametrize("name", ["columns", "order", "counts", "starts", "values"])
def test_a_pattern_that_changed_is_an_error_or_harmless(name: str) -> None:
    """Any bytes may be in it: no address that is not in its tensors is read or written."""
    x, draw = torch.randn(20, 200), random.Random(0)
    for _ in range(40):
        layer = SparseLinear.from_linear(masked(200, 150, 0.6))
        part = getattr(layer, name).flatten()
        for _ in range(draw.choice([1, 20])):
            part[draw.randrange(len(part))] = draw.choice([0, 1, 100, 127])
        part[draw.randrange(len(part))] = -(2**60) if name == "starts" else 1
        for run in (layer, partial(gradient_of, layer)):
            said = fault(run, x)
            assert "don't fit each other" in said or not said


def gradient_of(layer: SparseLinear, x: Tensor) -> Tensor:
    return products.gradient(x, x[:, : layer.out_features], layer.weight)


def fault(run: Callable[[Tensor], Tensor], x: Tensor) -> str:
    """What a ValueError says; nothing where there is none."""
    try:
        run(x)
    except ValueError as found:
        return str(found)
    return ""


@built
@pytest.mark.parametrize("name", ["columns", "order", "counts", "starts", "values", "bias"])
def test_parts_of_another_layer_are_refused(name: str) -> None:
    layer, other = (SparseLinear.from_linear(masked(200, n, 0.6)) for n in (150, 30))
    setattr(layer, name, getattr(other, name))
    with pytest.raises(ValueError, match=r"expected a contiguous torch\.\w+ tensor of shape \("):
        layer(torch.randn(3, 200))


@built
@pytest.mark.parametrize("name", ["columns", "order", "counts", "starts", "values", "bias"])
def test_parts_that_change_after_a_call_are_checked_again(name: str) -> None:
    layer, other = (SparseLinear.from_linear(masked(200, n, 0.6)) for n in (150, 30))
    x = torch.randn(3, 200)
    y, part = layer(x), getattr(layer, name)
    part.data = part.detach().clone()
    assert torch.equal(layer(x), y)
    part.data = getattr(other, name).detach()
    with pytest.raises(ValueError, match=r"expected a contiguous torch\.\w+ tensor of shape \("):
        layer(x)


@built
def test_weights_and_a_bias_that_change_in_place_count_in_the_next_call() -> None:
    dense = masked(200, 150, 0.6)
    layer, x = SparseLinear.from_linear(dense), torch.randn(3, 200)
    layer(x)
    layer.values.mul_(2)
    layer.bias = nn.Parameter(dense.bias + 1, requires_grad=False)
    assert torch.allclose(layer(x), 2 * x @ dense.weight.T + dense.bias + 1, atol=1e-5)
    layer.bias = None
    assert torch.allclose(layer(x), 2 * x @ dense.weight.T, atol=1e-5)


@built
def test_weights_in_another_dtype_are_refused() -> None:
    layer = SparseLinear.from_linear(masked(20, 30, 0.6))
    layer.values = nn.Parameter(layer.values.half(), requires_grad=False)
    with pytest.raises(ValueError, match="expected weights of float32, bfloat16, int8, got"):
        layer(torch.randn(3, 20))


@built
def test_an_instruction_set_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an instruction set of this processor, got mmx"):
        products.use("mmx")


# --- dense where that is better ----------------------------------------------------


def test_without_the_extension_it_is_dense_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear, "available", lambda: False)
    linear._warn.cache_clear()
    with pytest.warns(UserWarning, match="no C extension"):
        check(masked(300, 70, 0.7), torch.randn(33, 300))
    check(masked(300, 70, 0.7), torch.randn(33, 300), "int8")
    linear._warn.cache_clear()


def test_it_is_dense_for_many_tokens_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(linear, "pays", lambda *sizes, **_: seen.append(sizes[3]))
    for dtype in TOLERANCE:
        check(masked(30, 20, 0.1), torch.randn(2, 150, 30), dtype)
    assert set(seen) == {300}


def test_it_pays_where_few_weights_are_kept_and_not_where_all_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossovers, "instruction_set", lambda: "avx512")
    assert pays(768, 3072, 0.9, 128)
    assert not pays(768, 3072, 0.0, 128)


def test_without_the_extension_it_never_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossovers, "instruction_set", lambda: "none")
    assert not pays(768, 768, 1.0, 128)


@built
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_what_records_its_calls_gives_the_same(dtype: str) -> None:
    layer = SparseLinear.from_linear(masked(40, 24, 0.7), dtype=dtype)
    layer.gelu = True
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    traced = torch.jit.trace(layer, torch.randn(3, 40))
    for _ in range(2):
        x = torch.randn(3, 40)
        assert torch.equal(compiled(x), layer(x))
        assert torch.equal(traced(x), layer(x))


@built
def test_a_compiled_training_step_is_refused() -> None:
    layer = SparseLinear.from_linear(masked(40, 24, 0.7))
    x = torch.randn(3, 40, requires_grad=True)
    y = torch.compile(layer, backend="eager", fullgraph=True)(x)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        y.sum().backward()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_weights_keep_their_dtype(dtype: str) -> None:
    layer, x = SparseLinear.from_linear(masked(40, 24, 0.7), dtype=dtype), torch.randn(3, 40)
    y = layer(x)
    for convert in (nn.Module.half, nn.Module.bfloat16, nn.Module.double, nn.Module.float):
        assert torch.equal(convert(copy.deepcopy(layer))(x), y)
    assert layer.half()(x.half()).dtype == torch.float16
    assert nn.Module.to(layer, "meta").values.is_meta


def test_a_block_may_ask_for_the_dtype_and_the_device_of_a_weight() -> None:
    weight = SparseLinear.from_linear(masked(40, 24, 0.7), dtype="int8").weight
    assert (weight.dtype, weight.device) == (torch.float32, torch.device("cpu"))
