"""Initialisations are pure and deterministic, and change what they say."""

import pytest
import torch

from tombola.base.errors import SpecError
from tombola.ticket.init import INITS
from tombola.ticket.mask import Tensors

BLOCKS = (0, 1, 2, 10)
NAMES = ("pooler", *(f"layer.{number}.{within}" for number in BLOCKS for within in ("b.w", "a.w")))


def weights() -> Tensors:
    """Four blocks of two matrices, and one matrix outside of them."""
    chance = torch.Generator().manual_seed(7)
    shapes = {name: (40, 30 if "b" in name else 50) for name in NAMES}
    return {name: torch.randn(shape, generator=chance) for name, shape in shapes.items()}


def start(kind: str, given: Tensors, seed: int = 0) -> Tensors:
    return INITS[kind](given, torch.Generator().manual_seed(seed), std=0.02)


@pytest.mark.parametrize("kind", sorted(INITS))
def test_an_initialisation_is_pure_and_deterministic(kind: str) -> None:
    given = weights()
    first, second = start(kind, given), start(kind, dict(reversed(given.items())))
    for name, before in weights().items():
        assert torch.equal(given[name], before)
        assert torch.equal(first[name], second[name])
        assert first[name].shape == before.shape


def test_pretrained_changes_nothing() -> None:
    assert all(torch.equal(start("pretrained", weights())[n], w) for n, w in weights().items())


def test_shuffling_keeps_the_values_of_each_tensor_and_moves_them() -> None:
    for name, weight in weights().items():
        shuffled = start("shuffle", weights())[name]
        assert torch.equal(shuffled.flatten().sort().values, weight.flatten().sort().values)
        assert not torch.equal(shuffled, weight)


def test_fresh_weights_have_the_asked_deviation_and_their_own_seed() -> None:
    fresh = start("reinit", weights())
    assert all(weight.std().item() == pytest.approx(0.02, rel=0.1) for weight in fresh.values())
    assert not torch.equal(fresh["pooler"], start("reinit", weights(), seed=1)["pooler"])
    assert not torch.equal(fresh["pooler"], fresh["layer.0.a.w"])


def test_signs_stay_and_sizes_are_one_for_each_tensor() -> None:
    for name, weight in weights().items():
        signed = start("signs", weights())[name]
        assert torch.equal(signed.sign(), weight.sign())
        torch.testing.assert_close(
            signed.abs(), torch.full_like(weight, float(weight.norm())) / weight.numel() ** 0.5
        )


# whole blocks


def order(given: Tensors, moved: Tensors, within: str) -> tuple[int, ...]:
    """Which block each block's matrix came from."""
    sources = {given[f"layer.{number}.{within}"].numpy().tobytes(): number for number in BLOCKS}
    return tuple(sources[moved[f"layer.{number}.{within}"].numpy().tobytes()] for number in BLOCKS)


def test_whole_blocks_change_places_together_in_every_order_but_their_own() -> None:
    seen = set()
    for seed in range(200):
        moved = start("shuffle-layers", weights(), seed)
        assert torch.equal(moved["pooler"], weights()["pooler"])
        one, two = (order(weights(), moved, within) for within in ("a.w", "b.w"))
        assert one == two
        assert sorted(one) == list(BLOCKS)
        seen.add(one)
    assert len(seen) == 23
    assert BLOCKS not in seen


def test_each_list_of_blocks_is_shuffled_by_itself() -> None:
    given = {f"{side}.{n}.w": torch.full((2, 2), n) for side in "yx" for n in range(6)}
    given |= {name: weight + 10 * name.startswith("y") for name, weight in given.items()}
    orders = []
    for seed in range(20):
        moved = start("shuffle-layers", given, seed)
        sides = [tuple(int(moved[f"{side}.{n}.w"][0, 0]) for n in range(6)) for side in "xy"]
        assert [sorted(side) for side in sides] == [list(range(6)), list(range(10, 16))]
        orders.append([numbers[0] % 10 for numbers in sides])
    assert any(x != y for x, y in orders)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"pooler": 2}, "numbered blocks"),
        ({"layer.0.w": 2, "pooler": 2}, "two blocks or more in 'layer', got one"),
        ({"layer.0.w": 2, "layer.1.w": 3}, r"w of shape \(2, 2\) in block 0 and \(3, 3\) in 1"),
        ({"0.w": 2, "1.w": 2, "1.x": 2}, "x of shape none in block 0"),
        ({"0.w": 2, "0.x": 2, "1.x": 2}, r"w of shape \(2, 2\) in block 0 and none in 1"),
    ],
)
def test_blocks_that_cannot_change_places_are_refused(names: dict[str, int], message: str) -> None:
    given = {name: torch.zeros(size, size) for name, size in names.items()}
    with pytest.raises(SpecError, match=message) as refused:
        start("shuffle-layers", given)
    assert "\n" not in str(refused.value)
