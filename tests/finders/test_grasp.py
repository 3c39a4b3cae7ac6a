"""GraSP keeps the weights without which the norm of the gradient would shrink most."""

from decimal import Decimal
from typing import Any, cast

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tombola.finders.untrained.grasp import GraspSpec, grasp
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.prune import keep_top
from toy_evidence import ToyEvidence


class Curved(ToyEvidence):
    """With gradients and Hessian products of all six examples."""

    def gradients(self, batches: int) -> Tensors:
        loss = self.loss(slice(None))
        found = torch.autograd.grad(loss, [*self.parameters.values()])
        return dict(zip(self.parameters, found, strict=True))

    def hessian_product(self, batches: int, vectors: Tensors) -> Tensors:
        with sdpa_kernel(SDPBackend.MATH):
            every = [*self.parameters.values()]
            first = torch.autograd.grad(self.loss(slice(None)), every, create_graph=True)
            parts = [(g * vectors[n]).sum() for n, g in zip(vectors, first, strict=True)]
            along = torch.stack(parts).sum()
            return dict(zip(vectors, torch.autograd.grad(along, every), strict=True))


def norm(toy: Curved) -> float:
    """Squared norm of the gradient."""
    return sum(float(g.double().square().sum()) for g in toy.gradients(1).values())


def test_scores_are_what_the_norm_of_the_gradient_loses_as_weights_shrink() -> None:
    toy, size, measured = Curved(), 1e-2, {}
    scores = {n: toy.weights[n] * x for n, x in toy.hessian_product(1, toy.gradients(1)).items()}
    for name, parameter in toy.parameters.items():
        ends = []
        for factor in (1 + size, 1 - size):
            with torch.no_grad():
                parameter.copy_(toy.weights[name] * factor)
            ends.append(norm(toy))
        with torch.no_grad():
            parameter.copy_(toy.weights[name])
        measured[name] = (ends[0] - ends[1]) / (2 * size) / 2
    largest = max(abs(float(score.sum())) for score in scores.values())
    for name, score in scores.items():
        assert abs(float(score.sum()) - measured[name]) < 0.02 * largest
    spec = GraspSpec(sparsity=Decimal("0.6"))
    full = Mask.full(toy.weights)
    mask = grasp(cast(Any, toy), spec, full).mask
    assert mask == keep_top(scores, full, sparsity=spec.sparsity)


def test_rows_whose_scores_are_lowest_go_first_though_their_squares_are_large() -> None:
    toy = Curved()
    toy.weights = {"w": torch.tensor([[-9.0, -9.0], [1.0, 1.0], [2.0, 2.0], [-1.0, -1.0]])}
    given = {"w": torch.ones(4, 2)}
    toy.gradients = lambda batches: given  # type: ignore[method-assign]
    toy.hessian_product = lambda batches, vectors: given  # type: ignore[method-assign]
    spec = GraspSpec(sparsity=Decimal("0.5"), structure="rows")
    mask = grasp(cast(Any, toy), spec, Mask.full(toy.weights)).mask
    assert mask["w"].all(1).tolist() == [False, True, True, False]
