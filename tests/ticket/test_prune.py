"""Pruning removes exactly the lowest-scored kept weights, ties by name, then position."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from tombola.base.errors import SpecError, TicketError
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.prune import _SAMPLE, keep_top, random_like
from tombola.ticket.schedule import pruned_count, round_sparsities

D = Decimal
INF = float("inf")


def sort_and_cut(scores: Tensors, mask: Mask, sparsity: D) -> Mask:
    """The definition: a stable sort of all kept weights by score."""
    kept = [
        (float(score), name, place)
        for name in sorted(scores)
        for place, score in enumerate(scores[name].flatten().tolist())
        if mask[name].flatten()[place]
    ]
    count = pruned_count(sparsity, mask.size) - mask.pruned
    masks = {name: mask[name].clone() for name in mask}
    for _, name, place in sorted(kept, key=lambda entry: entry[0])[:count]:
        masks[name].view(-1)[place] = False
    return Mask(masks)


nasty = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 2e-40, INF, -INF, 1.0000001, 3e38])
score = st.one_of(nasty, nasty, st.floats(width=32, allow_nan=False))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensors, Mask, D]:
    names = draw(st.lists(st.sampled_from(["a", "b", "a.10", "a.9"]), min_size=1, unique=True))
    scores: Tensors = {}
    masks: Tensors = {}
    for name in names:
        values = draw(st.lists(score, min_size=1, max_size=30))
        kept = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
        scores[name], masks[name] = torch.tensor(values), torch.tensor(kept)
    mask = Mask(masks) if draw(st.booleans()) else Mask.full(scores)
    pruned = draw(st.integers(mask.pruned, mask.size))
    sparsity = D(pruned) / D(mask.size)
    return scores, mask, min(sparsity, D("0.999999"))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(problems())
def test_pruning_equals_a_stable_sort(problem: tuple[Tensors, Mask, D]) -> None:
    scores, mask, sparsity = problem
    pruned = keep_top(scores, mask, sparsity=sparsity)
    assert pruned == sort_and_cut(scores, mask, sparsity)
    assert pruned.pruned == pruned_count(sparsity, mask.size)
    assert all(not bool((pruned[name] & ~mask[name]).any()) for name in mask)


def test_pruning_equals_a_stable_sort_across_pieces() -> None:
    chance = torch.Generator().manual_seed(0)
    draw = torch.randn(3, 300_000, generator=chance)
    scores = {"b": draw[0].round(decimals=1), "a": draw[1].t(), "c": draw[2].reshape(300, 1000)}
    flat = np.concatenate([scores[name].flatten().numpy() for name in "abc"])
    mask = Mask.full(scores)
    for sparsity in ("0.3", "0.6", "0.61"):
        mask = keep_top(scores, mask, sparsity=D(sparsity))
        expected = np.ones(flat.size, dtype=bool)
        count = pruned_count(D(sparsity), flat.size)
        expected[np.argsort(flat, kind="stable")[:count]] = False
        got = np.concatenate([mask[name].flatten().numpy() for name in "abc"])
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("sparsity", ["0.2", "0.5", "0.9"])
def test_a_sample_that_misleads_changes_nothing(sparsity: str) -> None:
    draw = torch.rand(600_000, generator=torch.Generator().manual_seed(0))
    draw[::5] += 1.0
    draw[1::5] -= 1.0  # whatever every fifth weight says, the others say another thing
    assert draw.numel() // _SAMPLE | 1 == 5
    count = pruned_count(D(sparsity), draw.numel())
    expected = torch.ones(draw.numel(), dtype=torch.bool)
    expected[draw.argsort(stable=True)[:count]] = False
    pruned = keep_top({"w": draw}, Mask.full({"w": draw}), sparsity=D(sparsity))
    assert torch.equal(pruned["w"], expected)


def test_ties_are_pruned_by_name_then_position() -> None:
    scores = {name: torch.zeros(2, 2) for name in ("layer.2", "layer.10")}
    mask = keep_top(scores, Mask.full(scores), sparsity=D("0.625"))
    assert mask["layer.10"].tolist() == [[False, False], [False, False]]
    assert mask["layer.2"].tolist() == [[False, True], [True, True]]


def test_the_number_of_threads_does_not_change_the_mask() -> None:
    scores = {"a": torch.randn(500, generator=torch.Generator().manual_seed(1)), "b": torch.ones(9)}
    threads = torch.get_num_threads()
    try:
        digests = set()
        for count in (1, 3):
            torch.set_num_threads(count)
            digests.add(keep_top(scores, Mask.full(scores), sparsity=D("0.5")).digest())
    finally:
        torch.set_num_threads(threads)
    assert len(digests) == 1


def test_pruning_equals_torch_where_nothing_ties() -> None:
    chance = torch.Generator().manual_seed(0)
    layers = {name: nn.Linear(20, 30, bias=False) for name in "ab"}
    for layer in layers.values():
        nn.init.normal_(layer.weight, generator=chance)
    scores = {name: layer.weight.detach().abs() for name, layer in layers.items()}
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()], prune.L1Unstructured, amount=0.7
    )
    mask = keep_top(scores, Mask.full(scores), sparsity=D("0.7"))
    for name, layer in layers.items():
        assert torch.equal(mask[name], layer.get_buffer("weight_mask").bool())


def linear_rounds(shapes: Sequence[tuple[int, int]], step: str) -> Iterator[tuple[Mask, Mask]]:
    """Ours and torch's mask after each linear round to 90 %, with other weights in each.

    Torch removes a share of what remains, as the paper's code asks it to.
    """
    chance = torch.Generator().manual_seed(0)
    layers = {f"{n}": nn.Linear(*shape, bias=False) for n, shape in enumerate(shapes)}
    pairs = [(layer, "weight") for layer in layers.values()]
    for number, sparsity in enumerate(round_sparsities("linear", sparsity=D("0.9"), step=D(step))):
        if not number:
            ours = Mask.full({name: layer.weight.detach() for name, layer in layers.items()})
        for layer in layers.values():
            trained = layer.weight if not number else layer.get_parameter("weight_orig")
            nn.init.normal_(trained, generator=chance)
            layer(torch.zeros(1, layer.in_features))  # so that torch sees the new weights
        scores = {name: layer.weight.detach().abs() for name, layer in layers.items()}
        amount = float(step) / (1 - float(step) * number)
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=amount)
        ours = keep_top(scores, ours, sparsity=sparsity)
        yield ours, Mask({n: layer.get_buffer("weight_mask").bool() for n, layer in layers.items()})


def test_ten_linear_rounds_equal_torch_s_where_the_counts_agree() -> None:
    rounds = list(linear_rounds([(20, 30), (20, 20)], "0.09"))
    assert len(rounds) == 10
    assert [ours.pruned for ours, _ in rounds] == list(range(90, 901, 90))
    assert all(ours == theirs for ours, theirs in rounds)


def test_ours_is_the_rounded_count_where_torch_s_drifts() -> None:
    rounds = list(linear_rounds([(7, 11), (9, 9)], "0.1"))
    assert [ours.pruned for ours, _ in rounds] == [round(n * D("15.8")) for n in range(1, 10)]
    assert any(ours.pruned != theirs.pruned for ours, theirs in rounds)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_are_ranked_exactly(dtype: torch.dtype) -> None:
    scores = {"w": torch.tensor([3.0, -1.0, 2.0, -0.0, 0.0], dtype=dtype)}
    mask = keep_top(scores, Mask.full(scores), sparsity=D("0.4"))
    assert mask["w"].tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("bad", [float("nan"), -float("nan")])
def test_a_nan_score_is_refused_by_name(bad: float) -> None:
    scores = {"a": torch.zeros(2), "w": torch.tensor([1.0, bad])}
    with pytest.raises(SpecError, match="NaN for w"):
        keep_top(scores, Mask.full(scores), sparsity=D("0.5"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_scores_that_would_have_to_be_rounded_are_refused(dtype: torch.dtype) -> None:
    scores = {"w": torch.zeros(2, dtype=dtype)}
    with pytest.raises(SpecError, match="float32"):
        keep_top(scores, Mask.full(scores), sparsity=D("0.5"))


def test_masks_only_shrink() -> None:
    scores = {"w": torch.arange(10.0)}
    half = keep_top(scores, Mask.full(scores), sparsity=D("0.5"))
    assert keep_top(scores, half, sparsity=D("0.5")) == half
    with pytest.raises(SpecError, match="only shrink"):
        keep_top(scores, half, sparsity=D("0.4"))


def test_scores_of_another_network_are_refused() -> None:
    with pytest.raises(TicketError, match="first at w"):
        keep_top({"w": torch.zeros(2)}, Mask.full({"w": torch.zeros(3)}), sparsity=D("0.5"))


def test_a_random_twin_has_the_same_count_in_each_tensor() -> None:
    scores = {name: torch.randn(7, 9, generator=torch.Generator().manual_seed(3)) for name in "ab"}
    mask = keep_top(scores, Mask.full(scores), sparsity=D("0.6"))
    twin, same, other = (random_like(mask, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert twin == same != other
    assert twin != mask
    assert twin.layer_sparsities() == mask.layer_sparsities()
