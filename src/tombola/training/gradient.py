"""The gradient of a batch: its precision, its parts, and the ranks that share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from tombola.base.errors import ModelError, SpecError
from tombola.base.specs import TrainSpec
from tombola.kernel.packed import KERNEL, packed
from tombola.models.network import Network
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch
from tombola.tasks.kinds.kind import TASK_KINDS, TaskKind
from tombola.training.distributed import add_gradients, part
from tombola.training.faults import in_network
from tombola.training.numerics import kernel

__all__ = ["Arithmetic", "differentiating", "to_device"]

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions whose matrix products are in sixteen bits."""


@dataclass(frozen=True)
class Arithmetic:
    """How the gradient of a batch is taken."""

    network: Network
    kind: TaskKind
    spec: TrainSpec
    here: Accelerator
    forward: Any
    """The model, or the compiled one."""

    def backward(
        self, batch: Batch, scaler: torch.amp.GradScaler, *, save: bool
    ) -> tuple[Tensor, bool]:
        """Add the gradient of the mean loss over the whole batch, to which each rank gives a part.

        Returns: that loss, and `save` as the first rank has it.
        """
        parts = min(self.spec.accumulation, len(batch["input_ids"]))
        total = torch.zeros((), device=self.here.device)
        for rows in torch.arange(len(batch["input_ids"])).tensor_split(parts):
            loss = self._part({name: tensor[rows] for name, tensor in batch.items()}, batch)
            scaler.scale(loss).backward()
            total += loss.detach()
        if self.here.num_processes == 1:
            return total, save
        wish = torch.tensor(float(save and self.here.is_main_process), device=self.here.device)
        total, wishes = add_gradients(self.network.model.parameters(), torch.stack([total, wish]))
        return total, bool(wishes)

    def _part(self, rows: Batch, batch: Batch) -> Tensor:
        """What this rank's share of some rows adds to the mean loss over a batch."""
        mine = part(rows, self.here)
        weight = self._targets(mine) / max(1, self._targets(batch))
        if not len(mine["input_ids"]):
            mine = {name: tensor[:1] for name, tensor in batch.items()}
        return self._loss(to_device(mine, self.here.device), weight)

    def _targets(self, batch: Batch) -> int:
        """Number of terms that the loss is the mean of: masked tokens or examples."""
        return self.kind.count_targets(batch)

    def _loss(self, batch: Batch, weight: float) -> Tensor:
        """The mean loss over rows times a weight; where that is 0, zero of the same parameters."""
        half = HALVES.get(self.spec.precision)
        if not weight:
            labels = self.kind.label_names
            batch = {name: tensor for name, tensor in batch.items() if name not in labels}
        with torch.autocast(self.here.device.type, dtype=half, enabled=half is not None):
            output = self._output(batch)
            if weight:
                loss: Tensor = output.loss
                return loss * weight
            outputs = [out for out in output.to_tuple() if isinstance(out, Tensor)]
            return torch.stack([0.0 * out.float().sum() for out in outputs]).sum()

    def _output(self, batch: Batch) -> Any:
        with in_network(self.network.name, batch):
            if kernel(self.spec) != KERNEL:
                return self.forward(**batch)
            with packed(self.network.model, batch, self.kind.reads) as inputs:
                return self.forward(**inputs)


@contextmanager
def differentiating(
    network: Network, task: TaskDefinition, spec: TrainSpec, here: Accelerator
) -> Iterator[Arithmetic]:
    """Prepare the network for the gradients of a training, and restore it afterwards.

    Raises: SpecError, if the precision needs a device that is not there; ModelError, if the
        network has no gradient checkpointing.
    """
    if spec.precision == "fp16" and here.device.type != "cuda":
        raise SpecError(
            f"precision fp16 needs a CUDA device, got {here.device.type}. Take bf16 or fp32."
        )
    model = network.model
    forward = torch.compile(model, dynamic=True) if spec.compile else model
    if spec.gradient_checkpointing:
        if not model.supports_gradient_checkpointing:
            raise ModelError(
                f"expected a network with gradient checkpointing, and {network.name!r} has none. "
                f"Leave the knob out."
            )
        _compute_blocks_again(model, True)
    try:
        yield Arithmetic(network, TASK_KINDS[task.kind], spec, here, forward)
    finally:
        if spec.gradient_checkpointing:
            _compute_blocks_again(model, False)


def _compute_blocks_again(model: Any, wanted: bool) -> None:
    """Start or stop gradient checkpointing, under the name it has in this transformers."""
    name = "enable" if wanted else "disable"
    change = getattr(model, f"activation_checkpointing_{name}", None)
    change = change or getattr(model, f"gradient_checkpointing_{name}")
    change(*[{"use_reentrant": False}] * wanted)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch on a device."""
    return {name: tensor.to(device) for name, tensor in batch.items()}
