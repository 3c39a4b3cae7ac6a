"""What a kind of task puts on top of the encoder."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)

from tombola.registry import Registry

__all__ = ["HEADS", "Head"]


@dataclass(frozen=True)
class Head:
    """The head of a kind of task, on any architecture that has one."""

    load: Callable[..., Any]
    """The `from_pretrained` of the class with that head."""
    fits: Container[type]
    """Configurations of the architectures that have it."""
    settings: Mapping[str, Any]
    """Configuration that the class needs, apart from the number of classes."""


def _heads() -> Registry[Head]:
    heads: Registry[Head] = Registry("kind of task")
    load, fits = AutoModelForSequenceClassification, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    for kind, problem in (
        ("classification", "single_label_classification"),
        ("regression", "regression"),
    ):
        heads.register(kind)(Head(load.from_pretrained, fits, {"problem_type": problem}))
    span, spans = AutoModelForQuestionAnswering, MODEL_FOR_QUESTION_ANSWERING_MAPPING
    heads.register("span")(Head(span.from_pretrained, spans, {}))
    masked, fillers = AutoModelForMaskedLM, MODEL_FOR_MASKED_LM_MAPPING
    heads.register("mlm")(Head(masked.from_pretrained, fillers, {}))
    return heads


HEADS = _heads()
