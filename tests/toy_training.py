"""A network of two matrices and its training, small enough to be computed a second time."""

from fractions import Fraction
from math import floor
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tombola.finders.evidence import Pruner
from tombola.finders.layout import Layout
from tombola.ticket.mask import Mask, Tensors

STEPS, RATE = 20, 0.05
SIZE = 60
"""Weights."""
SIZES = {"a": 40, "b": 16, "unused": 4}
"""Matrix -> its weights."""


class Toy:
    """Evidence of that network; every step has another batch."""

    layout = Layout()

    def __init__(self) -> None:
        drawn = torch.Generator().manual_seed(0)
        shapes = {"a": (8, 5), "b": (2, 8), "unused": (2, 2)}
        self.weights = {n: torch.randn(shape, generator=drawn) for n, shape in shapes.items()}
        self.inputs = torch.randn((STEPS, 16, 5), generator=drawn)
        self.labels = torch.randint(2, (STEPS, 16), generator=drawn)
        self.seen: list[Tensors] = []
        self.trained: Tensors = {}

    def loss(self, weights: Tensors, step: int) -> Tensor:
        hidden = torch.relu(self.inputs[step] @ weights["a"].T)
        return cross_entropy(hidden @ weights["b"].T, self.labels[step])

    def train(
        self, *, pruner: Pruner, frozen: bool = False, feature_distill: float = 0.0
    ) -> Tensors:
        """AdamW with linear decay; keeps the weights that each step computes with."""
        self.feature_distill = feature_distill
        weights = {name: w.clone().requires_grad_() for name, w in self.weights.items()}
        live = {name: weight.detach() for name, weight in weights.items()}
        optimizer = torch.optim.AdamW([*weights.values()], lr=RATE, weight_decay=0.0)
        for step in range(STEPS):
            self.seen.append({name: weight.clone() for name, weight in live.items()})
            optimizer.zero_grad()
            self.loss(weights, step).backward()
            found = {n: w.grad for n, w in weights.items() if w.grad is not None}
            pruner.before_step(live, found)
            if frozen:
                optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            optimizer.step()
            pruner.after_step(step + 1, STEPS, live)
        self.trained = live
        return live

    @property
    def full(self) -> Mask:
        return Mask.full(self.weights)

    def pruned(self, step: int) -> int:
        """Weights that are +0.0 in the network that a step computes with."""
        weights = self.seen[step].values() if step < STEPS else self.trained.values()
        return sum(int(((weight == 0) & ~weight.signbit()).sum()) for weight in weights)


def lowest(scores: Tensors, count: int) -> Tensors:
    """Name -> True but for so many of the lowest scores, equal ones by name and position."""
    flat = torch.cat([scores[name].reshape(-1) for name in sorted(scores)])
    kept = torch.ones(len(flat), dtype=torch.bool)
    kept[flat.argsort(stable=True)[:count]] = False
    pieces: Any = kept.split([scores[name].numel() for name in sorted(scores)])
    return {
        n: each.reshape(scores[n].shape) for n, each in zip(sorted(scores), pieces, strict=True)
    }


def by_matrix(scores: Tensors, kept: int) -> Tensors:
    """Name -> True for the best scores of each matrix, which keeps the same part as any other."""
    shares = {name: Fraction(kept * size, SIZE) for name, size in SIZES.items()}
    counts = {name: floor(share) for name, share in shares.items()}
    for name in sorted(shares, key=lambda n: counts[n] - shares[n])[: kept - sum(counts.values())]:
        counts[name] += 1
    masks = {n: lowest({n: s}, SIZES[n] - counts[n]) for n, s in scores.items()}
    return {name: mask[name] for name, mask in masks.items()}
