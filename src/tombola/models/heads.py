"""The head that a task puts on an encoder, on any architecture that has one in transformers."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForSequenceClassification,
)

from tombola.kernel.reads import Reads

__all__ = ["TaskHead", "sequence_head"]


@dataclass(frozen=True, kw_only=True)
class TaskHead:
    """A head of transformers, with the configuration that a task gives it."""

    kind: str
    """The kind of task, for messages."""
    load: Callable[..., Any]
    """`from_pretrained` of the class that has this head."""
    fits: Container[type]
    """Configurations of the architectures that have it."""
    reads: Reads
    """Which of the encoder's vectors it reads."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Configuration that the class needs, whatever the network's own has."""
    classes: int = 0
    """Number of classes; 0 where its output is something else."""
    pretrained: bool = False
    """Whether it was trained with the encoder, so that it starts from the files that have it."""

    @property
    def auto_class(self) -> str:
        """Name of the class of transformers whose `from_pretrained` loads it."""
        loader: Any = self.load
        return str(loader.__self__.__name__)


def sequence_head(kind: str, settings: Mapping[str, Any], *, classes: int = 0) -> TaskHead:
    """The head that reads one vector of a text: sequence classification, or regression.

    Args:
        kind: the kind of task.
        settings: `problem_type` and `num_labels`, which decide the loss.
        classes: see `TaskHead`.
    """
    return TaskHead(
        kind=kind,
        load=AutoModelForSequenceClassification.from_pretrained,
        fits=MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        reads=Reads.FIRST,
        settings=settings,
        classes=classes,
    )
