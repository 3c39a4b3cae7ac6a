"""Answers in every spelling in use become SQuAD's; others are refused."""

import json
import re
from typing import Any

import pytest

from tombola.tasks.kinds.answers import answers_of

CONTEXT = "the film is good and the book is bad"
SQUAD = {"text": ["good"], "answer_start": [12]}


@pytest.mark.parametrize(
    "value",
    [
        SQUAD,
        {"text": ["good"], "answer_start": ["12"]},
        {"text": ["good"], "answer_start": [12.0]},
        {"text": "good", "answer_start": 12},
        {"text": "good", "answer_start": [12]},
        {"text": "good"},
        {"text": ["good"]},
        [{"text": "good", "answer_start": 12}],
        [{"text": "good", "answer_start": "12"}],
        ["good"],
        "good",
        json.dumps(SQUAD),
        json.dumps([{"text": "good", "answer_start": 12}]),
    ],
)
def test_every_spelling_of_answers_is_one(value: Any) -> None:
    assert answers_of(value, CONTEXT) == SQUAD


def test_several_answers_stay_several() -> None:
    both = {"text": ["good", "bad"], "answer_start": [12, 33]}
    assert answers_of(both, CONTEXT) == both
    assert answers_of(["good", "bad"], CONTEXT) == both


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "an answer"),
        ([], "an answer"),
        ({"text": [], "answer_start": []}, "an answer"),
        ({"text": ["good"], "answer_start": [13]}, "where there is 'ood '"),
        ({"text": ["good"], "answer_start": [-24]}, "at character -24"),
        ({"text": ["good"], "answer_start": [999]}, "where there is ''"),
        ({"text": ["good"], "answer_start": [True]}, "a whole number as answer_start, got True"),
        ({"text": ["good"], "answer_start": ["x"]}, "a whole number as answer_start, got 'x'"),
        ({"text": ["good", "bad"], "answer_start": [12]}, "answers as"),
        ({"text": ["good", 3], "answer_start": [12, 3]}, "answers as"),
        ({"text": [" "], "answer_start": [3]}, "not blank"),
        ({"text": ["is"]}, "which 'is' does 2 times"),
        ("{'text': ['good']}", "answers as"),
        (7, "answers as"),
        ([7], "answers as"),
    ],
)
def test_what_is_not_an_answer_is_refused(value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        answers_of(value, CONTEXT)
