"""Scorers are pure, and chance comes from a generator in the order of names."""

import pytest
import torch

from tombola.errors import SpecError
from tombola.ticket.score import SCORERS, Evidence


def test_magnitude_forgets_the_sign_and_builds_no_graph() -> None:
    weight = torch.tensor([-2.0, 0.5, -0.0], requires_grad=True)
    scores = SCORERS["magnitude"](Evidence(weights={"w": weight}))["w"]
    assert scores.tolist() == [2.0, 0.5, 0.0]
    assert not scores.requires_grad
    assert weight.tolist() == [-2.0, 0.5, 0.0]


def test_random_scores_depend_on_seed_and_names_but_not_on_order() -> None:
    def draw(seed: int, *names: str) -> dict[str, list[float]]:
        evidence = Evidence(
            weights={name: torch.zeros(5) for name in names},
            generator=torch.Generator().manual_seed(seed),
        )
        return {name: score.tolist() for name, score in SCORERS["random"](evidence).items()}

    assert draw(0, "a", "b") == draw(0, "b", "a") != draw(1, "a", "b")


def test_random_scores_need_a_generator() -> None:
    with pytest.raises(SpecError, match="generator"):
        SCORERS["random"](Evidence(weights={"w": torch.zeros(1)}))
