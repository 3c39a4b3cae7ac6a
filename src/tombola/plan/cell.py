"""What a training of a plan stands for: its role, and the search that its mask comes from."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tombola.base.rounding import unrounded
from tombola.plan.job import Job
from tombola.plan.job_spec import as_mask, as_training

__all__ = ["AT_RATE", "FROM_TICKET", "OPTIONS", "PLAIN", "Cell", "Role", "Variant"]

Role = Literal["dense", "search", "control", "transfer", "evaluate"]

AT_RATE = ", learning rate "
"""Before the learning rate in the name of a cell whose arm has several."""
FROM_TICKET = "from-ticket"
OPTIONS = ("rewind", "no-rewind", "keep-head", "long-horizon", "prune-first", FROM_TICKET)
"""What a search may do that the plain one, which begins with the whole network and rewinds to the
pre-trained weights, does not."""


@dataclass(frozen=True)
class Variant:
    """What the search behind a mask or a training did; two that did the same are equal."""

    options: tuple[str, ...] = ()
    """Some of OPTIONS, in their order."""
    rewind_step: int = 0
    """The optimizer step that it rewound to; 0 for before training."""

    def then(self, *options: str, rewind_step: int = 0) -> "Variant":
        """This, and what was done next."""
        done = tuple(each for each in OPTIONS if each in (*self.options, *options))
        return Variant(done, rewind_step or self.rewind_step)


PLAIN = Variant()


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """What a training stands for; one training may stand for several things."""

    arm: str
    """The arm of the plan file."""
    role: Role
    """What the training is for."""
    finder: str = ""
    """What found the ticket, or that of the ticket that a control is compared with; empty for the
    dense network."""
    control: str = ""
    """Name of the control; empty for everything else."""
    budget: float = 0.0
    """Length of the search for the ticket, in trainings' worth of steps; 0 without a budget."""
    variant: Variant = PLAIN
    """What the search did until this training."""
    mask_variant: Variant = PLAIN
    """What it did until the mask: the same, but without this training's own part in it."""
    learning_rate: float | None = None
    """Learning rate, where its arm or that of its ticket names some; None where it is the
    recipe's."""
    order_seed: int | None = None
    """Seed of the data order, where it is another than the head's."""
    source: str = ""
    """The task that the mask was found on; empty if on none."""
    target: str
    """The task that is trained on."""
    sparsity: Decimal | None = None
    """None for the dense network."""
    seed: int
    """Seed of the training."""
    training: Job
    baseline: Job
    """The training of the dense network that it is compared with."""
    ticket: Job | None = None
    """The mask that it is trained under."""
    early: Job | None = None
    """For a ticket of a search: the training until the step that its weights are rewound to; None
    if that is before training, or if they are never rewound."""
    compared_arm: str = ""
    """The arm that it is compared with, for a control."""
    line: Job | None = None
    """The interpolation that it is an end of."""

    @property
    def what(self) -> str:
        """What was done: dense, a finder's name, transfer, evaluate, or a control's name."""
        return self.control or (self.finder if self.role == "search" else self.role)

    @property
    def kind(self) -> str:
        """What was done, but connectivity for the end of a line."""
        return "connectivity" if self.line else self.what

    @property
    def label(self) -> str:
        """What was done, for people, with the learning rate or the data order of several, the
        budget of a search, and a teacher's share."""
        rate = "" if self.learning_rate is None else f"{AT_RATE}{unrounded(self.learning_rate)}"
        order = "" if self.order_seed is None else f", order {self.order_seed}"
        budgeted = self.budget and self.role == "search"
        budget = f", budget {unrounded(self.budget)}" if budgeted else ""
        teacher = f", distilled {unrounded(self.distill)}" if self.distill else ""
        return f"{self.what}{budget}{rate}{order}{teacher}"

    @property
    def distill(self) -> float:
        """Share of the training's loss that is the distance from a teacher."""
        return as_training(self.training.spec).recipe.distill

    @property
    def rounds(self) -> tuple[Decimal, ...]:
        """Sparsity after each round of the search until its mask; empty where no training came
        before that."""
        found: list[Decimal] = []
        mask = self.ticket if self.ticket and "trained" in self.ticket.parents else None
        while mask is not None:
            found.append(as_mask(mask.spec).prune.sparsity)
            trained = mask.parents.get("trained")
            mask = trained.parents.get("mask") if trained else None
        return tuple(reversed(found))

    @property
    def key(self) -> str:
        """Key of the training."""
        return self.training.key

    @property
    def dense(self) -> str:
        """Key of the dense network's training."""
        return self.baseline.key

    @property
    def mask(self) -> str | None:
        """Key of the mask."""
        return self.ticket.key if self.ticket else None
