"""A search within a budget, so that finders are compared at equal compute.

What counts is optimizer steps on the way to the final mask; design/budget.md says why.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError

if TYPE_CHECKING:
    from decimal import Decimal

    from tombola.plan.job import Job
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject

__all__ = ["within_budget"]

COMPATIBLE_OPTION = "prune-first"
"""The one option that a search may combine with a budget."""


def within_budget(
    budget: float,
    sparsity: "Decimal",
    subject: "Subject",
    planned: "Callable[[Subject], Search]",
) -> "Search":
    """The search for one ticket, whose trainings last as long as the budget allows.

    All of them get the same number of steps; the ticket itself is trained by the recipe as it
    stands. A search that trains nothing stays as it is.

    Args:
        budget: how much the search may cost, in trainings of the recipe; above 0.
        sparsity: the sparsity of the ticket.
        subject: network, task and recipe.
        planned: the search on a subject.

    Raises: SpecError, if not even one step is left for a training, or weights are rewound to
        others than the pre-trained ones.
    """
    from tombola.plan.plan import Search

    whole = planned(subject)
    until_mask, variant = whole.variants[sparsity]
    _refuse_options(budget, {*until_mask.options, *variant.options} - {COMPATIBLE_OPTION})
    steps = _steps(whole.masks[sparsity])
    mask = whole.masks[sparsity]
    if steps:
        each = int(Fraction(str(budget)) * subject.steps * subject.steps / steps)
        if not each:
            raise SpecError(
                f"budget must allow at least one step for each of the {steps / subject.steps:g} "
                f"trainings of this search, got {budget:g}. Use a larger one, or fewer rounds."
            )
        recipe = subject.recipe.lasting(each, subject.examples)
        short = planned(replace(subject, recipe=recipe)).masks[sparsity]
        mask = _of_steps(short, each, whole.dense)
    search = Search(whole.dense)
    last = whole.trainings[sparsity]
    training = replace(last, parents={**last.parents, "mask": mask})
    search.add(sparsity, mask, training, (until_mask, variant))
    return search


def _refuse_options(budget: float, options: set[str]) -> None:
    if options:
        raise SpecError(
            f"a budget is for a search that rewinds to the pre-trained weights, got {budget:g} "
            f"and {', '.join(sorted(options))}. Leave one out."
        )


def _of_steps(mask: "Job", steps: int, teacher: "Job") -> "Job":
    """A copy of a mask with the recipe's teacher, whose trainings have their steps in their labels,
    as these differ from the recipe's."""
    from tombola.plan.derived import derive_jobs, replace_teacher

    def of_steps(job: "Job") -> "Job":
        job = replace_teacher(teacher, job)
        return replace(job, label=f"{job.label}, {steps} steps") if job.kind == "train" else job

    return derive_jobs([mask], of_steps)[mask.key]


def _steps(mask: "Job") -> int:
    """Steps of all trainings that a mask depends on; a teacher's own training doesn't count."""
    from tombola.plan.derived import derive_jobs
    from tombola.plan.plan import Plan

    def alone(job: "Job") -> "Job":
        parents = {role: parent for role, parent in job.parents.items() if role != "teacher"}
        return replace(job, parents=parents)

    return sum(job.steps for job in Plan.of([derive_jobs([mask], alone)[mask.key]]).jobs)
