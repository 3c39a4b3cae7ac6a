"""Distillation: a network learns from a trained one's outputs as well as from labels."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tombola.base.specs import TrainSpec
from tombola.models.network import Network
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch
from tombola.tasks.kinds.kind import TASK_KINDS, TaskKind
from tombola.ticket.mask import Tensors

__all__ = ["Teacher"]


@dataclass(frozen=True)
class Teacher:
    """A trained network whose outputs another one learns from; its own weights are frozen."""

    model: PreTrainedModel
    kind: TaskKind
    share: float
    """Share of the loss that is the distance from its outputs."""
    temperature: float

    @classmethod
    def of(
        cls, network: Network, task: TaskDefinition, weights: Tensors, spec: TrainSpec
    ) -> "Teacher":
        """The teacher of a training.

        Args:
            network: the student; stays as it is.
            task: of both networks.
            weights: of the teacher, as `Network.weights` gives them.
            spec: the recipe, with `distill` and its temperature.

        Raises: ModelError, for weights of another network or of another head.
        """
        copy = replace(network, model=deepcopy(network.model))
        copy.load(weights)
        copy.model.eval().requires_grad_(False)
        kind = TASK_KINDS[task.kind]
        return cls(copy.model, kind, spec.distill, spec.distill_temperature)

    def loss(self, output: Any, answer: Any, batch: Batch) -> Tensor:
        """The loss of a network that learns from labels and from the teacher.

        Args:
            output: of the student, with the mean loss over the labels.
            answer: of the teacher, for the same inputs.
            batch: the inputs of both.

        Source: Hinton et al. 2015.
        """
        labels: Tensor = output.loss
        distance = self.kind.distance(output, answer, batch, self.temperature)
        return (1 - self.share) * labels + self.share * distance
