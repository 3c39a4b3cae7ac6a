"""The floor under every score is the best constant answer, on the split that is scored."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from tombola.models.network import Network
from tombola.tasks.baselines import trivial_score
from tombola.tasks.examples import Examples
from tombola.tasks.task import load_task

NO_NETWORK = cast(Network, None)


def labelled(targets: list[Any]) -> Examples:
    inputs = {"input_ids": [np.arange(3, dtype=np.int32)] * len(targets)}
    return Examples(rows=[{}] * len(targets), inputs=inputs, targets=targets, offsets=[])


def asked(*pairs: tuple[str, str]) -> Examples:
    rows = [
        {"context": text, "question": "?", "answers": {"text": [gold], "answer_start": [0]}}
        for text, gold in pairs
    ]
    return replace(labelled([None] * len(rows)), rows=rows)


@pytest.mark.parametrize(
    ("metric", "targets", "expected"),
    [
        ("accuracy", [0, 1, 1, 2, 1], 60.0),
        ("accuracy", [2, 2, 2], 100.0),
        ("matthews", [0, 1, 1], 0.0),
        ("binary-f1", [0, 0, 0, 1], 40.0),
    ],
)
def test_every_class_is_tried(metric: str, targets: list[int], expected: float) -> None:
    task = replace(load_task("sentiment"), metric=metric)
    assert trivial_score(NO_NETWORK, task, labelled(targets)) == pytest.approx(expected)


def test_a_constant_has_no_correlation() -> None:
    assert trivial_score(NO_NETWORK, load_task("valence"), labelled([0.5, -1.0, 2.0])) == 0.0


@pytest.mark.parametrize(
    ("pairs", "f1", "exact"),
    [
        ([("Rome fell", "Rome"), ("Paris fell", "Paris")], 100.0, 100.0),  # the first word
        ([("in May", "May"), ("of May", "the May"), ("by ten", "ten")], 200 / 3, 200 / 3),
        ([("so it was red", "red"), ("all was red", "red"), ("or so", "or")], 200 / 3, 200 / 3),
        ([("old Rome", "old Rome"), ("new Bonn", "new Bonn")], 100.0, 100.0),  # all of it
        ([("by old Rome", "old Rome"), ("by new Bonn", "new Bonn")], 80.0, 50.0),
    ],
)
def test_words_and_common_answers_are_tried_on_questions(
    pairs: list[tuple[str, str]], f1: float, exact: float
) -> None:
    for metric, expected in (("f1", f1), ("exact-match", exact)):
        task = replace(load_task("gloss-span"), metric=metric)
        assert trivial_score(NO_NETWORK, task, asked(*pairs)) == pytest.approx(expected)
