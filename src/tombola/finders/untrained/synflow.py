"""SynFlow: pruning without data, by the paths through each weight."""

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Finder, Pruned, finder
from tombola.finders.iterations import check_steps, prune_in_steps
from tombola.finders.shapes import prune_once
from tombola.ticket.structures import ROWS, Units, units_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["SynflowSpec", "path_shares", "synflow"]


@dataclass(frozen=True, kw_only=True)
class SynflowSpec(PruneSpec):
    """SynFlow: how much is pruned, and in how many steps."""

    steps: int = 100
    """Steps to the sparsity; paths are counted anew in each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_steps(self.steps)


def prune_by_paths(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """`prune_once`, of a network whose paths are known."""
    if reason := subject.refused.get(HEADS_AND_NEURONS):
        raise SpecError(
            f"{finder.name} follows paths through heads and neurons, which aren't known here: "
            f"{reason} Use another finder."
        )
    return prune_once(finder, subject, spec, seed)


@finder(
    "synflow",
    SynflowSpec,
    plan=prune_by_paths,
    label="SynFlow",
    task_free=True,
    source="Tanaka et al. 2020",
)
def synflow(evidence: Evidence, spec: SynflowSpec, mask: "Mask") -> Pruned:
    """Prune weights that the fewest paths go through, by their strength.

    The strength of a path is the product of its |w|. Paths go from the embeddings to the end, along
    the residual stream or through query, key or value and the output, and through the neurons.
    """
    units = units_of(evidence.weights, evidence.layout.heads)
    done = count()

    def score(kept: "Mask") -> "Tensors":
        evidence.progress(next(done), spec.steps)
        return path_shares({n: w.abs() * kept[n] for n, w in evidence.weights.items()}, units)

    return Pruned(prune_in_steps(score, mask, spec, evidence.layout, steps=spec.steps))


def path_shares(strengths: "Tensors", units: "Sequence[Units]") -> "Tensors":
    """Name -> the share that the paths through each weight have in the strength of all paths.

    Streams are scaled after each part of a block: only shares matter, and sums of products over
    dozens of blocks would leave the range of floats.

    Args:
        strengths: name -> |w|, of shape (outputs, inputs); zero where it is pruned.
        units: attention and neurons of each block, in the order of the network.
    """
    import torch

    width = next(strengths[name].shape[1] for name, axis in units[0].matrices if axis == ROWS)
    streams = [torch.ones(width, dtype=torch.float64)]
    for part in units:
        reads, writes = _sides(part, strengths)
        after = streams[-1] + writes @ (reads @ streams[-1])
        streams.append(after / after.max())
    shares: Tensors = {}
    ahead = torch.ones(width, dtype=torch.float64)
    for part, stream in zip(reversed(units), streams[-2::-1], strict=True):
        reads, writes = _sides(part, strengths)
        inner, back = reads @ stream, ahead @ writes
        total = ahead @ stream + back @ inner
        for name, axis in part.matrices:
            to, came = (back, stream) if axis == ROWS else (ahead, inner)
            shares[name] = (strengths[name].double() * torch.outer(to / total, came)).float()
        ahead = ahead + back @ reads
        ahead = ahead / ahead.max()
    return shares


def _sides(part: Units, strengths: "Tensors") -> "tuple[Tensor, Tensor]":
    """The matrices that read the stream, and those that write to it, each summed up."""
    reads = [strengths[name].double() for name, axis in part.matrices if axis == ROWS]
    writes = [strengths[name].double() for name, axis in part.matrices if axis != ROWS]
    return sum(reads[1:], reads[0]), sum(writes[1:], writes[0])
