"""How much each weight is worth: a scorer turns evidence into one number per weight."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.ticket.mask import Tensors
from tombola.ticket.structures import ROWS, Units, units_of

__all__ = ["SCORERS", "Evidence", "Scorer"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a scorer may look at."""

    weights: Tensors
    """Name -> trained weights of the scope."""

    generator: torch.Generator | None = None
    """Source of chance, for scorers that need it."""

    heads: int = 0
    """Attention heads in each block, for scorers that need it; 0 if unknown."""


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


@SCORERS.register("units")
def units(evidence: Evidence) -> Tensors:
    """Root mean square of the weights of each attention head and each intermediate neuron.

    All weights of a unit have the same score and no two units share one, so that units die
    whole, except that the last one may die in part to keep the count exact. What is left alive
    is a smaller dense network.

    Raises: SpecError, without the number of heads, or for blocks built in another way.
    """
    weights = evidence.weights
    found = units_of(weights, evidence.heads)
    means = [_means(kind, weights) for kind in found]
    values = _distinct(torch.cat(means)).split([kind.count for kind in found])
    scores = {}
    for kind, value in zip(found, values, strict=True):
        for name, axis in kind.matrices:
            lines = value.repeat_interleave(weights[name].shape[axis] // kind.count)
            lines = lines.unsqueeze(1) if axis == ROWS else lines.unsqueeze(0)
            scores[name] = lines.expand(weights[name].shape).contiguous()
    return scores


def _means(kind: Units, weights: Tensors) -> Tensor:
    """Root of the mean square of each unit's weights, as float64."""
    total, size = torch.zeros(kind.count, dtype=torch.float64), 0
    for name, axis in kind.matrices:
        lines = weights[name].detach().cpu().double().square().sum(1 - axis)
        total += lines.reshape(kind.count, -1).sum(1)
        size += weights[name].numel()
    return (total / (size / kind.count)).sqrt()


def _distinct(values: Tensor) -> Tensor:
    """As float32, in the same order, and none like another: a tie rises to the next number."""
    rounded, last = values.numpy().astype(np.float32), np.float32(-1)
    for place in np.argsort(values.numpy(), kind="stable"):
        last = rounded[place] = max(rounded[place], np.nextafter(last, np.float32(np.inf)))
    return torch.from_numpy(rounded)
