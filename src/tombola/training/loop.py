"""fit(): the only training loop.

The pruned weights of a mask stay zero: their gradients are zeroed before the clip norm is taken,
and they are filled with zero again after each step of the optimizer. Ranks that share a training
draw the same batches, take a part of each, and add up their gradients before the clip norm.

Source: AdamW with linear decay and clipping as in Chen et al. 2020, section 3.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_linear_schedule_with_warmup

from tombola.base.errors import SpecError
from tombola.base.seeds import derive_seed
from tombola.base.specs import WHOLE_COURSE, CourseSpec, TrainSpec
from tombola.kernel.fused.adamw import clip_gradient, held, optimizer_of
from tombola.models.network import Network
from tombola.tasks.data.batches import training_batches
from tombola.tasks.distillation import FeatureTeacher, Teacher
from tombola.tasks.examples import Batch, Examples
from tombola.tasks.task import Task
from tombola.ticket.mask import Mask
from tombola.training.checkpoint import Checkpoint, Companion, Training
from tombola.training.cuda_graphs import resident
from tombola.training.distributed import accelerator, agree_on_weights, world_size
from tombola.training.finite import FiniteCheck, all_finite
from tombola.training.gradient import Arithmetic, differentiating
from tombola.training.numerics import kernel, numerics
from tombola.training.steps import Diverged, OnStep, ignore_step

__all__ = ["FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """What one training did."""

    steps: int
    tokens: int
    """Tokens seen, padding not counted."""
    summed_learning_rate: float
    """Sum of the learning rate over the steps: about how far a weight can have moved."""
    loss: float
    """Mean training loss over the last tenth of the steps."""
    training_seconds: float
    earlier_seconds: float = 0.0
    """Those of them before this process resumed the training."""
    diverged: Diverged | None = None
    """Where its numbers stopped being finite; the training ends there."""


def fit(
    network: Network,
    task: Task,
    examples: Examples,
    mask: Mask,
    recipe: TrainSpec,
    *,
    scope: str,
    course: CourseSpec = WHOLE_COURSE,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep = ignore_step,
    on_gradient: Callable[[], None] | None = None,
    companion: Companion | None = None,
    replay: bool = True,
    teacher: Teacher | FeatureTeacher | None = None,
) -> FitResult:
    """Train the masked network from where it is, in place, as long as its numbers are finite.

    Args:
        task: what the network learns.
        examples: the examples of the training split.
        mask, scope: which weights of a scope are kept.
        recipe: its seeds included.
        course: which steps are done, as the whole training does them, but with fresh moments.
        checkpoint, companion: where the training is kept on the way, and what is kept with it.
        on_step: called after each step with the steps done and the steps of the course.
        on_gradient: called before a gradient, whole on every rank, is clipped; may change it.
        replay: whether a GPU may replay recorded gradients, see `differentiating`.
        teacher: what it learns from, besides the labels.

    Raises: SpecError, for steps that it lacks; OutputError, for copies; TombolaError, for ranks.
    """
    here, steps = accelerator(), recipe.steps(len(examples))
    first, last = _stretch(course, steps)
    training = _start(network, recipe, here, first=first, tail=(last - first) // 10)
    facts = _facts(network, task, examples, [scope, mask.digest()], recipe, course=course)
    copies = _Checkpointing.resume(training, companion, checkpoint, facts)
    done, parameters = first + training.steps, network.scope(scope)
    stepper = _Stepper(training, _schedule(training, recipe, course, steps, done), recipe.clip_norm)
    every = training_batches(network, task, examples, recipe, first=done, last=last)
    placed = resident(network.model, mask, here.device)
    gradient = _gradients(network, task, recipe, parameters, placed, replay=replay, teacher=teacher)
    with _held(training, parameters, placed, on_gradient) as fill, gradient as arithmetic:
        agree_on_weights("weights before the training", network.model, parameters, mask)
        for save in stepper.steps(every, arithmetic, copies, on_gradient):
            fill()
            copies.save(of=last - first, wanted=save)
            on_step(training.steps, last - first, stepper.check.loss)
    return _summary(stepper, network, parameters, mask)


def _gradients(
    network: Network,
    task: Task,
    recipe: TrainSpec,
    parameters: Mapping[str, nn.Parameter],
    mask: Mask,
    *,
    replay: bool,
    teacher: Teacher | FeatureTeacher | None,
) -> AbstractContextManager[Arithmetic]:
    """Take the gradients of a network under a mask, in a block."""
    here, held = accelerator(), mask if replay else None
    pruned: dict[Tensor, Tensor] = {
        p: mask[name] for name, p in parameters.items() if name in mask.pruned_tensors
    }
    return differentiating(network, task, recipe, here, held=held, pruned=pruned, teacher=teacher)


def _held(
    training: Training, parameters: Mapping[str, nn.Parameter], mask: Mask, reader: object
) -> AbstractContextManager[Callable[[], None]]:
    """Hold pruned weights at zero, in a block that is given what to call after each step."""
    optimizer, model, ranks = training.optimizer, training.model, world_size()
    return held(optimizer, model, parameters, mask, reader=reader, ranks=ranks)


@dataclass(frozen=True)
class _Checkpointing:
    """The copies of a training on disk, if it is saved."""

    training: Training
    checkpoint: Checkpoint | None
    facts: Mapping[str, Any]
    """What a training must have in common with a copy to resume from it."""

    @classmethod
    def resume(
        cls,
        training: Training,
        companion: Companion | None,
        checkpoint: Checkpoint | None,
        facts: Mapping[str, Any],
    ) -> "_Checkpointing":
        """The copies of a training and its companion, which go on from the newest of them."""
        training.companion = companion
        if checkpoint is not None:
            checkpoint.resume(training, facts)
        return cls(training, checkpoint, facts)

    def due(self) -> bool:
        """Whether it is time for one more."""
        return self.checkpoint is not None and self.checkpoint.due()

    def save(self, *, of: int, wanted: bool) -> None:
        """Report a step to the companion, then save a checkpoint if one is due."""
        self.training.tell(of)
        if self.checkpoint is not None and wanted:
            self.checkpoint.save(self.training, self.facts)


@dataclass
class _Stepper:
    """Takes the optimizer's steps, until a number is not finite."""

    training: Training
    schedule: LRScheduler
    clip_norm: float
    diverged: Diverged | None = None

    def __post_init__(self) -> None:
        device = next(self.training.model.parameters()).device
        self.check = FiniteCheck(device, self.training.steps)

    def steps(
        self,
        batches: Iterable[Batch],
        arithmetic: Arithmetic,
        copies: _Checkpointing,
        on_gradient: Callable[[], None] | None,
    ) -> Iterator[bool]:
        """Take a step for each batch, until a number is not finite; yield whether to save then."""
        for batch in batches:
            save = self._differentiate(batch, arithmetic, on_gradient, save=copies.due())
            if self.diverged:
                return
            self._step(arithmetic)
            yield save

    def _differentiate(
        self,
        batch: Batch,
        arithmetic: Arithmetic,
        on_gradient: Callable[[], None] | None,
        *,
        save: bool,
    ) -> bool:
        """Take the clipped gradient of a batch, and look whether it is finite.

        Args:
            batch: whole, on every rank.
            arithmetic: how gradients are taken.
            on_gradient: called before the gradient is clipped.
            save: whether this rank wants to save the training after the step.

        Returns: `save` as the first rank has it.
        """
        training, scaler = self.training, self.training.scaler
        loss, save = arithmetic.backward(batch, scaler, save=save)
        scaler.unscale_(training.optimizer)
        if on_gradient is not None:
            on_gradient()
        norm = clip_gradient(training.optimizer, training.model, self.clip_norm)
        rate = float(self.schedule.get_last_lr()[0])
        training.count(loss, rate, int(batch["attention_mask"].sum()))
        self.diverged = self.check.add(loss, None if scaler.is_enabled() else norm)
        if save:
            self.diverged = self.diverged or self.check.first_fault()
        return save

    def _step(self, arithmetic: Arithmetic) -> None:
        """Move the weights, and the learning rate."""
        self.training.scaler.step(self.training.optimizer)
        self.training.scaler.update()
        self.schedule.step()
        arithmetic.zero_grad(self.training.optimizer)

    def has_diverged(self) -> bool:
        """Whether any number was not finite, the weights at the end included."""
        self.diverged = self.diverged or self.check.first_fault()
        if not self.diverged and not all_finite(self.training.model.parameters()):
            self.diverged = Diverged(self.training.steps, "weights")
        return self.diverged is not None


