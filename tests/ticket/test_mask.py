"""A mask counts, packs, compares, and holds pruned weights at +0.0."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tombola.base.errors import TicketError
from tombola.ticket.hold.parameters import hold
from tombola.ticket.mask import Mask, jaccard, pack, unpack


def mask_of(**bits: str) -> Mask:
    return Mask({name: torch.tensor([bit == "1" for bit in row]) for name, row in bits.items()})


def bits_of(tensor: Tensor) -> list[int]:
    return [int(value) for value in tensor.detach().view(torch.int32).flatten()]


rows = st.lists(st.booleans(), min_size=1, max_size=40)
masks = st.dictionaries(st.sampled_from("abc"), rows, min_size=1).map(
    lambda named: Mask({name: torch.tensor(row) for name, row in named.items()})
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(masks)
def test_unpacking_undoes_packing(mask: Mask) -> None:
    assert unpack(pack(mask), mask.shapes) == mask
    assert unpack(pack(mask), mask.shapes).digest() == mask.digest()


def test_bit_zero_is_the_first_weight_and_padding_is_zero() -> None:
    packed = pack(mask_of(w="10000000" + "011"))["w"]
    assert packed.tolist() == [0b0000_0001, 0b0000_0110]


@pytest.mark.parametrize(
    ("packed", "shape", "message"),
    [
        ({"w": [0, 0b1000]}, (11,), "zeros after the last weight"),
        ({"w": [0]}, (11,), "takes 2 bytes"),
        ({"w": [0, 0, 0]}, (11,), "takes 2 bytes"),
        ({"v": [0, 0]}, (11,), "only one of them"),
    ],
)
def test_damaged_bits_are_refused(packed: dict[str, Any], shape: Any, message: str) -> None:
    tensors = {name: torch.tensor(row, dtype=torch.uint8) for name, row in packed.items()}
    with pytest.raises(TicketError, match=message):
        unpack(tensors, {"w": shape})


def test_counts_are_of_pruned_weights() -> None:
    mask = mask_of(a="0011", b="1111")
    assert (mask.size, mask.pruned, mask.sparsity) == (8, 2, 0.25)
    assert mask.layer_sparsities() == {"a": 0.5, "b": 0.0}
    assert Mask.full({"a": torch.zeros(2, 3)}).pruned == 0


def test_the_digest_sees_names_shapes_and_bits() -> None:
    row = torch.tensor([True, False, True, True])
    variants = [{"a": row}, {"b": row}, {"a": row.view(2, 2)}, {"a": ~row}]
    assert len({Mask(variant).digest() for variant in variants}) == 4
    forward, backward = {"a": row, "b": ~row}, {"b": ~row, "a": row}
    assert Mask(forward).digest() == Mask(backward).digest()
    assert Mask(forward) == Mask(backward) != Mask({"a": row})


def test_a_mask_holds_nothing_but_bools() -> None:
    with pytest.raises(TypeError, match="int64"):
        Mask({"w": torch.tensor([1, 0])})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_filling_gives_plus_zero_whatever_was_there(dtype: torch.dtype) -> None:
    weird = torch.tensor([-1.0, float("inf"), float("nan"), -0.0, -2.5, -0.0], dtype=dtype)
    weight = nn.Parameter(weird.clone())
    mask_of(w="000011").fill({"w": weight})
    assert weight[:4].tolist() == [0.0] * 4
    assert not weight[:4].signbit().any()
    assert weight[4] == -2.5
    assert weight[5].signbit()


def test_filling_reaches_views_that_are_not_contiguous() -> None:
    base = torch.ones(3, 2)
    Mask({"w": torch.tensor([[True, False, True], [True, True, False]])}).fill({"w": base.t()})
    assert base.tolist() == [[1, 1], [0, 1], [1, 0]]


def test_the_first_mismatch_is_named_with_both_shapes() -> None:
    mask = mask_of(a="01", b="01")
    with pytest.raises(TicketError, match=r"first at b: .* has \(2,\), .* has \(3,\)"):
        mask.check({"a": torch.zeros(2), "b": torch.zeros(3)})
    with pytest.raises(TicketError, match=r"first at b: .*no such tensor"):
        mask.check({"a": torch.zeros(2)})
    with pytest.raises(TicketError, match=r"first at c: .*no such tensor"):
        mask.check({name: torch.zeros(2) for name in "abc"})


def test_jaccard_is_of_pruned_sets() -> None:
    assert jaccard(mask_of(w="0011"), mask_of(w="0101")) == pytest.approx(1 / 3)
    assert jaccard(mask_of(w="1111"), mask_of(w="1111")) == 1.0
    assert jaccard(mask_of(w="0111"), mask_of(w="1111")) == 0.0
    with pytest.raises(TicketError):
        jaccard(mask_of(w="0111"), mask_of(v="0111"))


def test_held_gradients_are_plus_zero_even_where_they_were_nan() -> None:
    weight = nn.Parameter(torch.ones(4))
    with hold({"w": weight}, mask_of(w="0011")):
        torch.autograd.backward((weight * torch.tensor([float("nan"), -1.0, -2.0, -0.0])).sum())
    assert weight.grad is not None
    assert bits_of(weight.grad) == bits_of(torch.tensor([0.0, 0.0, -2.0, -0.0]))


def test_the_clip_norm_counts_kept_weights_only() -> None:
    weight = nn.Parameter(torch.ones(4))
    with hold({"w": weight}, mask_of(w="0011")):
        torch.autograd.backward((weight * torch.tensor([100.0, 100.0, 3.0, 4.0])).sum())
        assert nn.utils.clip_grad_norm_([weight], 1e9) == 5.0


def test_held_weights_stay_zero_under_any_optimizer_and_are_let_go_after() -> None:
    for optimizer in (torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad):
        weight = nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        mask = Mask({"w": torch.tensor([[False, True], [True, False]])})
        stepper = optimizer([weight], lr=0.1)
        with hold({"w": weight}, mask) as held:
            for _ in range(3):
                stepper.zero_grad()
                torch.autograd.backward(weight.square().sum())
                stepper.step()
                held.fill({"w": weight})
                assert bits_of(weight)[0] == bits_of(weight)[3] == 0
        weight.grad = None
        torch.autograd.backward(weight.sum())
        assert weight.grad is not None
        assert bool((weight.grad == 1).all())


def test_hooks_go_even_when_training_fails() -> None:
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(ZeroDivisionError), hold({"w": weight}, mask_of(w="0")):
        raise ZeroDivisionError
    torch.autograd.backward(weight.sum())
    assert weight.grad is not None
    assert weight.grad.item() == 1.0


def test_a_frozen_parameter_is_filled_without_a_hook() -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    with hold({"w": frozen}, mask_of(w="01")):
        assert frozen.tolist() == [0.0, 1.0]


def test_a_mask_survives_a_copy() -> None:
    mask = mask_of(w="0110")
    assert copy.deepcopy(mask) == mask
    assert mask.to("cpu") == mask


def test_a_tensor_without_a_pruned_weight_costs_neither_hook_nor_filling() -> None:
    parameters = {name: nn.Parameter(torch.ones(3)) for name in ("dense", "sparse")}
    mask = Mask({"dense": torch.ones(3).bool(), "sparse": torch.tensor([True, False, True])})
    with hold(parameters, mask) as held:
        assert held.pruned_tensors == {"sparse"}
        assert not parameters["dense"]._backward_hooks
        torch.autograd.backward([weight.sum() for weight in parameters.values()])
    gradients = {name: p.grad.tolist() for name, p in parameters.items() if p.grad is not None}
    assert gradients == {"dense": [1, 1, 1], "sparse": [1, 0, 1]}
    assert parameters["sparse"].tolist() == [1, 0, 1]
