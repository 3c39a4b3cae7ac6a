"""Scores in points (0 to 100) from a row of predictions for each test example.

All that a metric needs to know of an example is in its row, so that a bootstrap over examples is a
choice of rows.
"""

import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from tombola.base.registry import Registry
from tombola.tasks.examples import Predictions

__all__ = [
    "CONTEXT",
    "CREDITS",
    "METRICS",
    "Metric",
    "answer_f1",
    "best_agreement",
    "exact_match",
    "normalise_answer",
    "resolution",
    "score_of",
]

Metric = Callable[[Predictions], float]
METRICS: Registry[Metric] = Registry("metric")
CONTEXT = 2
"""The column that numbers the context of a question, if predictions have it: questions about one
context are not independent examples."""


def score_of(predictions: Predictions, metric: str) -> float:
    """The score of a network in points; NaN where any prediction is NaN."""
    return float("nan") if np.isnan(predictions).any() else METRICS[metric](predictions)


@METRICS.register("accuracy")
def accuracy(predictions: Predictions) -> float:
    """Percentage of examples whose prediction (column 0) is the label (column 1)."""
    return 100.0 * float(np.mean(predictions[:, 0] == predictions[:, 1]))


@METRICS.register("matthews")
def matthews(predictions: Predictions) -> float:
    """Matthews correlation of predicted (column 0) and true classes (column 1), times 100.

    Zero where either side is one class only.
    """
    if _constant(predictions):
        return 0.0
    from sklearn.metrics import matthews_corrcoef

    return 100.0 * float(matthews_corrcoef(predictions[:, 1], predictions[:, 0]))


@METRICS.register("binary-f1")
def binary_f1(predictions: Predictions) -> float:
    """F1 of the class 1, as GLUE scores QQP and MRPC, times 100; zero where it is never there."""
    from sklearn.metrics import f1_score

    predicted, label = predictions[:, 0] == 1, predictions[:, 1] == 1
    return 100.0 * float(f1_score(label, predicted, zero_division=0.0))


@METRICS.register("pearson")
def pearson(predictions: Predictions) -> float:
    """Pearson correlation of predictions (column 0) and labels (column 1), times 100.

    Zero where either side is constant, as in GLUE's own script.
    """
    return _correlation(predictions, scipy.stats.pearsonr)


@METRICS.register("spearman")
def spearman(predictions: Predictions) -> float:
    """Spearman's rank correlation of predictions and labels, times 100; zero as for Pearson's."""
    return _correlation(predictions, scipy.stats.spearmanr)


def _correlation(predictions: Predictions, of: Callable[..., Any]) -> float:
    if _constant(predictions):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        warnings.simplefilter("ignore", scipy.stats.NearConstantInputWarning)
        found = float(of(predictions[:, 0], predictions[:, 1]).statistic)
    return 100.0 * found if np.isfinite(found) else 0.0


def _constant(predictions: Predictions) -> bool:
    """Whether one of the two columns holds one value only, or no number."""
    return not all(np.ptp(predictions[:, column]) > 0 for column in (0, 1))


@METRICS.register("f1")
def f1(predictions: Predictions) -> float:
    """Mean over examples of the answer's word F1 (column 0), times 100."""
    return 100.0 * float(np.mean(predictions[:, 0]))


@METRICS.register("exact-match")
def exactly(predictions: Predictions) -> float:
    """Percentage of questions whose answer is a gold one (column 1)."""
    return 100.0 * float(np.mean(predictions[:, 1]))


@METRICS.register("masked-accuracy")
def masked_accuracy(predictions: Predictions) -> float:
    """Percentage of masked tokens restored: hits (column 0) over masked tokens (column 1)."""
    masked = float(predictions[:, 1].sum())
    return 100.0 * float(predictions[:, 0].sum()) / masked if masked else 0.0


Credit = Callable[[Predictions], NDArray[np.float64]]
"""Predictions -> (examples,): what each example earns, in [0, 1]."""


def _hits(predictions: Predictions) -> NDArray[np.float64]:
    return np.asarray(predictions[:, 0] == predictions[:, 1], dtype=np.float64)


def _restored_share(predictions: Predictions) -> NDArray[np.float64]:
    hits, masked = predictions[:, 0], predictions[:, 1]
    return np.divide(hits, masked, out=np.zeros(len(predictions)), where=masked > 0)


CREDITS: Mapping[str, Credit] = {
    "accuracy": _hits,
    "matthews": _hits,
    "binary-f1": _hits,
    "f1": lambda predictions: predictions[:, 0],
    "exact-match": lambda predictions: predictions[:, 1],
    "masked-accuracy": _restored_share,
}
"""What single examples contribute to a metric; a correlation is not made of such parts."""


def resolution(metric: str, predictions: Predictions) -> float:
    """How much one test example can change a score, in points.

    That is 100/n of n examples; twice that for a correlation, which goes from -100 to 100. The
    examples of the rarest class decide Matthews' correlation, and those of class 1 the F1.

    Args:
        metric: its name.
        predictions: (examples, columns), of any network: only labels and their number count.
    """
    if metric not in CREDITS:
        return 200.0 / len(predictions)
    counts = np.unique(predictions[:, 1], return_counts=True)[1]
    if metric == "matthews":
        return 100.0 / int(counts.min()) if len(counts) > 1 else 200.0 / len(predictions)
    if metric == "binary-f1":
        return 100.0 / max(1, int(np.sum(predictions[:, 1] == 1)))
    return 100.0 / len(predictions)


ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise_answer(text: str) -> list[str]:
    """Words of an answer without case, ASCII punctuation and articles.

    Source: the official script of SQuAD 1.1. An article ends where a word does: punctuation that is
    not ASCII ends one, too.
    """
    text = "".join(char for char in text.lower() if char not in string.punctuation)
    return ARTICLES.sub(" ", text).split()


def answer_f1(predicted: str, gold: str) -> float:
    """F1 of the words of two answers, in [0, 1]; 0 where one has no words, as in SQuAD 1.1."""
    mine, theirs = normalise_answer(predicted), normalise_answer(gold)
    common = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * common / (len(mine) + len(theirs)) if common else 0.0


def exact_match(predicted: str, gold: str) -> float:
    """1 if two answers have the same words, else 0."""
    return float(normalise_answer(predicted) == normalise_answer(gold))


def best_agreement(predicted: str, golds: Collection[str]) -> tuple[float, float]:
    """F1 and exact match of an answer, each against the gold answer that agrees best."""
    return (
        max(answer_f1(predicted, gold) for gold in golds),
        max(exact_match(predicted, gold) for gold in golds),
    )
