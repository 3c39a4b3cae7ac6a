"""How much each weight is worth by itself: larger scores are kept longer."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from tombola.ticket.mask import Tensors

__all__ = ["above_zero", "magnitude", "uniform"]


def magnitude(weights: "Tensors") -> "Tensors":
    """|w|: small weights are pruned first (Han et al. 2015)."""
    return {name: weight.detach().abs() for name, weight in weights.items()}


def uniform(weights: "Tensors", generator: "torch.Generator") -> "Tensors":
    """Uniform in [0, 1), drawn tensor by tensor in the order of names."""
    import torch

    return {
        name: torch.rand(weights[name].shape, generator=generator, device=generator.device)
        for name in sorted(weights)
    }


def above_zero(scores: "Tensors") -> "Tensors":
    """Scores moved so that none is negative: units are ranked by squares."""
    lowest = min(0.0, *(float(score.min()) for score in scores.values()))
    return {name: score - lowest for name, score in scores.items()} if lowest < 0 else scores
