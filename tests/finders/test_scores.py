"""Scores are pure, and chance comes from a generator in the order of names."""

import torch

from tombola.finders.scores import magnitude, uniform


def test_magnitude_forgets_the_sign_and_builds_no_graph() -> None:
    weight = torch.tensor([-2.0, 0.5, -0.0], requires_grad=True)
    scores = magnitude({"w": weight})["w"]
    assert scores.tolist() == [2.0, 0.5, 0.0]
    assert not scores.requires_grad
    assert weight.tolist() == [-2.0, 0.5, 0.0]


def test_random_scores_depend_on_seed_and_names_but_not_on_order() -> None:
    def draw(seed: int, *names: str) -> dict[str, list[float]]:
        weights = {name: torch.zeros(5) for name in names}
        drawn = uniform(weights, torch.Generator().manual_seed(seed))
        return {name: score.tolist() for name, score in drawn.items()}

    assert draw(0, "a", "b") == draw(0, "b", "a") != draw(1, "a", "b")
