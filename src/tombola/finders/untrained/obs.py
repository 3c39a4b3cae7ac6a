"""Optimal brain surgeon with a diagonal or block-diagonal Fisher matrix."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.finders.data_knobs import ExamplesSpec, prune_from_examples
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.iterations import check_steps, prune_in_steps, steps_taken

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["ObsSpec", "block_costs", "compensated", "obs"]


@dataclass(frozen=True, kw_only=True)
class ObsSpec(ExamplesSpec):
    """Optimal brain surgeon: how much is pruned, and how its Fisher matrix is estimated."""

    examples: int = 1024
    """Training examples whose squared gradients are averaged, one by one."""

    steps: int = 4
    """Steps to the sparsity; the Fisher matrix is estimated anew in each."""

    damping: float = 1e-7
    """What is added to the diagonal of the Fisher matrix."""

    block_size: int = 1
    """Consecutive weights of a matrix in a block of the Fisher matrix; with more than one, the
    others of a block are updated to make up for pruned ones. Takes 4 bytes x this for each weight;
    the paper's is 50."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps(self.steps)
        if not 0 <= self.damping < float("inf"):
            raise SpecError(f"damping must be 0 or more, got {self.damping}.")
        if self.block_size < 1:
            raise SpecError(f"block_size must be 1 or more, got {self.block_size}.")
        if self.block_size > 1 and not self.damping:
            raise SpecError(
                "damping must be above 0 where blocks are inverted, got 0 and block_size "
                f"{self.block_size}. Leave one out."
            )

    @property
    def reads(self) -> str:
        """The examples, in each step."""
        steps = steps_taken(self, self.steps)
        return f"{super().reads}, {steps} times" if steps > 1 else super().reads


@finder(
    "obs",
    ObsSpec,
    plan=prune_from_examples,
    scores="obs-2",
    label="OBS",
    source="Kurtic et al. 2022",
)
def obs(evidence: Evidence, spec: ObsSpec, mask: "Mask") -> Pruned:
    """Prune weights by w^2 times their Fisher information, estimated anew.

    Blocks of the Fisher matrix are of size one, unless `block_size` says otherwise. The best change
    of the other weights, by which the method makes up for a pruned one, is then none. With larger
    blocks it is made from step to step, and only the mask is kept: the ticket's own training begins
    from the pre-trained weights under it.
    """
    score = _diagonal(evidence, spec) if spec.block_size == 1 else _Surgery(evidence, spec, mask)
    return Pruned(prune_in_steps(score, mask, spec, evidence.layout, steps=spec.steps))


def _diagonal(evidence: Evidence, spec: ObsSpec) -> "Callable[[Mask], Tensors]":
    """The scores with blocks of size one."""
    number = count()

    def score(kept: "Mask") -> "Tensors":
        information = evidence.squared_gradients(
            spec.examples, kept, estimate=next(number), estimates=spec.steps
        )
        return {
            name: weight.square() * (information[name] + spec.damping) / 2
            for name, weight in evidence.weights.items()
        }

    return score


class _Surgery:
    """Scores with larger blocks; what is pruned between two of them, the kept weights make up for.

    Args:
        evidence: the network.
        spec: the finder's knobs.
        kept: what is not pruned at the start.
    """

    def __init__(self, evidence: Evidence, spec: ObsSpec, kept: "Mask") -> None:
        self.evidence, self.spec, self.kept = evidence, spec, kept
        self.weights = {name: w * kept[name] for name, w in evidence.weights.items()}
        self.fisher: Tensors = {}
        self._number = count()

    def __call__(self, kept: "Mask") -> "Tensors":
        """Name -> what the loss would rise by without each weight."""
        spec = self.spec
        for name in [*self.fisher]:  # blocks are freed before the next are made
            fisher = self.fisher.pop(name)
            self.weights[name] = compensated(self.weights[name], kept[name], fisher, spec.damping)
        self.fisher = self.evidence.fisher_blocks(
            spec.examples,
            spec.block_size,
            self.weights,
            estimate=next(self._number),
            estimates=spec.steps,
        )
        return {
            name: block_costs(weight, kept[name], self.fisher[name], spec.damping)
            for name, weight in self.weights.items()
        }


def block_costs(weight: "Tensor", kept: "Tensor", fisher: "Tensor", damping: float) -> "Tensor":
    """What the loss rises by without each kept weight, if the others of its block make up for it.

    Args:
        weight: a weight of any shape.
        kept: what is not pruned yet, likewise; others take no part.
        fisher: its blocks, (blocks, size, size), the last one filled up with zeros.
        damping: added to the diagonal.

    Raises: SpecError, if a damped block has no inverse.
    Source: Kurtic et al. 2022, equation 4: w^2 / 2 [F^-1]qq.
    """
    import torch

    rows = _blocks(kept, fisher.shape[1])
    inverse = torch.cholesky_inverse(_factor(fisher, rows, damping))
    costs = _blocks(weight, fisher.shape[1]).double().square() / 2
    return _whole(costs / inverse.diagonal(dim1=1, dim2=2), weight)


def compensated(weight: "Tensor", kept: "Tensor", fisher: "Tensor", damping: float) -> "Tensor":
    """The kept weights, moved by what makes up best for those that are no longer kept.

    Args: as those of `block_costs`; pruned weights of `weight` have the values that they are
        pruned at.

    Source: Kurtic et al. 2022, equation 5, for all weights of a block that are pruned together.
    """
    import torch

    size = fisher.shape[1]
    rows, now = _blocks(kept, size), _blocks(weight, size).double()
    lost = (now * ~rows).unsqueeze(2)
    pull = (fisher.double() @ lost).masked_fill_(~rows.unsqueeze(2), 0.0)
    moved = now + torch.cholesky_solve(pull, _factor(fisher, rows, damping)).squeeze(2)
    return _whole(moved * rows, weight)


def _blocks(tensor: "Tensor", size: int) -> "Tensor":
    """The consecutive values of a tensor, (blocks, size), filled up with zeros."""
    from torch.nn.functional import pad

    flat = tensor.flatten()
    return pad(flat, (0, -flat.numel() % size)).view(-1, size)


def _whole(blocks: "Tensor", like: "Tensor") -> "Tensor":
    """The values of blocks, in the shape and precision of a tensor."""
    values: Tensor = blocks.flatten()[: like.numel()].view(like.shape).to(like)
    return values


def _factor(fisher: "Tensor", rows: "Tensor", damping: float) -> "Tensor":
    """The Cholesky factors of damped blocks, in which what isn't kept has a row of the identity."""
    import torch

    both = rows.unsqueeze(1) & rows.unsqueeze(2)
    damped = fisher.double() * both
    damped.diagonal(dim1=1, dim2=2).add_(damping * rows + ~rows)
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(damped)
    if bool(info.any()):
        raise SpecError(
            f"the damped blocks of the Fisher matrix have no inverse, got damping {damping:g}. Use "
            "a larger one."
        )
    return factor
