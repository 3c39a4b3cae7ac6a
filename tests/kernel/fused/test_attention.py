"""Attention in C comes to what float64 makes of the same numbers, and refuses what doesn't fit."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loops import CHANCES, close, mask_of, numbers
from torch import Tensor

from tombola.kernel.fused.attention import Attention, Texts, attend, attend_backward
from tombola.kernel.fused.dropout import Dropout
from tombola.kernel.fused.extension import available

pytestmark = pytest.mark.skipif(not available(), reason="the C extension was not built")


@dataclass(frozen=True)
class Case:
    """Texts by their numbers of queries and keys, and how many heads of which size."""

    pairs: list[tuple[int, int]]
    heads: int
    size: int
    chance: float = 0.0
    gaps: int = 0
    """Rows between two texts that are in none."""

    def attention(self) -> Attention:
        queries, keys = (torch.tensor([pair[n] for pair in self.pairs]) for n in (0, 1))
        ends = (keys + self.gaps).cumsum(0)
        texts = Texts(
            torch.cat([torch.zeros(1, dtype=torch.int64), queries.cumsum(0)]),
            ends - keys - self.gaps,
            keys,
        )
        width = self.heads * self.size
        rows = int(queries.sum()), int(ends[-1]), int(ends[-1])
        products = [numbers(count, width, seed=n) for n, count in enumerate(rows)]
        biases = [numbers(width, seed=3 + n) for n in range(3)]
        return Attention(products, biases, self.heads, texts, Dropout.draw(self.chance))


def exact(what: Attention, leaves: list[Tensor]) -> Tensor:
    """The same in float64 by torch's operators, a text and a head at a time."""
    queries, keys, values = (leaves[n] + leaves[3 + n] for n in range(3))
    size, place, made = queries.shape[1] // what.heads, 0, []
    mask = mask_of(what.dropout, what.texts.pairs(what.heads))
    for text, (begin, count) in enumerate(zip(what.texts.keys, what.texts.counts, strict=True)):
        rows = slice(int(what.texts.queries[text]), int(what.texts.queries[text + 1]))
        mine = []
        for head in range(what.heads):
            part = slice(head * size, (head + 1) * size)
            q, k, v = (
                queries[rows, part],
                *(each[begin : begin + count, part] for each in (keys, values)),
            )
            p = (q @ k.T * size**-0.5).softmax(-1)
            kept = mask[place : place + p.numel()].view(p.shape)
            place += p.numel()
            mine.append((p * kept) @ v)
        made.append(torch.cat(mine, 1))
    return torch.cat(made)


CASES = st.builds(
    Case,
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), min_size=1, max_size=3),
    heads=st.integers(1, 3),
    size=st.sampled_from([1, 5, 16, 33]),
    chance=CHANCES,
    gaps=st.integers(0, 2),
)


@given(case=CASES)
@settings(deadline=None, max_examples=60)
def test_attention_and_its_gradients_are_those_of_float64(case: Case) -> None:
    what = case.attention()
    leaves = [each.double().requires_grad_() for each in (*what.products, *what.biases)]
    expected = exact(what, leaves)
    context, probabilities = attend(what)
    close(context, expected.detach())
    g = numbers(*context.shape, seed=9)
    expected.backward(g.double())
    d = [torch.zeros_like(each) for each in what.products]
    biases = attend_backward(what, probabilities, g, d)
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    scale = max(1.0, *(float(each.abs().max()) for each in gradients if each.numel()))
    for found, gradient in zip((*d, *biases), gradients, strict=True):  # of keys' bias it is zero
        assert torch.allclose(found.double(), gradient, rtol=0, atol=2e-5 * scale)


def test_a_text_without_tokens_attends_to_nothing() -> None:
    what = Case([(2, 0), (1, 3)], 2, 4).attention()
    context, probabilities = attend(what)
    assert not context[:2].any()
    assert probabilities.view(2, 3).sum(1) == pytest.approx(1.0)
    d = [torch.zeros_like(each) for each in what.products]
    attend_backward(what, probabilities, torch.ones_like(context), d)
    assert all(each.isfinite().all() for each in d)


def test_queries_keys_and_values_may_lie_side_by_side() -> None:
    what = Case([(4, 4), (3, 3)], 2, 5).attention()
    row = torch.cat([*what.products], 1)
    beside = replace(what, products=row.split(10, 1))
    assert all(torch.equal(*each) for each in zip(attend(what), attend(beside), strict=True))


@pytest.mark.parametrize(
    ("queries", "keys", "counts"),
    [
        ([0, 2, 5], [0, 3], [3, 3]),
        ([0, 2, 4], [0, 3], [3, 4]),
        ([0, 5, 4], [0, 3], [3, 3]),
        ([1, 2, 4], [0, 3], [3, 3]),
        ([0, 2, 4], [-1, 3], [3, 3]),
        ([0, 2, 4], [0, 3], [-1, 3]),
        ([0, 2, 4], [0], [3, 3]),
        ([0], [], []),
    ],
)
def test_texts_beyond_the_rows_are_refused(
    queries: list[int], keys: list[int], counts: list[int]
) -> None:
    what = Case([(2, 3), (2, 3)], 2, 4).attention()
    texts = Texts(*(torch.tensor(each, dtype=torch.int64) for each in (queries, keys, counts)))
    with pytest.raises((IndexError, ValueError), match="expected"):
        attend(replace(what, texts=texts))


def spoilt(what: Attention, place: int, tensor: Tensor) -> Attention:
    products, biases = [*what.products], [*what.biases]
    (products if place < 3 else biases)[place % 3] = tensor
    return replace(what, products=products, biases=biases)


@given(place=st.integers(0, 5), how=st.sampled_from(["float64", "longer", "strides", "meta"]))
@settings(deadline=None)
def test_a_tensor_that_does_not_fit_is_an_exception(place: int, how: str) -> None:
    what = Case([(2, 3), (2, 3)], 2, 4).attention()
    tensor = (*what.products, *what.biases)[place]
    made = {
        "float64": tensor.double(),
        "longer": torch.ones(*tensor.shape[:-1], tensor.shape[-1] + 1),
        "strides": torch.ones(*tensor.shape, 2)[..., 0],
        "meta": tensor.to("meta"),
    }[how]
    with pytest.raises((ValueError, IndexError), match="expected"):
        attend(spoilt(what, place, made))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    what = Case([(2, 3)], 2, 4).attention()
    for heads in (0, -1, 3):
        with pytest.raises((ValueError, IndexError), match="expected"):
            attend(replace(what, heads=heads))


def test_gradients_go_into_tensors_of_the_same_form_only() -> None:
    what = Case([(2, 3)], 2, 4).attention()
    context, probabilities = attend(what)
    d = [torch.zeros_like(each) for each in what.products]
    for wrong in (d[0].double(), d[0][:1], torch.zeros(8, 2).T):
        with pytest.raises(ValueError, match="expected"):
            attend_backward(what, probabilities, context, [wrong, *d[1:]])
    with pytest.raises(ValueError, match="expected"):
        attend_backward(what, probabilities[1:], context, d)
