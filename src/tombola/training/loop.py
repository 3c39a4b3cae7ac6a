"""fit(): the only training loop.

The dead weights of a mask stay zero: their gradients are zeroed before the clip norm is taken,
and they are filled with zero again after each step of the optimizer. Ranks that share a training
draw the same batches, take a part of each, and add up their gradients before the clip norm.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.amp import GradScaler
from transformers import get_linear_schedule_with_warmup

from tombola.base.errors import SpecError
from tombola.base.seeds import stream
from tombola.base.specs import CourseSpec, TrainSpec
from tombola.models.network import Network
from tombola.tasks.data.batches import batches, collate
from tombola.tasks.data.encode import chosen
from tombola.tasks.examples import Batch, Examples
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import Task
from tombola.ticket.mask import Mask, hold
from tombola.training.checkpoint import Checkpoint, Training
from tombola.training.distributed import (
    accelerator,
    agree,
    agree_on_weights,
    device_type,
    world_size,
)
from tombola.training.divergence import Diverged
from tombola.training.finite import FiniteCheck, all_finite
from tombola.training.gradient import differentiating, kernel

__all__ = ["Fit", "fit", "numerics"]

WHOLE = CourseSpec()
"""A training from its first step to its last."""

Watch = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


@dataclass(frozen=True)
class Fit:
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
    """Those of them before this process took the training up."""
    diverged: Diverged | None = None
    """Where its numbers ceased to be finite; it ends there."""


def fit(
    network: Network,
    task: Task,
    examples: Examples,
    mask: Mask,
    spec: TrainSpec,
    *,
    scope: str,
    course: CourseSpec = WHOLE,
    checkpoint: Checkpoint | None = None,
    watch: Watch = lambda done, steps: None,
) -> Fit:
    """Train the masked network as it stands, in place.

    Args:
        network: at its starting weights, see `Network.rewind`.
        task: what the labels mean.
        examples: of the training split.
        mask: which weights of the scope live.
        spec: recipe and seed.
        scope: the scope that the mask is for.
        course: which steps of the training are done; batches and learning rates are those that
            the whole training has at these steps, and the optimizer's moments start from zero.
        checkpoint: where the training is kept meanwhile, and taken up again.
        watch: told of every step, counted from the course's first.

    Returns: what it did; a training whose numbers cease to be finite ends there.
    Raises: SpecError, if the training has no such steps; OutputError, if the checkpoint can't be
        written; TombolaError, if the ranks of one training differ.
    Source: AdamW with linear decay and clipping as in Chen et al. 2020, section 3.
    """
    here, steps, kind = accelerator(), spec.steps(len(examples)), TASK_KINDS[task.kind]
    first, last = _stretch(course, steps)
    digest = mask.digest()
    agree("mask", digest)
    training = _start(network, spec, here, tail=(last - first) // 10)
    torch.manual_seed(stream(spec.noise_seed, _dropout(first, here.process_index)))
    facts = {
        "network": [network.fingerprint, network.config_digest],
        "task": [task.name, task.version, len(examples)],
        "mask": [scope, digest],
        "spec": asdict(spec),
        "course": asdict(course),
        "numerics": numerics(spec),
    }
    if checkpoint is not None:
        checkpoint.resume(training, facts)
    schedule = get_linear_schedule_with_warmup(
        training.optimizer,
        round(spec.warmup * steps),
        steps * course.horizon,
        last_epoch=first + training.steps - 1,
    )
    parameters = network.scope(scope)
    check, diverged = FiniteCheck(here.device, training.steps), None
    with hold(parameters, mask) as held, differentiating(network, kind, spec, here) as arithmetic:
        agree_on_weights("weights before the training", network.model, parameters, mask)
        for batch in _training_batches(
            network, task, examples, spec, first=first + training.steps, last=last
        ):
            save = checkpoint is not None and checkpoint.due()
            loss, save = arithmetic.backward(batch, training.scaler, save=save)
            training.scaler.unscale_(training.optimizer)
            norm = nn.utils.clip_grad_norm_(training.model.parameters(), spec.clip_norm)
            training.count(loss, schedule.get_last_lr()[0], int(batch["attention_mask"].sum()))
            diverged = check.add(loss, None if training.scaler.is_enabled() else norm)
            if save:
                diverged = diverged or check.first_fault()
            if diverged:
                break
            training.scaler.step(training.optimizer)
            training.scaler.update()
            schedule.step()
            training.optimizer.zero_grad()
            held.fill(parameters)
            if checkpoint is not None and save:
                checkpoint.save(training, facts)
            watch(training.steps, last - first)
    diverged = diverged or check.first_fault()
    if not diverged and not all_finite(network.model.parameters()):
        diverged = Diverged(training.steps, "weights")
    if not diverged:
        agree_on_weights("trained weights", network.model, parameters, mask)
    training.optimizer.state.clear()  # the schedule keeps the optimizer from being freed at once
    return Fit(
        steps=training.steps,
        tokens=training.tokens,
        summed_learning_rate=training.summed_learning_rate,
        loss=float(torch.stack([*training.losses]).mean()),
        training_seconds=training.seconds,
        earlier_seconds=training.earlier,
        diverged=diverged,
    )


def _stretch(course: CourseSpec, steps: int) -> tuple[int, int]:
    """The first step of a course, and the one that it stops before."""
    last = course.last or steps
    if not course.first < last <= steps:
        raise SpecError(
            f"a course is within the {steps} steps of the training, got first {course.first} and "
            f"last {last}. Take earlier steps, or train for more epochs."
        )
    return course.first, last


def _start(network: Network, spec: TrainSpec, here: Accelerator, *, tail: int) -> Training:
    """A training before its first step, which keeps the losses of its last `tail` steps."""
    network.model.to(here.device).train()
    network.model.zero_grad()  # of a training that was interrupted
    optimizer = torch.optim.AdamW(
        network.model.parameters(),
        lr=spec.learning_rate,
        weight_decay=spec.weight_decay,
        fused=True,
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = spec.learning_rate  # where a schedule begins later than at its start
    scaler = GradScaler(here.device.type, enabled=spec.precision == "fp16")
    return Training(network.model, optimizer, scaler, deque(maxlen=max(1, tail)))


def _dropout(first: int, rank: int) -> str:
    """Purpose of the stream that dropout draws from: one for each rank and each first step."""
    if rank:
        return f"dropout:{first}:{rank}"
    return f"dropout:{first}" if first else "dropout"


def _training_batches(
    network: Network, task: Task, examples: Examples, spec: TrainSpec, *, first: int, last: int
) -> Iterator[Batch]:
    """The batches of some steps of a training, whole on every rank.

    Order and masked tokens each come from a generator of their own. The steps before the first
    draw from them as well, so that a step has the same batch wherever a training begins.
    """
    order = torch.Generator().manual_seed(stream(spec.noise_seed, "order"))
    masks = torch.Generator().manual_seed(stream(spec.noise_seed, "masks"))
    used = chosen(len(examples), spec.train_limit)
    done = 0
    while True:
        for places in batches(examples.lengths[used], spec.batch_size, order):
            if done == last:
                return
            numbers, wanted = used[places], done >= first
            if wanted:
                batch = collate(examples, numbers, task, network.pad)
            else:
                size = len(numbers), int(examples.lengths[numbers].max())
                batch = {"input_ids": torch.zeros(size, dtype=torch.int64)}
            batch = TASK_KINDS[task.kind].corrupt(batch, network.tokenizer, masks)
            if wanted:
                yield batch
            done += 1


def numerics(spec: TrainSpec) -> dict[str, Any]:
    """What the bits of a result depend on besides its spec."""
    return {
        "device": device_type(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "precision": spec.precision,
        "kernel": kernel(spec),
        **{name: version(name) for name in ("torch", "transformers", "accelerate")},
    }
