"""The loops in C come to what float64 makes of the same numbers, and refuse what doesn't fit."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tombola.kernel.fused import extension, loops
from tombola.kernel.fused.attention import Attention, Texts, attend, attend_backward
from tombola.kernel.fused.dropout import Dropout
from tombola.kernel.fused.extension import available
from tombola.kernel.fused.loops import AdamWStep, Rows

pytestmark = pytest.mark.skipif(not available(), reason="the C extension was not built")

ROWS, WIDTHS = st.integers(0, 5), st.integers(1, 70)
CHANCES = st.sampled_from([0.0, 0.1, 0.5])
DECAYS = st.sampled_from([0.0, 0.1])
SETS = ("plain", "avx2", "avx512")


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mask_of(dropout: Dropout, *shape: int) -> Tensor:
    """What dropout multiplies values of a shape with, as one that attends to all alike shows it."""
    size = math.prod(shape)
    rows, biases = [torch.zeros(n, 1) for n in (1, size, size)], [torch.zeros(1)] * 3
    ends, key = torch.tensor([0, 1]), torch.tensor([0])
    what = Attention(rows, biases, 1, Texts(ends, key, torch.tensor([size])), dropout)
    probabilities, found = attend(what)[1], [torch.zeros_like(each) for each in rows]
    attend_backward(what, probabilities, torch.ones(1, 1), found)
    return (found[2][:, 0] / probabilities).double().view(shape)


EPS = torch.finfo(torch.bfloat16).eps
"""Twice the largest relative error of one rounding to bfloat16."""


def close(found: Tensor, expected: Tensor, rtol: float = 2e-5) -> None:
    scale = float(expected.abs().max()) if expected.numel() else 1.0
    assert torch.allclose(found.double(), expected, rtol=rtol, atol=rtol * max(scale, 1e-3))


# --- against float64 -----------------------------------------------------------


@given(rows=ROWS, width=WIDTHS, size=st.sampled_from([0.1, 1.0, 30.0]))
@settings(deadline=None)
def test_gelu_and_its_gradients_are_those_of_float64(rows: int, width: int, size: float) -> None:
    x, bias, g = numbers(rows, width) * size, numbers(width, seed=1), numbers(rows, width, seed=2)
    exact, shift = x.double().requires_grad_(), bias.double().requires_grad_()
    expected = functional.gelu(exact + shift)
    expected.backward(g.double())
    derivative = x.clone()
    close(loops.gelu(derivative, bias), expected.detach(), 1e-6)
    dx, dbias = loops.gelu_backward(derivative, g)
    assert exact.grad is not None
    assert shift.grad is not None
    close(dx, exact.grad, 2e-6)
    close(dbias, shift.grad)


@given(rows=ROWS, width=st.integers(2, 70), chance=CHANCES)
@settings(deadline=None)
def test_the_norm_and_its_gradients_are_those_of_float64(
    rows: int, width: int, chance: float
) -> None:
    drop = Dropout.draw(chance)
    given_ = [numbers(rows, width, seed=n) for n in range(2)] + [
        numbers(width, seed=n) for n in range(2, 5)
    ]
    g, eps = numbers(rows, width, seed=9), 0.1
    exact = [each.double().requires_grad_() for each in given_]
    x, residual, bias, weight, shift = exact
    total = residual + (x + bias) * mask_of(drop, rows, width)
    expected = functional.layer_norm(total, (width,), weight, shift, eps)
    expected.backward(g.double())
    x, residual, bias, weight, shift = (each.clone() for each in given_)
    out, scales = loops.norm(x, bias, residual, weight, shift, eps=eps, dropout=drop)
    close(out, expected.detach())
    dx, dbias, dresidual, dweight, dshift = loops.norm_backward(x, scales, weight, g, drop)
    for found, each in zip((dx, dresidual, dbias, dweight, dshift), exact, strict=True):
        assert each.grad is not None
        close(found, each.grad)


@given(rows=ROWS, width=WIDTHS)
@settings(deadline=None)
def test_gelu_of_bf16_is_that_of_float64_to_its_rounding(rows: int, width: int) -> None:
    """What is kept between the passes, the derivative, is rounded once, and so are results."""
    x, g = (numbers(rows, width, seed=n).bfloat16() for n in (0, 1))
    bias = numbers(width, seed=2)
    exact, shift = x.double().requires_grad_(), bias.double().requires_grad_()
    expected = functional.gelu(exact + shift)
    expected.backward(g.double())
    derivative = x.clone()
    close(loops.gelu(derivative, bias), expected.detach(), EPS)
    dx, dbias = loops.gelu_backward(derivative, g)
    assert (dx.dtype, dbias.dtype) == (torch.bfloat16, torch.float32)
    assert exact.grad is not None
    assert shift.grad is not None
    close(dx, exact.grad, 2 * EPS)
    close(dbias, shift.grad, 2 * EPS * max(1, rows))


@given(rows=ROWS, width=st.integers(2, 70), chance=CHANCES)
@settings(deadline=None)
def test_the_norm_of_bf16_is_that_of_float64_to_its_rounding(
    rows: int, width: int, chance: float
) -> None:
    """A row's normal values are kept rounded, so that its gradient errs by a few roundings."""
    drop, eps = Dropout.draw(chance), 0.1
    given_ = [numbers(rows, width, seed=n).bfloat16() for n in range(2)]
    given_ += [numbers(width, seed=n) for n in range(2, 5)]
    g = numbers(rows, width, seed=9).bfloat16()
    exact = [each.double().requires_grad_() for each in given_]
    x, residual, bias, weight, shift = exact
    total = residual + (x + bias) * mask_of(drop, rows, width)
    expected = functional.layer_norm(total, (width,), weight, shift, eps)
    expected.backward(g.double())
    x, residual, bias, weight, shift = (each.clone() for each in given_)
    out, scales = loops.norm(x, bias, residual, weight, shift, eps=eps, dropout=drop)
    close(out, expected.detach(), EPS)
    dx, dbias, dresidual, dweight, dshift = loops.norm_backward(x, scales, weight, g, drop)
    largest = [float(each.abs().max()) if each.numel() else 0.0 for each in (g, weight, x, scales)]
    sizes = math.prod(max(1.0, each) for each in largest)  # of h, n and r, whose terms may cancel
    for found, each in zip((dx, dresidual, dbias, dweight, dshift), exact, strict=True):
        assert each.grad is not None
        assert torch.allclose(found.double(), each.grad, 0, 2 * EPS * sizes * max(1, rows))


