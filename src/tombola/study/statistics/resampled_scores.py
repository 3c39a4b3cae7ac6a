"""The scores of many resamples of test examples at once, bitwise identical to those of the metrics.

Libraries check their arguments and compute P values for each resample; of ten thousand, that takes
minutes. Here each metric is sums over a whole batch of resamples, in the order of the library.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

from tombola.study.statistics.interval import FloatArray
from tombola.tasks.metrics import METRICS

__all__ = ["IntArray", "resampled_scores"]

IntArray: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = Callable[[FloatArray, IntArray], FloatArray]
"""Predictions (examples, columns) and resamples (resamples, examples) -> a score of each."""


def resampled_scores(metric: str, predictions: FloatArray, resamples: IntArray) -> FloatArray:
    """The score of each resample, in points.

    Args:
        metric: its name.
        predictions: (examples, columns).
        resamples: (resamples, examples), the numbers of the examples drawn.

    Returns: (resamples,).
    """
    if metric in TOGETHER:
        return TOGETHER[metric](predictions, resamples)
    return np.array([METRICS[metric](predictions[drawn]) for drawn in resamples])


def _accuracy(predictions: FloatArray, resamples: IntArray) -> FloatArray:
    hits = predictions[:, 0] == predictions[:, 1]
    return np.asarray(100.0 * np.mean(hits[resamples], axis=-1))


def _f1_of_one_class(predictions: FloatArray, resamples: IntArray) -> FloatArray:
    predicted, true = (predictions[:, column] == 1 for column in (0, 1))
    hits, of_true, of_predicted = (
        np.asarray(np.sum(each[resamples], axis=-1, dtype=np.float64))
        for each in (predicted & true, true, predicted)
    )
    return 100.0 * _ratio(2.0 * hits, of_true + of_predicted)


def _matthews(predictions: FloatArray, resamples: IntArray) -> FloatArray:
    """The correlation of several classes (Gorodkin 2004); counts are whole numbers, so their sums
    are exact."""
    examples = resamples.shape[-1]
    hits = np.sum((predictions[:, 0] == predictions[:, 1])[resamples], axis=-1, dtype=np.float64)
    classes, numbers = np.unique(predictions[:, :2], return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    predicted, true = (_counts(numbers[:, n][resamples], len(classes)) for n in (0, 1))
    spread = (float(examples**2) - np.sum(predicted**2, axis=-1)) * (
        float(examples**2) - np.sum(true**2, axis=-1)
    )
    right = hits * examples - np.sum(predicted * true, axis=-1)
    return 100.0 * _ratio(right, np.sqrt(spread))


def _pearson(predictions: FloatArray, resamples: IntArray) -> FloatArray:
    drawn = predictions[resamples]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        warnings.simplefilter("ignore", scipy.stats.NearConstantInputWarning)
        found = scipy.stats.pearsonr(drawn[..., 0], drawn[..., 1], axis=-1).statistic
    return 100.0 * np.where(np.isfinite(found), found, 0.0)


def _spearman(predictions: FloatArray, resamples: IntArray) -> FloatArray:
    """Ranks are multiples of a half, so their sums are exact."""
    predicted, true = (_ranks(predictions[:, column], resamples) for column in (0, 1))
    share = np.true_divide(1, resamples.shape[-1] - 1)
    both, of_predicted, of_true = (
        np.sum(a * b, axis=-1) * share
        for a, b in ((true, predicted), (predicted, predicted), (true, true))
    )
    found = _ratio(_ratio(both, np.sqrt(of_true)), np.sqrt(of_predicted))
    return 100.0 * np.clip(found, -1.0, 1.0)


def _restored(predictions: FloatArray, resamples: IntArray) -> FloatArray:
    hits, masked = (np.sum(predictions[:, n][resamples], axis=-1) for n in (0, 1))
    return _ratio(100.0 * hits, masked)


def _ranks(values: FloatArray, resamples: IntArray) -> FloatArray:
    """Ranks of the values within each resample, around zero; equal values share their mean rank."""
    distinct, numbers = np.unique(values, return_inverse=True)
    drawn = numbers[resamples]
    counts = _counts(drawn, len(distinct))
    last = np.cumsum(counts, axis=-1)
    ranks = last - (counts - 1) / 2 - (resamples.shape[-1] + 1) / 2
    return np.take_along_axis(ranks, drawn, axis=-1)


def _counts(numbers: IntArray, distinct: int) -> FloatArray:
    """How often each number is in each row: (rows, entries) -> (rows, distinct)."""
    rows = len(numbers)
    places = numbers + distinct * np.arange(rows)[:, None]
    counts = np.bincount(places.ravel(), minlength=rows * distinct)
    return counts.reshape(rows, distinct).astype(np.float64)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Zero where the whole is."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


TOGETHER: Mapping[str, Scores] = {
    "accuracy": _accuracy,
    "binary-f1": _f1_of_one_class,
    "masked-accuracy": _restored,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""The metrics that score resamples together; others score them one by one."""
