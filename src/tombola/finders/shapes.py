"""Which jobs a search takes: finders that prune once, and finders whose mask is trained."""

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING

from tombola.base.keys import changed_knobs
from tombola.base.specs import PruneSpec
from tombola.finders.finder import Finder

if TYPE_CHECKING:
    from tombola.plan.job import Job
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject

__all__ = ["prune_once", "pruning", "train_mask"]


def pruning(
    finder: Finder,
    subject: "Subject",
    spec: PruneSpec,
    sparsity: Decimal,
    seed: int,
    *,
    planned: type[PruneSpec] = PruneSpec,
    label: str = "",
    trained: "Job | None" = None,
    trains: bool = False,
) -> "Job":
    """The job in which a finder makes a mask.

    Args:
        finder: makes it.
        subject: what it looks at.
        spec: the finder's knobs.
        sparsity: the sparsity of this mask.
        seed: the seed of the search.
        planned: the spec whose knobs the plan has followed already, so that no mask depends on
            them in another way.
        label: what the finder is called in this search; by default its own label.
        trained: the training whose weights it looks at; None for the pre-trained ones.
        trains: whether it trains the network itself.
    """
    from tombola.plan.job import prune, pruned_already
    from tombola.plan.job_spec import MAGNITUDE

    followed = {field.name for field in dataclasses.fields(planned)} - {"allocation"}
    looks = not finder.task_free and finder.scores != MAGNITUDE
    name = f"{subject.task.name}, seed {seed}, " if looks or trained else ""
    mask = prune(
        subject,
        PruneSpec(sparsity=sparsity, structure=spec.structure),
        f"{name}{label or finder.label} mask",
        scores=finder.scores,
        knobs={name: value for name, value in changed_knobs(spec).items() if name not in followed},
        data_seed=seed if looks else None,
        trains=trains,
        trained=trained,
    )
    base = None if trained else pruned_already(subject)
    return dataclasses.replace(mask, parents={**mask.parents, "base": base}) if base else mask


def prune_once(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """One mask from the pre-trained network, and one training under it."""
    return _found(finder, subject, spec, seed, pruning(finder, subject, spec, spec.sparsity, seed))


def train_mask(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """One mask from a training that the finder watches, and one training under it."""
    return _found(
        finder,
        subject,
        spec,
        seed,
        pruning(finder, subject, spec, spec.sparsity, seed, trains=True),
    )


def _found(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int, mask: "Job") -> "Search":
    from tombola.plan.job import dense, train
    from tombola.plan.plan import Search

    search = Search(dense(subject, seed))
    search.add(
        spec.sparsity,
        mask,
        train(subject, seed, f"{finder.label} at {spec.sparsity:f}", mask=mask),
    )
    return search
