"""Blocks whose parts are in C come to what the model itself would make."""

from typing import Any

import pytest
import torch
from test_packed import LENGTHS, MODELS, READS, SIZES, WITHOUT_DROPOUT, batch, gradients
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from tombola.kernel.fused import blocks
from tombola.kernel.fused.extension import available
from tombola.kernel.fused.weights import HalfWeights, Weights
from tombola.kernel.packed import FUSED, KERNEL, packed

pytestmark = pytest.mark.skipif(not available(), reason="the C extension was not built")


def model_of(name: str = "bert", **more: Any) -> tuple[Any, str]:
    made, config, kind = MODELS[name]
    torch.manual_seed(0)
    return made(config(**{**SIZES, **WITHOUT_DROPOUT, **more})).train(), kind


def within(
    model: Any,
    inputs: dict[str, Tensor],
    kind: str,
    kernel: str,
    weights: Weights = Weights(),  # noqa: B008
) -> tuple[Tensor, dict[str, Tensor]]:
    half = isinstance(weights, HalfWeights)
    with (
        torch.autocast("cpu", torch.bfloat16, half),
        packed(model, inputs, READS[kind], kernel, weights) as less,
    ):
        return gradients(model, less)


def error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """The largest difference of any gradient."""
    assert found.keys() == exact.keys()
    return max(float((found[name].double() - exact[name]).abs().max()) for name in exact)


def check_against_float64(model: Any, inputs: dict[str, Tensor], kind: str) -> None:
    """Loss and gradients are as near to those of float64 as torch's own operators come."""
    loss, found = within(model, inputs, kind, FUSED)
    torchs = within(model, inputs, kind, KERNEL)[1]
    expected, exact = gradients(model.double(), inputs)
    assert torch.allclose(loss.double(), expected, rtol=1e-5)
    assert error(found, exact) < 4 * error(torchs, exact) + 1e-6


@pytest.mark.parametrize("lengths", [LENGTHS, [5, 5, 5]], ids=["padded", "of one length"])
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_the_model_itself(name: str, lengths: list[int]) -> None:
    model, kind = model_of(name)
    inputs = batch(lengths, kind)
    check_against_float64(model, inputs, kind)


@pytest.mark.parametrize("name", MODELS)
def test_bf16_comes_within_its_rounding_and_as_near_as_autocast(name: str) -> None:
    model, kind = model_of(name)
    inputs = batch(LENGTHS, kind)
    loss, found = within(model, inputs, kind, FUSED, HalfWeights())
    with torch.autocast("cpu", torch.bfloat16), packed(model, inputs, READS[kind], KERNEL) as less:
        cast = gradients(model, less)[1]
    expected, exact = gradients(model.double(), inputs)
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    assert torch.allclose(loss.double(), expected, rtol=4 * torch.finfo(torch.bfloat16).eps)
    assert error(found, exact) < 3 * error(cast, exact) + 1e-3


@pytest.mark.parametrize("activation", ["gelu_new", "relu", "gelu_python"])
def test_other_activation_functions_are_the_models_own(activation: str) -> None:
    model, kind = model_of(hidden_act=activation)
    check_against_float64(model, batch(LENGTHS, kind), kind)


def test_a_frozen_weight_gets_no_gradient_and_the_others_keep_theirs() -> None:
    model, kind = model_of()
    inputs = batch(LENGTHS, kind)
    _, whole = within(model, inputs, kind, FUSED)
    for name, weight in model.named_parameters():
        weight.requires_grad_("layer.1" in name and "LayerNorm" not in name)
    _, some = within(model, inputs, kind, FUSED)
    assert 0 < len(some) < len(whole)
    assert all(torch.equal(gradient, whole[name]) for name, gradient in some.items())


def test_dropout_follows_the_seed_and_keeps_the_mean() -> None:
    model = BertForSequenceClassification(BertConfig(**SIZES)).train()
    inputs = batch(LENGTHS, "classification")
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(within(model, inputs, "classification", FUSED)[0])
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_gradients_with_dropout_are_those_of_the_function_that_the_seed_chose() -> None:
    """By differences: the same seed drops the same values forward and backward."""
    torch.manual_seed(0)
    dense, layer = nn.Linear(20, 18), nn.LayerNorm(18)
    output = nn.Module()
    output.dense, output.LayerNorm, output.dropout = dense, layer, nn.Dropout(0.3)
    x, residual, towards = torch.randn(9, 20), torch.randn(9, 18), torch.randn(9, 18)

    def value(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return (blocks.normalise(Weights(), output, x, residual) * towards).sum()

    x.requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    way = torch.randn(9, 20)
    with torch.no_grad():
        slope = (value(x + 1e-3 * way) - value(x - 1e-3 * way)) / 2e-3
    assert float(slope) == pytest.approx(float((gradient * way).sum()), rel=1e-2)


def test_attention_with_dropout_has_the_gradient_of_what_it_computes() -> None:
    torch.manual_seed(0)
    own: Any = nn.Module()
    own.query, own.key, own.value = (nn.Linear(8, 8) for _ in range(3))
    own.dropout, own.num_attention_heads = nn.Dropout(0.3), 2
    tokens = torch.tensor([[True] * 5, [True] * 2 + [False] * 3, [True] + [False] * 4])
    where = blocks.places(tokens, tokens, None, 2)[0]
    towards, x, way = torch.randn(8, 8), torch.randn(8, 8, requires_grad=True), torch.randn(8, 8)

    def value(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return (blocks.attend(Weights(), own, x, x, where) * towards).sum()

    (gradient,) = torch.autograd.grad(value(x), x)
    with torch.no_grad():
        slope = (value(x + 1e-3 * way) - value(x - 1e-3 * way)) / 2e-3
    assert float(slope) == pytest.approx(float((gradient * way).sum()), rel=1e-2)


def test_texts_that_have_no_token_give_no_gradient_that_is_not_finite() -> None:
    model, kind = model_of("bert-mlm")
    inputs = batch([4, 0, 3], kind)
    loss, found = within(model, inputs, kind, FUSED)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in found.values())


def test_it_is_the_other_arithmetic_only_where_it_is_asked_for() -> None:
    model, kind = model_of()
    inputs = batch(LENGTHS, kind)
    plain, chosen = (within(model, inputs, kind, name)[1] for name in (KERNEL, FUSED))
    assert any(not torch.equal(plain[name], chosen[name]) for name in plain)