def _summary(
    stepper: _Stepper, network: Network, parameters: Mapping[str, nn.Parameter], mask: Mask
) -> FitResult:
    """What a training did; its optimizer's state is freed."""
    training = stepper.training
    if not stepper.has_diverged():
        agree_on_weights("trained weights", network.model, parameters, mask)
    training.optimizer.state.clear()  # the schedule keeps the optimizer from being freed at once
    return FitResult(
        steps=training.steps,
        tokens=training.tokens,
        summed_learning_rate=training.summed_learning_rate,
        loss=float(torch.stack([*training.losses]).mean()),
        training_seconds=training.seconds,
        earlier_seconds=training.earlier,
        diverged=stepper.diverged,
    )


def _facts(
    network: Network,
    task: Task,
    examples: Examples,
    mask: Sequence[str],
    recipe: TrainSpec,
    *,
    course: CourseSpec,
) -> dict[str, Any]:
    """What a training must have in common with a checkpoint to resume from it."""
    return {
        "network": [network.fingerprint, network.config_digest],
        "task": [task.name, task.version, len(examples)],
        "mask": mask,
        "spec": asdict(recipe),
        "course": asdict(course),
        "numerics": numerics(recipe),
    }


def _schedule(
    training: Training, recipe: TrainSpec, course: CourseSpec, steps: int, done: int
) -> LRScheduler:
    """The learning rate after some steps: a linear warm-up, then a linear decay.

    Args:
        training: the training whose optimizer it sets.
        recipe: the recipe of the training.
        course: over how many lengths of the training it decays.
        steps: the steps of the whole training.
        done: those that were done before.
    """
    warmup, horizon = round(recipe.warmup * steps), steps * course.horizon
    schedule: LRScheduler = get_linear_schedule_with_warmup(
        training.optimizer, warmup, horizon, last_epoch=done - 1
    )
    return schedule


