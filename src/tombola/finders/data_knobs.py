"""How much of a task's training data a finder looks at, checked before anything is trained."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs import PruneSpec
from tombola.base.text import counted
from tombola.finders.evidence import check_batches, check_examples
from tombola.finders.finder import Finder
from tombola.finders.shapes import prune_once

if TYPE_CHECKING:
    from tombola.plan.plan import Search
    from tombola.plan.subject import Subject

__all__ = [
    "BatchesSpec",
    "ExamplesSpec",
    "prune_by_inputs",
    "prune_from_batches",
    "prune_from_examples",
]


@dataclass(frozen=True, kw_only=True)
class BatchesSpec(PruneSpec):
    """How much is pruned, and how many batches are read."""

    batches: int = 1
    """Training batches that are read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batches < 1:
            raise SpecError(f"batches must be 1 or more, got {self.batches}.")

    @property
    def reads(self) -> str:
        """The batches."""
        return f"{self.batches:,} batch{'' if self.batches == 1 else 'es'}"


@dataclass(frozen=True, kw_only=True)
class ExamplesSpec(PruneSpec):
    """How much is pruned, and how many per-example gradients are taken."""

    examples: int = 1024
    """Training examples whose gradients are taken one by one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examples < 1:
            raise SpecError(f"examples must be 1 or more, got {self.examples}.")

    @property
    def reads(self) -> str:
        """The examples."""
        return counted(self.examples, "example")


def prune_from_batches(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """`prune_once`, by batches that a training on the subject has."""
    assert isinstance(spec, BatchesSpec)
    check_batches(spec.batches, subject.steps)
    return prune_once(finder, subject, spec, seed)


def prune_by_inputs(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """`prune_from_batches`, of a network whose scope is linear layers."""
    if subject.matrices:
        raise SpecError(
            f"{finder.name} looks at the inputs of linear layers, and the scope {subject.scope} of "
            f"{subject.model} has matrices that belong to none. Use another finder."
        )
    return prune_from_batches(finder, subject, spec, seed)


def prune_from_examples(finder: Finder, subject: "Subject", spec: PruneSpec, seed: int) -> "Search":
    """`prune_once`, by examples that a training on the subject has."""
    assert isinstance(spec, ExamplesSpec)
    check_examples(spec.examples, subject.recipe, subject.examples)
    return prune_once(finder, subject, spec, seed)
