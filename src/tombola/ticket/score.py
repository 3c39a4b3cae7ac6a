"""How much each weight is worth: a scorer turns evidence into one number per weight."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tombola.errors import SpecError
from tombola.registry import Registry
from tombola.ticket.mask import Tensors

__all__ = ["SCORERS", "Evidence", "Scorer"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a scorer may look at."""

    weights: Tensors
    """Name -> trained weights of the scope."""

    generator: torch.Generator | None = None
    """Source of chance, for scorers that need it."""


Scorer = Callable[[Evidence], Tensors]
"""Evidence -> name -> float tensor of the weight's shape; higher lives longer."""

SCORERS: Registry[Scorer] = Registry("scorer")


@SCORERS.register("magnitude")
def magnitude(evidence: Evidence) -> Tensors:
    """|w|: small weights die first (Han et al. 2015)."""
    return {name: weight.detach().abs() for name, weight in evidence.weights.items()}


@SCORERS.register("random")
def uniform(evidence: Evidence) -> Tensors:
    """Uniform in [0, 1), drawn tensor by tensor in the order of names.

    Raises: SpecError, without a generator.
    """
    chance, weights = evidence.generator, evidence.weights
    if chance is None:
        raise SpecError("the scorer 'random' needs a generator, got none. Give it a seeded one.")
    return {
        name: torch.rand(weights[name].shape, generator=chance, device=chance.device)
        for name in sorted(weights)
    }
