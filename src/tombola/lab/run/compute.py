"""The compute of jobs: tokens through a network, forward and backward, steps and time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tombola.finders.finder import Finder, finder_of_scores
from tombola.lab.store.result import Result
from tombola.plan.job import Job
from tombola.plan.job_spec import PruneJobSpec
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task

__all__ = [
    "BACKWARD_COST",
    "STEP_COST",
    "Compute",
    "compute_of",
    "search_compute",
    "step_cost",
    "total_compute",
    "typical_cost",
]

BACKWARD_COST = 2
"""Cost of a backward pass, in forward passes: gradients of weights and of activations."""
STEP_COST = 1 + BACKWARD_COST
"""Cost of a step of training, in forward passes."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The compute of trainings and of scoring weights; evaluating networks is not counted.

    Tokens exclude padding, and count once for each pass through the network. What gradient
    checkpointing recomputes is not counted twice.
    """

    forward_tokens: int = 0
    backward_tokens: int = 0
    steps: int = 0
    """Optimizer steps."""
    seconds: float = 0.0

    @classmethod
    def of_training(cls, tokens: int, steps: int, *, teacher_tokens: int) -> "Compute":
        """The compute of a training, without its time.

        Args:
            tokens: the tokens that the network saw.
            steps: the optimizer's steps.
            teacher_tokens: the tokens that its teacher saw; 0 without one.
        """
        forward = tokens + teacher_tokens
        return cls(forward_tokens=forward, backward_tokens=tokens, steps=steps)

    def __add__(self, other: "Compute") -> "Compute":
        return Compute(
            forward_tokens=self.forward_tokens + other.forward_tokens,
            backward_tokens=self.backward_tokens + other.backward_tokens,
            steps=self.steps + other.steps,
            seconds=self.seconds + other.seconds,
        )

    @property
    def cost(self) -> int:
        """Token passes, where a backward pass counts as two forward ones."""
        return self.forward_tokens + BACKWARD_COST * self.backward_tokens

    def in_units_of(self, training: "Compute | None") -> float | None:
        """Its cost in trainings like this one; None if the cost of one is not known."""
        return self.cost / training.cost if training and training.cost else None

    def to_json(self) -> dict[str, int]:
        """The counts that are the same on every run, so without the time."""
        return {
            "forward_tokens": self.forward_tokens,
            "backward_tokens": self.backward_tokens,
            "steps": self.steps,
        }


def step_cost(job: Job) -> int:
    """Cost of a step of a training or of a mask's training, in forward passes: with a teacher's."""
    spec, asks = job.spec, "teacher" in job.parents
    if isinstance(spec, PruneJobSpec) and spec.trains:
        asks = asks or finder_of_scores(spec.scores).read(spec).asks_teacher
    return STEP_COST + asks


def typical_cost(finder: Finder) -> float:
    """What a search costs with the knobs at their defaults, in trainings.

    The training under the ticket is one of them, and the dense one where the mask needs it; a
    teacher's forward passes count. So many examples are assumed that no default is more than there
    is.
    """
    task = load_task("mlm")  # no finder refuses it
    subject = Subject(
        model="",
        fingerprint="0" * 64,
        task=task,
        recipe=task.recipe,
        data="0" * 64,
        examples=10**6,
        folder=None,
    )
    search = finder.search(subject, finder.spec(), 0)
    jobs = Plan.of(search.trainings.values()).jobs
    return sum(job.steps * step_cost(job) for job in jobs) / (subject.steps * STEP_COST)


def compute_of(result: Result | None) -> Compute | None:
    """The compute of a job; None if it is not done, or if a version without counts did it."""
    if result is None:
        return None
    facts = result.facts
    if result.kind == "train":
        return _of_training(facts)
    spec = result.job_spec
    if not isinstance(spec, PruneJobSpec) or spec.data is None:  # it looks at weights alone
        return Compute(seconds=result.seconds)
    counted = facts.get("compute")
    return None if counted is None else Compute(**counted, seconds=result.seconds)


def _of_training(facts: Mapping[str, Any]) -> Compute | None:
    if "tokens" not in facts:
        return None
    taught, seconds = facts.get("teacher_tokens", 0), facts["training_seconds"]
    passes = Compute.of_training(facts["tokens"], facts["steps"], teacher_tokens=taught)
    return replace(passes, seconds=seconds)


def search_compute(training: Job, read: Callable[[str], Result | None]) -> Compute | None:
    """The compute before a ticket's training: of all that it depends on, each job once.

    That is the mask with the search for it, the teacher, and the training that weights are rewound
    to.

    Args:
        training: the training of the ticket.
        read: key -> the result of a job, if there is one.

    Returns: None, if a part of it is not known.
    """
    before = Plan.of(training.parents.values()).jobs
    return total_compute(compute_of(read(job.key)) for job in before)


def total_compute(parts: Iterable[Compute | None]) -> Compute | None:
    """The sum; None, if a part of it is not known."""
    total = Compute()
    for part in parts:
        if part is None:
            return None
        total += part
    return total
