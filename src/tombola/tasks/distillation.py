"""Distillation: a network learns from another one as well as from labels.

It learns from the outputs of a trained network, or from the hidden states of the pre-trained one.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedModel

from tombola.base.specs import TrainSpec
from tombola.models.network import Network
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch
from tombola.tasks.kinds.kind import TASK_KINDS, TaskKind
from tombola.ticket.mask import Tensors

__all__ = ["WHOLE_BATCH", "FeatureTeacher", "Portion", "Teacher", "cosine_distance"]


@dataclass(frozen=True)
class Portion:
    """The part that some rows have in the two means that make up the loss of a batch."""

    labels: float | Tensor
    """Share of the terms that the loss of labels is the mean of, in [0, 1]."""
    distance: float | Tensor
    """Share of those that the distance from a teacher is the mean of, in [0, 1]."""


WHOLE_BATCH = Portion(1.0, 1.0)


@dataclass(frozen=True)
class Teacher:
    """A trained network whose outputs another one learns from; its own weights are frozen."""

    asks: ClassVar[Mapping[str, Any]] = {}
    """Inputs of both models besides the batch."""

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
            task: the task of both networks.
            weights: the teacher's weights, as `Network.weights` gives them.
            spec: the recipe, with `distill` and its temperature.

        Raises: ModelError, for weights of another network or of another head.
        """
        copy = replace(network, model=deepcopy(network.model))
        copy.load(weights)
        copy.model.eval().requires_grad_(False)
        kind = TASK_KINDS[task.kind]
        return cls(copy.model, kind, spec.distill, spec.distill_temperature)

    def count_terms(self, batch: Batch) -> int:
        """How many terms the distance of a batch is the mean of: as many as the loss of labels."""
        return self.kind.count_targets(batch)

    def loss(
        self, output: Any, answer: Any, batch: Batch, portion: Portion = WHOLE_BATCH
    ) -> Tensor:
        """The loss of a network that learns from labels and from the teacher.

        Args:
            output: the student's output, with the mean loss over the labels.
            answer: the teacher's answer to the same inputs.
            batch: the inputs of both.
            portion: the part that these rows have in their batch.

        Source: Hinton et al. 2015.
        """
        labels: Tensor = output.loss
        distance = self.kind.distance(output, answer, batch, self.temperature)
        return ((1 - self.share) * labels + self.share * distance) * portion.labels


@dataclass(frozen=True)
class FeatureTeacher:
    """The pre-trained network, whose hidden states the same network under a mask learns from."""

    asks: ClassVar[Mapping[str, Any]] = {"output_hidden_states": True}
    """Inputs of both models besides the batch."""

    model: PreTrainedModel
    share: float
    """Share of the loss that is the distance from its hidden states."""

    @classmethod
    def of(cls, network: Network, share: float) -> "FeatureTeacher":
        """The teacher of a network, which stays as it is: a copy at its pre-trained weights."""
        copy = replace(network, model=deepcopy(network.model))
        copy.load(network.pretrained)
        copy.model.eval().requires_grad_(False)
        return cls(copy.model, share)

    def count_terms(self, batch: Batch) -> int:
        """How many terms the distance of a batch is the mean of: tokens that are no padding."""
        return int(batch["attention_mask"].sum())

    def loss(
        self, output: Any, answer: Any, batch: Batch, portion: Portion = WHOLE_BATCH
    ) -> Tensor:
        """The loss of a network that learns from labels and from hidden states.

        Args:
            output: the student's output, with the mean loss over the labels.
            answer: the teacher's answer to the same inputs.
            batch: the inputs of both.
            portion: the part that these rows have in their batch; masked tokens and tokens
                are shared unequally.

        Source: Liu et al. 2022, with the loss of their code.
        """
        labels: Tensor = output.loss
        states = output.hidden_states[1:], answer.hidden_states[1:]  # without the embeddings
        distance = cosine_distance(*states, batch["attention_mask"].bool())
        of_labels = (1 - self.share) * labels * portion.labels
        return of_labels + self.share * distance * portion.distance


def cosine_distance(student: Sequence[Tensor], teacher: Sequence[Tensor], tokens: Tensor) -> Tensor:
    """The mean over blocks and tokens of one minus the cosine between two hidden states.

    Args:
        student: the student's hidden states of each block, (texts, length, width), or (tokens,
            width) without padding.
        teacher: the teacher's, in the same shapes.
        tokens: (texts, length), False for padding.
    """

    def real(states: Tensor) -> Tensor:
        return states.float() if states.ndim == 2 else states[tokens].float()

    pairs = zip(student, teacher, strict=True)
    return 1 - torch.stack([cosine_similarity(real(a), real(b), -1) for a, b in pairs]).mean()
