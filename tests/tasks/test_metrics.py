"""Scores agree with other people's, and a bootstrap is a choice of rows."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from tombola.tasks.metrics import METRICS, answer_f1, exact_match, normalise_answer

CHANCE = np.random.default_rng(0)
LABELS = CHANCE.integers(0, 3, size=(200, 2)).astype(float)
VALUES = CHANCE.normal(size=(200, 2)) + CHANCE.normal(size=(200, 1))


def test_accuracy_is_that_of_scikit_learn() -> None:
    expected = 100 * accuracy_score(LABELS[:, 1], LABELS[:, 0])
    assert METRICS["accuracy"](LABELS) == pytest.approx(expected)
    assert METRICS["accuracy"](np.array([[1.0, 1.0], [0.0, 1.0]])) == 50.0


def test_correlation_is_that_of_scipy_and_zero_where_there_is_none() -> None:
    expected = 100 * pearsonr(VALUES[:, 0], VALUES[:, 1]).statistic
    assert METRICS["pearson"](VALUES) == pytest.approx(expected)
    for column in (0, 1):
        constant = VALUES.copy()
        constant[:, column] = 0.1
        assert METRICS["pearson"](constant) == 0.0


def test_ranks_are_correlated_as_scipy_does() -> None:
    expected = 100 * spearmanr(VALUES[:, 0], VALUES[:, 1]).statistic
    assert METRICS["spearman"](VALUES) == pytest.approx(expected)


def test_classes_are_scored_as_scikit_learn_does() -> None:
    binary = np.minimum(LABELS, 1.0)
    expected = 100 * f1_score(binary[:, 1], binary[:, 0])
    assert METRICS["binary-f1"](binary) == pytest.approx(expected)
    expected = 100 * matthews_corrcoef(LABELS[:, 1], LABELS[:, 0])
    assert METRICS["matthews"](LABELS) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["matthews", "binary-f1", "pearson", "spearman"])
@pytest.mark.parametrize(
    "predictions",
    [
        [[0.0, 1.0], [0.0, 0.0]],
        [[1.0, 0.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[0.0, 0.0]],
        [[float("nan"), 0.0], [0.5, 1.0]],
    ],
)
def test_what_can_not_be_told_apart_scores_zero_without_a_warning(
    name: str, predictions: list[list[float]]
) -> None:
    assert METRICS[name](np.array(predictions)) == 0.0


def test_masked_tokens_are_pooled_over_examples() -> None:
    assert METRICS["masked-accuracy"](np.array([[1.0, 1.0], [0.0, 3.0], [0.0, 0.0]])) == 25.0
    assert METRICS["masked-accuracy"](np.zeros((2, 2))) == 0.0


def test_f1_is_a_mean_in_points() -> None:
    assert METRICS["f1"](np.array([[1.0, 1.0], [0.5, 0.0]])) == 75.0


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_resample_is_scored_like_any_other_outcome(name: str) -> None:
    scale = 1 if name == "matthews" else 2
    predictions: Any = VALUES if name in ("pearson", "spearman") else LABELS / scale
    rows = CHANCE.integers(len(predictions), size=len(predictions))
    score = METRICS[name](predictions[rows])
    assert isinstance(score, float)
    assert score == pytest.approx(METRICS[name](np.array([predictions[row] for row in rows])))
    assert score != METRICS[name](predictions)


@pytest.mark.parametrize(
    ("predicted", "gold", "f1", "same"),
    [
        ("The cat", "cat", 1.0, 1.0),
        ("CAT!", "a cat.", 1.0, 1.0),
        ("the black cat", "cat", 2 / 3, 0.0),
        ("cat cat", "cat", 2 / 3, 0.0),
        ("dog", "cat", 0.0, 0.0),
        ("", "cat", 0.0, 0.0),
        ("cat", "", 0.0, 0.0),
        ("", "", 0.0, 1.0),
        ("the", "a", 0.0, 1.0),
        ("A", "A", 0.0, 1.0),
        ("Z-A", "za", 1.0, 1.0),
        ("l'an 2000", "lan 2000", 1.0, 1.0),
        ("l\u2019an 2000", "l\u2019 2000", 1.0, 1.0),
        ("a\u2013b", "\u2013b", 1.0, 1.0),
        ("north-west wind", "northwest wind", 1.0, 1.0),
        ("one two three", "three two", 0.8, 0.0),
    ],
)
def test_answers_are_compared_as_squad_does(
    predicted: str, gold: str, f1: float, same: float
) -> None:
    assert answer_f1(predicted, gold) == pytest.approx(f1)
    assert exact_match(predicted, gold) == same


def official(text: str) -> str:
    """`normalize_answer` of the evaluation script that comes with SQuAD 1.1."""
    import re
    import string

    text = "".join(ch for ch in text.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def test_words_end_where_the_official_script_ends_them() -> None:
    letters = np.array(list("aAnthe \u2019\u2013\u00e9'-.,_0\u3000"))
    for _ in range(2000):
        text = "".join(CHANCE.choice(letters, size=int(CHANCE.integers(0, 12))))
        assert " ".join(normalise_answer(text)) == official(text)


def test_an_answer_is_its_words_without_case_marks_and_articles() -> None:
    assert normalise_answer("The  Cat, (an) animal's") == ["cat", "animals"]
