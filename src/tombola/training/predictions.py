"""What a network made of each example: one row for each, whatever the kind of task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tombola.tasks.examples import Batch, Examples, Numbers
from tombola.tasks.metrics import Outcome
from tombola.tasks.spans import marked_answers, window_answers
from tombola.tasks.task import Task

__all__ = ["OUTCOMES", "Outcomes", "rows_of"]


def _classes(
    output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: Task
) -> Outcome:
    return torch.stack([output.logits.argmax(-1).cpu(), labels["labels"]], dim=1).double().numpy()


def _values(
    output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: Task
) -> Outcome:
    return torch.stack([output.logits[:, 0].cpu(), labels["labels"]], dim=1).double().numpy()


def _restored(
    output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: Task
) -> Outcome:
    masked = labels["labels"] >= 0
    hits = torch.zeros_like(masked)
    hits[masked] = output.logits.argmax(-1).cpu() == labels["labels"][masked]
    return torch.stack([hits.sum(1), masked.sum(1)], dim=1).double().numpy()


def _answers(
    output: Any, labels: Batch, examples: Examples, numbers: Numbers, task: Task
) -> Outcome:
    starts, ends = output.start_logits.cpu().numpy(), output.end_logits.cpu().numpy()
    return window_answers(starts, ends, examples, numbers, task)


def _logits(output: Any, batch: Batch) -> tuple[Tensor, ...]:
    return (output.logits,)


def _both_ends(output: Any, batch: Batch) -> tuple[Tensor, ...]:
    tokens = batch["attention_mask"].bool()
    return output.start_logits.cpu()[tokens], output.end_logits.cpu()[tokens]


@dataclass(frozen=True)
class Outcomes:
    """How a kind of task is scored."""

    of_batch: Callable[[Any, Batch, Examples, Numbers, Task], Outcome]
    """(output, labels, examples, their numbers, task) -> a row for each of the batch."""
    logits: Callable[[Any, Batch], tuple[Tensor, ...]] = _logits
    """(output, inputs) -> what is read of the output, padding left out."""
    columns: int = 2
    """Of these rows."""


OUTCOMES: Mapping[str, Outcomes] = {
    "classification": Outcomes(_classes),
    "regression": Outcomes(_values),
    "mlm": Outcomes(_restored),
    "span": Outcomes(_answers, columns=3, logits=_both_ends),
}
"""Kind of task -> how it is scored, see `metrics`."""


def rows_of(outcome: Outcome, examples: Examples, task: Task) -> Outcome:
    """The rows that a metric takes, of those that the batches gave: windows become questions."""
    outcome = np.asarray(outcome)
    return marked_answers(outcome, examples, task) if task.kind == "span" else outcome
