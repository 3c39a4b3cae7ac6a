"""What a network made of each example: one row for each, whatever the kind of task."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from tombola.task.data import Batch, Examples, Numbers
from tombola.task.metrics import Outcome, answer_f1, exact_match

__all__ = ["LONGEST_ANSWER", "OUTCOMES", "best_answer"]

LONGEST_ANSWER = 30
"""Tokens of the longest answer that is considered in a span task."""


def _classes(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    return torch.stack([output.logits.argmax(-1).cpu(), labels["labels"]], dim=1).double().numpy()


def _values(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    return torch.stack([output.logits[:, 0].cpu(), labels["labels"]], dim=1).double().numpy()


def _restored(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    masked = labels["labels"] >= 0
    hits = (output.logits.argmax(-1).cpu() == labels["labels"]) & masked
    return torch.stack([hits.sum(1), masked.sum(1)], dim=1).double().numpy()


def _answers(output: Any, labels: Batch, examples: Examples, numbers: Numbers) -> Outcome:
    starts, ends = output.start_logits.cpu().numpy(), output.end_logits.cpu().numpy()
    rows = []
    for row, n in enumerate(numbers):
        answer = best_answer(starts[row], ends[row], examples, int(n))
        golds = examples.rows[n]["answers"]["text"]
        f1 = max(answer_f1(answer, gold) for gold in golds)
        rows.append((f1, max(exact_match(answer, gold) for gold in golds)))
    return np.array(rows)


def best_answer(start: Any, end: Any, examples: Examples, number: int) -> str:
    """Text of the span in the context with the largest sum of start and end scores."""
    offsets = np.array(examples.offsets[number])
    inside = offsets[:, 1] > offsets[:, 0]
    first = np.where(inside, start[: len(offsets)], -np.inf)
    last = np.where(inside, end[: len(offsets)], -np.inf)
    total = first[:, None] + last[None, :]
    reach = np.tri(len(offsets), k=LONGEST_ANSWER - 1) - np.tri(len(offsets), k=-1)
    total[reach == 0] = -np.inf
    a, b = np.unravel_index(int(np.argmax(total)), total.shape)
    return str(examples.rows[number]["context"][offsets[a, 0] : offsets[b, 1]])


OUTCOMES: Mapping[str, Callable[[Any, Batch, Examples, Numbers], Outcome]] = {
    "classification": _classes,
    "regression": _values,
    "mlm": _restored,
    "span": _answers,
}
"""Kind of task -> (output, labels, examples, their numbers) -> rows, see `metrics`."""
