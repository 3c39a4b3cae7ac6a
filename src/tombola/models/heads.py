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

from tombola.base.errors import ModelError
from tombola.base.registry import Registry
from tombola.models.loading import load_configuration

__all__ = ["HEADS", "KEPT", "Head", "check_head", "head_settings"]

KEPT = ("mlm",)
"""Kinds of task whose head is pre-trained, and is not drawn where the files have it."""


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


def head_settings(kind: str, classes: int) -> dict[str, Any]:
    """Configuration that the class of a kind needs, whatever the network's own has.

    Args:
        kind: of task.
        classes: number of classes; only classification has more than one output.
    """
    outputs = {"classification": classes, "regression": 1, "span": 2}
    return dict(HEADS[kind].settings) | ({"num_labels": outputs[kind]} if kind in outputs else {})


def check_head(model: str, kind: str) -> None:
    """Refuse a kind of task for which the architecture has no head.

    Raises: ModelError, naming the kinds for which it has one.
    """
    config = load_configuration(model)
    if type(config) not in HEADS[kind].fits:
        others = [name for name in HEADS if type(config) in HEADS[name].fits]
        raise ModelError(
            f"a task of the kind {kind!r} needs a head that {config.model_type} doesn't have in "
            f"transformers; {model!r} can do {', '.join(others) or 'none'}. Take another task or "
            f"another model."
        )
