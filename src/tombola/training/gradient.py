"""The gradient of a batch: its precision, its parts, and the ranks that share it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedModel

from tombola.base.errors import ModelError
from tombola.base.specs import IN_C, TrainSpec
from tombola.kernel.fused.weights import Weights, weights_for
from tombola.kernel.packed import KERNEL, SPARSE, SPARSE_ALWAYS, packable, packed
from tombola.kernel.sparse.masked import MaskedWeights, skipping
from tombola.kernel.varlen import VARLEN, in_one_row, packed_row, takes_one_row
from tombola.models.network import Network
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.distillation import FeatureTeacher, Portion, Teacher
from tombola.tasks.examples import Batch
from tombola.tasks.kinds.kind import TASK_KINDS, TaskKind
from tombola.ticket.mask import Mask
from tombola.training.cuda_graphs import Recorder, on_device, recorder_of
from tombola.training.determinism import deterministic, repeatable
from tombola.training.distributed import add_gradients, part
from tombola.training.faults import in_network
from tombola.training.numerics import kernel, refuse_unavailable

__all__ = ["Arithmetic", "differentiating", "to_device"]

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions whose matrix products are in sixteen bits."""

NOTHING: Mapping[Tensor, Tensor] = {}


@dataclass(frozen=True)
class Arithmetic:
    """How the gradient of a batch is taken."""

    network: Network
    kind: TaskKind
    recipe: TrainSpec
    here: Accelerator
    forward: Any
    """The model, or the compiled one."""
    recorder: Recorder | None = None
    """Recorded gradients, where a GPU replays them."""
    teacher: Teacher | FeatureTeacher | None = None
    """The teacher that the network learns from besides the labels, if any."""
    weights: Weights = field(default_factory=Weights)
    """The weights that the network multiplies with on a CPU; bf16 copies are made once a step."""

    def backward(
        self, batch: Batch, scaler: torch.amp.GradScaler, *, save: bool
    ) -> tuple[Tensor, bool]:
        """Add the gradient of the mean loss over the whole batch, to which each rank gives a part.

        Returns: that loss, and `save` as the first rank has it.
        """
        parts = min(self.recipe.accumulation, len(batch["input_ids"]))
        total = torch.zeros((), device=self.here.device)
        for rows in torch.arange(len(batch["input_ids"])).tensor_split(parts):
            some = {name: tensor[rows] for name, tensor in batch.items()}
            total += self._part(some, batch, scaler)
        if self.here.num_processes == 1:
            return total, save
        wish = torch.tensor(float(save and self.here.is_main_process), device=self.here.device)
        total, wishes = add_gradients(self.network.model.parameters(), torch.stack([total, wish]))
        return total, bool(wishes)

    def recorded(self, held: Mask) -> "Arithmetic":
        """This arithmetic, replayed from recorded gradients where it can be."""
        can = self.here.device.type == "cuda" and self.here.num_processes == 1
        if not can or self.recipe.precision == "fp16" or not self._in_one_row() or self.teacher:
            return self
        recorder = recorder_of(self.network.model, self.here.device)
        recorder.begin(
            (self.recipe.precision, self.recipe.max_length, self.kind.name, held.pruned_tensors)
        )
        return replace(self, recorder=recorder)

    def zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop the gradients; those of recorded ones stay where they are."""
        optimizer.zero_grad(set_to_none=self.recorder is None)
        self.weights.invalidate()

    def _part(self, rows: Batch, batch: Batch, scaler: torch.amp.GradScaler) -> Tensor:
        """Add the gradient of this rank's share of some rows to what the mean loss over a batch is.

        Returns: what it adds to that loss.
        """
        drop = partial(self.network.model.zero_grad, set_to_none=self.recorder is None)
        return repeatable(self._differentiating(rows, batch, scaler), drop)  # of the first part

    def _differentiating(
        self, rows: Batch, batch: Batch, scaler: torch.amp.GradScaler
    ) -> Callable[[], Tensor]:
        """What adds the gradient of this rank's share of some rows, and gives what they add to the
        loss."""
        mine = part(rows, self.here)
        portion = self._portion(mine, batch)
        if portion.labels and self._in_one_row():
            row = packed_row(self.network.model, mine, self.kind.reads)
            row["weight"] = torch.tensor(portion.labels)
            of_row = partial(self._differentiate_row, scaler=scaler)
            if self.recorder is not None:
                return partial(self.recorder, row, of_row)
            return partial(of_row, to_device(row, self.here.device))
        if not len(mine["input_ids"]):
            mine = {name: tensor[:1] for name, tensor in batch.items()}
        return partial(self._differentiate, mine, portion, scaler)

    def _portion(self, rows: Batch, batch: Batch) -> Portion:
        """The part that rows have in a batch: of its masked tokens, or examples, and of what the
        distance from the teacher is the mean of."""
        labels = _share(self.kind.count_targets, rows, batch)
        teacher = self.teacher
        return Portion(labels, _share(teacher.count_terms, rows, batch) if teacher else labels)

    def _in_one_row(self) -> bool:
        known = takes_one_row(self.network.model, self.kind.reads)
        return kernel(self.recipe) == VARLEN and known and not self._asked

    @property
    def _asked(self) -> Mapping[str, Any]:
        """Inputs of the model besides the batch, where it computes its own blocks."""
        return self.teacher.asks if self.teacher else {}

    def _differentiate_row(self, row: Batch, scaler: torch.amp.GradScaler) -> Tensor:
        """Add the gradient of a batch without padding, times its `weight`, and so its loss."""
        weight = row["weight"]
        texts = {name: tensor for name, tensor in row.items() if name != "weight"}
        model, reads = self.network.model, self.kind.reads
        with (
            self.autocast(),
            in_network(self.network.name, texts),
            in_one_row(model, texts, reads, self.recipe.max_length) as inputs,
        ):
            portion = Portion(weight, weight)
            output = self.forward(**inputs)
            loss = self._loss_of(output, texts, self._answer_in_one_row, portion)
            scaler.scale(loss).backward()
        return loss.detach()

    def _answer_in_one_row(self, model: PreTrainedModel, row: Batch) -> Any:
        with in_one_row(model, row, self.kind.reads, self.recipe.max_length) as inputs:
            return model(**inputs)

    def _differentiate(
        self, batch: Batch, portion: Portion, scaler: torch.amp.GradScaler
    ) -> Tensor:
        """Add the gradient of what rows add to the loss of their batch, and likewise the loss."""
        loss = self._loss(to_device(batch, self.here.device), portion)
        scaler.scale(loss).backward()
        return loss.detach()

    def autocast(self) -> torch.autocast:
        """A context in which the network computes at the recipe's precision."""
        half = HALVES.get(self.recipe.precision)
        return torch.autocast(self.here.device.type, dtype=half, enabled=half is not None)

    def _loss(self, batch: Batch, portion: Portion) -> Tensor:
        """What rows add to the loss of their batch; zero of the same parameters for nothing."""
        if not portion.labels:
            labels = self.kind.label_names
            batch = {name: tensor for name, tensor in batch.items() if name not in labels}
        with self.autocast():
            output = self._output(batch)
            if not portion.labels:
                outputs = [out for out in output.to_tuple() if isinstance(out, Tensor)]
                output.loss = torch.stack([0.0 * out.float().sum() for out in outputs]).sum()
            if not (portion.labels or portion.distance):
                nothing: Tensor = output.loss
                return nothing
            return self._loss_of(output, batch, self._answer, portion)

    def _loss_of(
        self,
        output: Any,
        batch: Batch,
        answer: Callable[[PreTrainedModel, Batch], Any],
        portion: Portion,
    ) -> Tensor:
        """What rows add to the loss; `answer` computes the teacher's outputs for the same rows."""
        if self.teacher is None:
            loss: Tensor = output.loss * portion.labels
            return loss
        with torch.no_grad():
            wanted = answer(self.teacher.model, batch)
        return self.teacher.loss(output, wanted, batch, portion)

    def _output(self, batch: Batch) -> Any:
        return self._call(self.network.model, self.forward, batch)

    def _answer(self, model: PreTrainedModel, batch: Batch) -> Any:
        return self._call(model, model, batch)

    def _call(self, model: PreTrainedModel, forward: Any, batch: Batch) -> Any:
        """The outputs of a model, computed by the kernel of the recipe."""
        with in_network(self.network.name, batch):
            name = kernel(self.recipe)
            if name not in (KERNEL, *IN_C) or not packable(model):
                return forward(**batch, **self._asked)
            states: list[Tensor] | None = [] if self._asked else None
            what = model, batch, self.kind.reads, name, self.weights
            with packed(*what, states=states) as inputs:
                output = forward(**inputs)
            if states:
                output.hidden_states = tuple(states)
            return output


