"""Scores in points (0 to 100) from one row of outcome per test example.

Whatever a metric needs to know of an example stands in its row, so that a bootstrap over examples
is a choice of rows.
"""

import string
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr

from tombola.registry import Registry

__all__ = ["METRICS", "Metric", "Outcome", "answer_f1", "exact_match", "normalise_answer"]

Outcome = NDArray[np.float64]
"""(examples, columns): what one network made of each test example."""

Metric = Callable[[Outcome], float]
METRICS: Registry[Metric] = Registry("metric")


@METRICS.register("accuracy")
def accuracy(outcome: Outcome) -> float:
    """Percentage of examples whose prediction (column 0) is the label (column 1)."""
    return 100.0 * float(np.mean(outcome[:, 0] == outcome[:, 1]))


@METRICS.register("pearson")
def pearson(outcome: Outcome) -> float:
    """Pearson correlation of predictions (column 0) and labels (column 1), times 100.

    Zero where either side is constant, as in GLUE's own script.
    """
    if np.ptp(outcome[:, 0]) == 0 or np.ptp(outcome[:, 1]) == 0:
        return 0.0
    return 100.0 * float(pearsonr(outcome[:, 0], outcome[:, 1]).statistic)


@METRICS.register("f1")
def f1(outcome: Outcome) -> float:
    """Mean over examples of the answer's word F1 (column 0), times 100."""
    return 100.0 * float(np.mean(outcome[:, 0]))


@METRICS.register("masked-accuracy")
def masked_accuracy(outcome: Outcome) -> float:
    """Percentage of masked tokens restored: hits (column 0) over masked tokens (column 1)."""
    masked = float(outcome[:, 1].sum())
    return 100.0 * float(outcome[:, 0].sum()) / masked if masked else 0.0


def normalise_answer(text: str) -> list[str]:
    """Words of an answer without case, punctuation and articles (SQuAD's official script)."""
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return [word for word in text.split() if word not in ("a", "an", "the")]


def answer_f1(predicted: str, gold: str) -> float:
    """F1 of the words of two answers, in [0, 1]; two empty ones agree."""
    mine, theirs = normalise_answer(predicted), normalise_answer(gold)
    if not mine or not theirs:
        return float(mine == theirs)
    common = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * common / (len(mine) + len(theirs))


def exact_match(predicted: str, gold: str) -> float:
    """1 if two answers have the same words, else 0."""
    return float(normalise_answer(predicted) == normalise_answer(gold))