def _stretch(course: CourseSpec, steps: int) -> tuple[int, int]:
    """The first step of a course, and the one that it stops before."""
    last = course.last or steps
    if not course.first < last <= steps:
        raise SpecError(
            f"a course must lie within the {steps} steps of the training, got first {course.first} "
            f"and last {last}. Use earlier steps, or train for more epochs."
        )
    return course.first, last


def _start(
    network: Network, recipe: TrainSpec, here: Accelerator, *, first: int, tail: int
) -> Training:
    """A training before its first step, which keeps the losses of its last `tail` steps."""
    torch.manual_seed(derive_seed(recipe.noise_seed, _dropout(first, here.process_index)))
    network.model.to(here.device).train()
    network.model.zero_grad()  # of a training that was interrupted
    optimizer = optimizer_of(network.model, recipe, kernel(recipe))
    for group in optimizer.param_groups:
        # where a schedule begins later than at its start
        group["initial_lr"] = recipe.learning_rate
    scaler = GradScaler(here.device.type, enabled=recipe.precision == "fp16")
    return Training(network.model, optimizer, scaler, deque(maxlen=max(1, tail)))


def _dropout(first: int, rank: int) -> str:
    """Purpose of the stream that dropout draws from: one for each rank and each first step."""
    if rank:
        return f"dropout:{first}:{rank}"
    return f"dropout:{first}" if first else "dropout"