@contextmanager
def differentiating(
    network: Network,
    task: TaskDefinition,
    recipe: TrainSpec,
    here: Accelerator,
    *,
    held: Mask | None = None,
    pruned: Mapping[Tensor, Tensor] = NOTHING,
    teacher: Teacher | FeatureTeacher | None = None,
) -> Iterator[Arithmetic]:
    """Prepare the network for the gradients of a training, and restore it afterwards.

    Args:
        network: the network, on the device.
        task: what it learns.
        recipe: of the training.
        here: the device, and the ranks.
        held: the mask that is held, where a GPU may record gradients and replay them: hooks of
            parameters are then called while one is recorded only. It is `resident`.
        pruned: weight -> its mask, which is held; some kernels skip the zeros.
        teacher: what it learns from, besides the labels; with one, no gradient is recorded.

    Raises: SpecError, if precision or kernel need what is not there; ModelError, if the
        network has no gradient checkpointing.
    """
    refuse_unavailable(recipe)
    model = network.model
    forward = torch.compile(model, dynamic=True) if recipe.compile else model
    if recipe.gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            raise ModelError(
                f"expected a network with gradient checkpointing, and {network.name!r} has none. "
                f"Leave the knob out."
            )
        _compute_blocks_again(model, True)
    if teacher is not None:
        teacher.model.to(here.device)
    kind = TASK_KINDS[task.kind]
    weights = _weights(recipe, pruned)
    arithmetic = Arithmetic(network, kind, recipe, here, forward, teacher=teacher, weights=weights)
    try:
        with deterministic(here.device), skipping(model, weights):
            yield arithmetic if held is None else arithmetic.recorded(held)
    finally:
        if recipe.gradient_checkpointing:
            _compute_blocks_again(model, False)


def _share(count: Callable[[Batch], int], rows: Batch, batch: Batch) -> float:
    """The share of a batch's terms that some of its rows have."""
    return count(rows) / max(1, count(batch))


def _weights(recipe: TrainSpec, pruned: Mapping[Tensor, Tensor]) -> Weights:
    """The weights that a network multiplies with on a CPU."""
    name = kernel(recipe)
    if name not in (SPARSE, SPARSE_ALWAYS):
        return weights_for(recipe.precision)
    return MaskedWeights(pruned, always=name == SPARSE_ALWAYS)


def _compute_blocks_again(model: Any, wanted: bool) -> None:
    """Start or stop gradient checkpointing, under the name it has in this transformers."""
    name = "enable" if wanted else "disable"
    change = getattr(model, f"activation_checkpointing_{name}", None)
    change = change or getattr(model, f"gradient_checkpointing_{name}")
    change(*[{"use_reentrant": False}] * wanted)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch, moved to a device."""
    if device.type == "cuda":
        return on_device(batch, device)
    return {name: tensor.to(device) for name, tensor in batch.items()}