@given(one=st.integers(-(2**15), 2**15 - 1), other=st.integers(-(2**15), 2**15 - 1))
@settings(deadline=None)
def test_rounding_to_bf16_is_torchs(one: int, other: int) -> None:
    """Products of all kinds of numbers, those that are not finite among them."""
    pair = torch.tensor([one, other], dtype=torch.int16).view(torch.bfloat16)
    left, right = pair[:1].view(1, 1), pair[1:].view(1, 1)
    found, expected = loops.gelu_backward(left, right)[0], left * right
    assert torch.equal(found.isnan(), expected.isnan())
    assert found.isnan().all() or torch.equal(found, expected)


@given(size=st.integers(0, 3000), masked=st.booleans(), decay=DECAYS)
@settings(deadline=None)
def test_adamw_is_torchs_after_clipping(size: int, masked: bool, decay: float) -> None:
    kept = numbers(size, seed=5) > 0 if masked else None
    living = torch.ones(size, dtype=torch.bool) if kept is None else kept
    weight, moments = numbers(size) * living, (torch.zeros(size), torch.zeros(size))
    exact = weight.double().requires_grad_()
    optimizer = torch.optim.AdamW([exact], lr=0.01, weight_decay=decay)
    for steps in (1, 2, 3):
        g = numbers(size, seed=10 + steps)
        squares = loops.sum_of_squares(g, kept)
        assert squares == pytest.approx(float((g.double() * living).square().sum()), rel=1e-5)
        exact.grad = g.double() * living * 0.5
        optimizer.step()
        step = AdamWStep(0.01, (0.9, 0.999), 1e-8, decay, steps, 0.5)
        loops.adamw(weight, g, moments, kept, step)
    close(weight, exact.detach(), 1e-5)
    for tensor in (weight, *moments):
        assert not tensor.view(torch.int32)[~living].any()


def test_what_is_pruned_is_zeroed_whatever_its_gradient_is() -> None:
    kept = torch.tensor([True, False, False, False])
    g = torch.tensor([1.0, torch.nan, torch.inf, -1.0])
    weight, moments = torch.full((4,), -1.0), (torch.zeros(4), torch.zeros(4))
    assert loops.sum_of_squares(g, kept) == 1.0
    loops.adamw(weight, g, moments, kept, AdamWStep(0.1, (0.9, 0.999), 1e-8, 0.1, 1, 1.0))
    assert not weight.view(torch.int32)[1:].any()
    assert not torch.stack(moments)[:, 1:].view(torch.int32).any()


