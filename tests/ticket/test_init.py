"""Initialisations are pure and deterministic, and change what they say."""

import pytest
import torch

from tombola.ticket.init import INITS
from tombola.ticket.mask import Tensors


def weights() -> Tensors:
    chance = torch.Generator().manual_seed(7)
    return {name: torch.randn(40, 50, generator=chance) for name in ("b", "a")}


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
    assert not torch.equal(fresh["a"], start("reinit", weights(), seed=1)["a"])
    assert not torch.equal(fresh["a"], fresh["b"])
