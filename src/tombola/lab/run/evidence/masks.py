"""Masks of prune jobs: by the scores of a finder, or drawn."""

from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import Any

import torch

from tombola.base.errors import SpecError
from tombola.base.seeds import derive_seed
from tombola.base.specs.prune import N_OF_M, ROWS_TOGETHER, UNSTRUCTURED
from tombola.finders.allocations import keep_best
from tombola.finders.finder import finder_of_scores
from tombola.finders.scores import uniform
from tombola.lab.run.evidence.of_workspace import SearchDivergedError, WorkspaceEvidence
from tombola.plan.job_spec import PERMUTED, RANDOM, PruneJobSpec
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.prune import NaNScoresError, permuted_like, random_like
from tombola.ticket.schedule import pruned_count
from tombola.ticket.structures import ROWS, Units, by_output, units_of
from tombola.training.steps import Diverged

__all__ = ["drawn_like", "pruned"]

DRAWN = {RANDOM: ("layer-random", random_like), PERMUTED: ("permuted", permuted_like)}
"""Scores -> name and function of how a mask like another is drawn."""


def drawn_like(like: Mask, spec: PruneJobSpec, transposed: Container[str]) -> Mask:
    """A mask that is drawn by the seed of a job, and has as many weights in each matrix.

    Args:
        like: the mask.
        spec: the spec of the job, with the structure of the mask.
        transposed: names of the weights that are stored as (inputs, outputs).
    """
    name, draw = DRAWN[spec.scores]
    purpose = f"{name} mask like {like.digest()}"  # of two tickets, two permutations
    generator = torch.Generator().manual_seed(derive_seed(spec.seed, purpose))
    if spec.prune.structure == UNSTRUCTURED:
        return draw(like, generator)
    drawn = _structured_like(by_output(like, transposed), spec, generator)
    return Mask(by_output(drawn, transposed))


def _structured_like(like: Tensors, spec: PruneJobSpec, generator: torch.Generator) -> Tensors:
    """A mask with the units of another, matrix by matrix or block by block, in random order.

    With N:M, it is the weights of each group that change places.
    """
    if pattern := N_OF_M.fullmatch(spec.prune.structure):
        group = int(pattern[2])
        return {name: _within_groups(kept, group, generator) for name, kept in like.items()}
    together = (
        [Units(len(kept), ((name, ROWS),)) for name, kept in like.items()]
        if spec.prune.structure == ROWS_TOGETHER
        else units_of(like, spec.heads)
    )
    drawn = {}
    for units in together:
        order = torch.randperm(units.count, generator=generator)
        for name, axis in units.matrices:
            lines = torch.arange(like[name].shape[axis]).reshape(units.count, -1)
            drawn[name] = like[name].index_select(axis, lines[order].reshape(-1))
    return drawn


def _within_groups(kept: torch.Tensor, group: int, generator: torch.Generator) -> torch.Tensor:
    groups = kept.reshape(-1, group)
    order = torch.rand(groups.shape, generator=generator).argsort(1)
    return groups.gather(1, order).reshape(kept.shape)


def pruned(evidence: WorkspaceEvidence) -> tuple[Mask | None, Mapping[str, Any]]:
    """The network as it stands, pruned further than its base, or None if the training of the mask
    diverged; and what its finder says of it."""
    spec, base = evidence.job, evidence.base
    if spec.scores == RANDOM:
        drawn = torch.Generator().manual_seed(derive_seed(spec.seed, "random mask"))
        scores = uniform(evidence.weights, drawn)
        return keep_best(scores, base, spec.prune, evidence.layout), {}
    found = finder_of_scores(spec.scores)
    try:
        made = found.make(evidence, found.read(spec), base)
    except SearchDivergedError as error:
        return None, {"diverged": asdict(error.fault), **_counted(evidence)}
    except NaNScoresError:
        if not spec.trains:
            raise
        fault = Diverged(evidence.steps, "scores")
        return None, {"diverged": asdict(fault), **_counted(evidence)}
    wanted = pruned_count(spec.prune.sparsity, base.size)
    back = sum(int((kept & ~base[name]).sum()) for name, kept in made.mask.items())
    if made.mask.pruned != wanted or back:
        raise SpecError(
            f"expected a mask of the finder {found.name!r} with {wanted} pruned weights, those of "
            f"its start among them, got {made.mask.pruned} and {back} that came back. Return one "
            "that is as sparse as its spec, and prunes what was pruned."
        )
    return made.mask, {**made.facts, **_counted(evidence)}


def _counted(evidence: WorkspaceEvidence) -> dict[str, Any]:
    """What a mask has cost."""
    counted = {"compute": evidence.compute.to_json()} if evidence.job.data else {}
    earlier = evidence.earlier_seconds
    return {**counted, **({"earlier_seconds": earlier} if earlier else {})}