@given(height=st.integers(1, 9), width=WIDTHS, masked=st.booleans(), data=st.data())
@settings(deadline=None)
def test_a_gradient_of_few_rows_makes_the_bits_of_one_with_zeros(
    height: int, width: int, masked: bool, data: st.DataObject
) -> None:
    kept = numbers(height, width, seed=3) > 0 if masked else None
    whole = [numbers(height, width), *torch.zeros(2, height, width)]
    if kept is not None:
        whole[0] *= kept
    some = [each.clone() for each in whole]
    touched = torch.zeros(height, dtype=torch.bool)
    for steps in (1, 2, 3):
        flags = data.draw(st.lists(st.booleans(), min_size=height, max_size=height))
        ids = torch.tensor(flags).nonzero().flatten()
        touched[ids] = True
        values = numbers(len(ids), width, seed=steps)
        places = torch.where(touched, loops.NO_GRADIENT, loops.UNTOUCHED)
        places[ids] = torch.arange(len(ids))
        step = AdamWStep(0.01, (0.9, 0.999), 1e-8, data.draw(DECAYS), steps, 0.5)
        loops.adamw(
            whole[0],
            whole[0].new_zeros(height, width).index_add(0, ids, values),
            (whole[1], whole[2]),
            kept,
            step,
        )
        loops.adamw_rows(some[0], Rows(places, values), (some[1], some[2]), kept, step)
    assert all(torch.equal(one, two) for one, two in zip(whole, some, strict=True))


# --- dropout -------------------------------------------------------------------


def test_dropout_drops_as_many_as_it_should_and_follows_the_global_generator() -> None:
    size = 1 << 20
    for chance in (0.01, 0.1, 0.5):
        torch.manual_seed(1)
        kept = mask_of(Dropout.draw(chance), size)
        deviation = math.sqrt(chance * (1 - chance) / size)
        assert abs(float((kept == 0).double().mean()) - chance) < 5 * deviation
        torch.manual_seed(1)
        assert torch.equal(kept, mask_of(Dropout.draw(chance), size))
        assert not torch.equal(kept, mask_of(Dropout.draw(chance), size))


def test_what_is_dropped_does_not_tell_what_is_dropped_nearby_or_next_time() -> None:
    size = 1 << 18
    torch.manual_seed(2)
    first, second = (mask_of(Dropout.draw(0.5), size) == 0 for _ in range(2))
    close_keys = [mask_of(Dropout(key, 1 << 31, 2.0), size) == 0 for key in (7, 8, 7 + 2**32)]
    pairs = [(first, second), *((first, first.roll(by)) for by in (1, 2, 16, 25, 384))]
    pairs += [(close_keys[0], other) for other in close_keys[1:]]
    for one, other in pairs:
        both = float((one & other).double().mean())
        assert abs(both - 0.25) < 5 * math.sqrt(0.25 * 0.75 / size)


# --- one machine and another ------------------------------------------------------


def attended(rows: Tensor, drop: Dropout) -> list[Tensor]:
    """Attention of two texts with one head, and its gradients."""
    half, width = len(rows) // 2, rows.shape[1]
    texts = Texts(torch.tensor([0, 3, len(rows)]), torch.tensor([0, half]), torch.tensor([1, half]))
    what = Attention([rows] * 3, [rows[0].contiguous()] * 3, 1, texts, drop)
    found = [torch.zeros_like(rows) for _ in range(3)]
    context, probabilities = attend(what)
    biases = attend_backward(what, probabilities, rows.cos(), found)
    assert width == biases.shape[1]
    return [context, probabilities, biases, *found]


def bits() -> list[Tensor]:
    """What every loop makes of some numbers, those that are not finite among them."""
    made: list[Tensor] = []
    drop = Dropout(123_456_789_123_456, 1 << 30, 4 / 3)
    for rows, width in ((3, 1), (2, 15), (2, 16), (3, 17), (2, 384), (1, 1030)):
        x, g = numbers(rows, width) * 20, numbers(rows, width, seed=1)
        bias, weight = numbers(width, seed=2), numbers(width, seed=3)
        made += [loops.gelu(x, bias), x, *loops.gelu_backward(x, g)]
        x = numbers(rows, width)
        made += [*loops.norm(x, bias, g, weight, bias, eps=1e-12, dropout=drop), x]
        made += loops.norm_backward(x, made[-2], weight, g, drop)
        made += attended(numbers(rows + 30, width) * 3, drop)
        moments, kept = (torch.zeros(width), torch.zeros(width)), weight > 0
        for mask in (None, kept):
            made += [torch.tensor(loops.sum_of_squares(g[0], mask))]
            step = AdamWStep(0.1, (0.9, 0.999), 1e-8, 0.1, 3, 0.5)
            loops.adamw(bias, g[0], moments, mask, step)
            made += [bias.clone(), *[each.clone() for each in moments]]
        alone = moments[0][kept], moments[1][kept]
        loops.adamw_kept(bias, g[0], alone, kept, step)
        made += [bias.clone(), *alone]
    odd = torch.tensor([[torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-40, -300.0, 3e38]])
    return [*made, loops.gelu(odd, torch.zeros(8)), odd]


def test_every_instruction_set_makes_the_same_bits() -> None:
    made = {}
    try:
        for name in SETS:
            try:
                extension.use(name)
            except ValueError:
                continue
            made[name] = bits()
    finally:
        extension.use_best()
    for name, found in made.items():
        for one, other in zip(made["plain"], found, strict=True):
            assert torch.equal(one.isnan(), other.isnan())
            same = one.nan_to_num(7.0).view(torch.int32) == other.nan_to_num(7.0).view(torch.int32)
            assert same.all(), name


def test_an_instruction_set_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="instruction set of this processor, got mmx"):
        extension.use("mmx")


# --- what doesn't fit ------------------------------------------------------------

NONE = Dropout(0, 0, 1.0)
STEP = AdamWStep(0.1, (0.9, 0.999), 1e-8, 0.0, 1, 1.0)
KEPT = torch.arange(10).view(5, 2) > 3
PLACES = torch.tensor([1, loops.UNTOUCHED, loops.NO_GRADIENT])
FORMS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "gelu": (loops.gelu, ((4, 3), (3,))),
    "gelu_backward": (loops.gelu_backward, ((4, 3), (4, 3))),
    "norm": (
        lambda x, *others: loops.norm(x, *others, eps=1.0, dropout=NONE),
        ((4, 3), (3,), (4, 3), (3,), (3,)),
    ),
    "norm_backward": (
        lambda n, r, weight, g: loops.norm_backward(n, r, weight, g, NONE),
        ((4, 3), (4,), (3,), (4, 3)),
    ),
    "adamw": (lambda w, g, m, v: loops.adamw(w, g, (m, v), None, STEP), ((5, 2),) * 4),
    "adamw_kept": (
        lambda w, g, m, v: loops.adamw_kept(w, g, (m, v), KEPT, STEP),
        ((5, 2), (5, 2), (6,), (6,)),
    ),
    "squares": (lambda g: loops.sum_of_squares(g, torch.ones(5, 2) > 0), ((5, 2),)),
    "adamw_rows": (
        lambda w, g, m, v: loops.adamw_rows(w, Rows(PLACES, g), (m, v), None, STEP),
        ((3, 2), (2, 2), (3, 2), (3, 2)),
    ),
}
"""Loop -> a call of it, and the shapes of the tensors that it takes."""


def spoil(tensor: Tensor, how: str) -> Tensor:
    """A tensor that no loop takes in the place of this one."""
    shape = tensor.shape
    ways: dict[str, Callable[[], Tensor]] = {
        "float64": tensor.double,
        "bfloat16": tensor.bfloat16,
        "float16": tensor.half,
        "longer": lambda: torch.ones(*shape[:-1], shape[-1] + 1),
        "shorter": lambda: torch.ones(*shape[:-1], shape[-1] - 1),
        "another dimension": lambda: tensor[None],
        "strides": lambda: torch.ones(*shape, 2)[..., 0],
        "meta": lambda: tensor.to("meta"),
    }
    return ways[how]()


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_tensor_that_does_not_fit_is_an_exception(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FORMS)))
    call, shapes = FORMS[name]
    tensors = [torch.ones(shape) for shape in shapes]
    call(*[each.clone() for each in tensors])
    ways = st.sampled_from(
        [
            "float64",
            "bfloat16",
            "float16",
            "longer",
            "shorter",
            "another dimension",
            "strides",
            "meta",
        ]
    )
    place, how = data.draw(st.integers(0, len(shapes) - 1)), data.draw(ways)
    assume((name, place, how) != ("gelu", 0, "bfloat16"))  # which activations may be
    tensors[place] = spoil(tensors[place], how)
    with pytest.raises((ValueError, IndexError), match="expected"):
        call(*tensors)


@pytest.mark.parametrize("places", [[-3, 0], [1, 0], [2**40, 0], [0], [0, 0, 0]])
def test_places_beyond_the_rows_are_refused(places: list[int]) -> None:
    tensors = torch.zeros(2, 3), Rows(torch.tensor(places), torch.ones(1, 3))
    with pytest.raises((IndexError, ValueError), match="expected"):
        loops.adamw_rows(*tensors, (torch.zeros(2, 3), torch.zeros(2, 3)), None, STEP)
