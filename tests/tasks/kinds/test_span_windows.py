"""Windows of long contexts, and the answer that all windows of a question give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from tombola.base.errors import DataError, SpecError
from tombola.base.specs import TrainSpec
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.examples import Examples
from tombola.tasks.kinds.span_windows import (
    LONGEST_ANSWER,
    best_span,
    marked_answers,
    window_answers,
)
from tombola.tasks.metrics import METRICS
from tombola.tasks.task import load_task

SQUAD = load_task("squad")
FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny)


def asked(context: str, *answers: str, question: str = "a short story") -> dict[str, Any]:
    starts = [context.index(answer) for answer in answers]
    return {
        "question": question,
        "context": context,
        "answers": {"text": list(answers), "answer_start": starts},
    }


# windows


CONTEXT = " ".join(f"the film {n}" for n in range(10))
"""Thirty tokens."""


def windows(tokenizer: Any, row: dict[str, Any], **lengths: Any) -> Examples:
    return encode_split([row], SQUAD, tokenizer, TrainSpec(**lengths))


def test_windows_move_on_by_the_stride_and_the_last_one_ends_the_context(tokenizer: Any) -> None:
    examples = windows(tokenizer, asked(CONTEXT, "9"), max_length=18, stride=8)
    starts = [next(a for a, b in pairs if b > a) for pairs in examples.offsets]
    whole = tokenizer(CONTEXT, add_special_tokens=False, return_offsets_mapping=True)
    begins = [a for a, _ in whole["offset_mapping"]]
    assert len(begins) == 30
    assert [begins.index(start) for start in starts] == [0, 8, 16, 24]
    assert examples.lengths.tolist() == [18, 18, 18, 12]
    assert examples.owners == [0, 0, 0, 0]
    for ids in examples.inputs["input_ids"]:
        assert tokenizer.decode(ids).startswith("[CLS] a short story [SEP]")


def test_the_answer_is_marked_in_the_windows_that_hold_it_whole(tokenizer: Any) -> None:
    row = asked(CONTEXT, "2 the film 3")
    examples = windows(tokenizer, row, max_length=18, stride=8)
    held = []
    for (first, last), pairs in zip(examples.targets, examples.offsets, strict=True):
        if (first, last) != (0, 0):
            held.append(CONTEXT[pairs[first][0] : pairs[last][1]])
    assert examples.targets[2:] == [(0, 0), (0, 0)]
    assert held == ["2 the film 3"] * 2


def test_without_a_stride_there_is_one_window(tokenizer: Any) -> None:
    examples = windows(tokenizer, asked(CONTEXT, "9"), max_length=18)
    assert (len(examples), examples.targets) == (1, [(0, 0)])


def test_questions_of_any_length_have_windows_of_the_same_stride(tokenizer: Any) -> None:
    rows = [
        asked(CONTEXT, "9", question=question)
        for question in ("story", "a short story", "story", "a very long story")
    ]
    together = encode_split(rows, SQUAD, tokenizer, TrainSpec(max_length=18, stride=8))
    alone = [windows(tokenizer, row, max_length=18, stride=8) for row in rows]
    assert together.owners == [n for n, one in enumerate(alone) for _ in range(len(one))]
    assert together.targets == [target for one in alone for target in one.targets]
    for name, values in together.inputs.items():
        apart = [value.tolist() for one in alone for value in one.inputs[name]]
        assert [value.tolist() for value in values] == apart


def test_a_long_question_is_cut_and_the_context_kept(tokenizer: Any) -> None:
    row = asked("the film", "film", question="very " * 50)
    examples = windows(tokenizer, row, max_length=18, stride=8, query_length=6)
    assert tokenizer.decode(examples.inputs["input_ids"][0]) == (
        "[CLS] very very very very very very [SEP] the film [SEP]"
    )
    with pytest.raises(
        SpecError, match="must leave room for the context, got 18 with a question of"
    ):
        windows(tokenizer, row, max_length=18, stride=8)


def test_long_contexts_of_squad_make_several_windows_each_with_an_answer(tokenizer: Any) -> None:
    rows = read_split(SQUAD, "train", FIXTURES / "squad_json")
    recipe = TrainSpec(max_length=500, stride=100, query_length=64)
    examples = encode_split(rows, SQUAD, tokenizer, recipe)
    assert len(examples) > len(rows)
    assert set(examples.owners) == set(range(len(rows)))
    answered = {
        owner
        for owner, target in zip(examples.owners, examples.targets, strict=True)
        if target != (0, 0)
    }
    assert answered == set(range(len(rows)))


@pytest.mark.parametrize("answer", [" film", "film ", "film"])
def test_spaces_around_an_answer_are_no_part_of_it(tokenizer: Any, answer: str) -> None:
    examples = windows(tokenizer, asked("the film was", answer), max_length=30)
    (first, last), pairs = examples.targets[0], examples.offsets[0]
    assert "the film was"[pairs[first][0] : pairs[last][1]] == "film"


def test_an_answer_that_is_not_in_the_context_is_refused(tokenizer: Any) -> None:
    row = asked("the film", "film")
    row["answers"]["answer_start"] = [2]
    with pytest.raises(DataError, match="got 'film' at character 2, where there is 'e fi'"):
        windows(tokenizer, row, max_length=30)


# the best span of a window


SHORT = "ab cd ef gh"
OFFSETS = [(0, 0), (0, 0), (0, 2), (3, 5), (6, 8), (9, 11), (0, 0)]


def best(start: Any, end: Any, offsets: Any = None, context: str = SHORT, **knobs: Any) -> str:
    offsets = OFFSETS if offsets is None else offsets
    _, first, last = best_span(np.array(start), np.array(end), np.array(offsets), **knobs)
    return context[int(first) : int(last)]


def test_the_best_span_has_the_largest_sum() -> None:
    assert best([9, 9, 0, 5, 0, 0, 9], [9, 9, 0, 0, 4, 0, 9]) == "cd ef"
    assert best([0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1, 0]) == "gh"


def test_a_span_never_ends_before_it_starts() -> None:
    assert best([0, 0, 0, 0, 9, 0, 0], [0, 0, 9, 0, 0, 1, 0]) == "ef gh"
    assert best([0, 0, 1, 0, 9, 0, 0], [0, 0, 9, 0, -9, -9, 0]) == "ab"


def test_a_span_is_no_longer_than_the_limit() -> None:
    limit = LONGEST_ANSWER
    count = limit + 5
    offsets = [(2 * n, 2 * n + 1) for n in range(count)]
    context = " ".join("x" * count)
    start, end = [0.0] * count, [0.0] * count
    start[0], end[limit - 1], end[limit] = 5, 1, 4
    assert best(start, end, offsets, context) == " ".join("x" * limit)


def test_scores_beyond_the_tokens_are_padding() -> None:
    assert best([0, 0, 2, 1, 0, 0, 0, 99], [0, 0, 0, 3, 0, 0, 0, 99]) == "ab cd"


def test_a_context_that_was_cut_away_has_no_answer() -> None:
    assert best([1, 2], [3, 4], [(0, 0), (0, 0)]) == ""


def test_only_the_likeliest_tokens_begin_and_end_an_answer() -> None:
    start, end = [9.0, 8.0, 7.0, 0.0, 6.0, 0.0, 0.0], [9.0, 8.0, 0.0, 7.0, 0.0, 6.0, 0.0]
    assert best(start, end) == "ab cd"
    assert best(start, end, n_best=3) == "ab cd"
    assert best(start, end, n_best=2) == ""
    assert best([0, 0, 1, 3, 0, 0, 0], [0, 0, 9, 0, 1, 0, 0], n_best=7) == "ab"
    assert best([0, 0, 1, 3, 0, 0, 0], [0, 0, 9, 0, 1, 0, 0], n_best=1) == ""


def test_a_token_may_be_kept_from_beginning_an_answer() -> None:
    allowed = np.array([n != 3 for n in range(7)])
    assert best([0, 0, 1, 9, 2, 0, 0], [0, 0, 0, 0, 0, 9, 0], first=allowed) == "ef gh"


# the answer of all windows


def scored(examples: Examples, chosen: dict[int, tuple[float, str]]) -> list[tuple[float, ...]]:
    """F1 and exact match where some windows give an answer with a score, and others none."""
    rows = np.tile([-np.inf, 0.0, 0.0], (len(examples), 1))
    for number, (score, text) in chosen.items():
        context = examples.rows[examples.owners[number]]["context"]
        rows[number] = (score, context.index(text), context.index(text) + len(text))
    return [tuple(map(float, marks)) for marks in marked_answers(rows, examples, SQUAD)]


def test_the_best_of_a_question_s_windows_answers_it(tokenizer: Any) -> None:
    rows = [asked("good film", "film"), asked(CONTEXT, "film 7"), asked("bad plot", "plot")]
    examples = encode_split(rows, SQUAD, tokenizer, TrainSpec(max_length=18, stride=8))
    assert examples.owners == [0, 1, 1, 1, 1, 2]
    marks = scored(examples, {0: (-3.0, "film"), 1: (1.0, "0"), 3: (2.0, "film 7"), 4: (1.5, "8")})
    assert marks == [(1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 2.0)]
    found = np.array(marks)
    assert METRICS["f1"](found) == METRICS["exact-match"](found) == pytest.approx(200 / 3)


CASES = [
    ("the café “Étoile” of 1900", ["the café “Étoile”"], "café “Étoile”", (1.0, 1.0)),
    ("the café “Étoile” of 1900", ["Étoile"], "“Étoile”", (0.0, 0.0)),
    ('the café "Étoile" of 1900', ["Étoile"], '"Étoile"', (1.0, 1.0)),
    ("two of three old men", ["three old men", "old men"], "of three old men", (6 / 7, 0.0)),
    ("two of three old men", ["two", "old men"], "old men", (1.0, 1.0)),
    ("a the an", ["the"], "an", (0.0, 1.0)),
    ("a the an", ["the"], "", (0.0, 1.0)),
    ("good film", ["film"], "", (0.0, 0.0)),
    ("U.S. dollars, 5", ["US dollars"], "U.S. dollars,", (1.0, 1.0)),
]
"""By hand, after SQuAD's script: only ASCII marks are dropped, and the best gold answer counts."""


@pytest.mark.parametrize(("context", "golds", "said", "marks"), CASES)
def test_answers_are_marked_as_squad_does(
    tokenizer: Any, context: str, golds: list[str], said: str, marks: tuple[float, float]
) -> None:
    row = asked(context, said or context)
    examples = encode_split([row], SQUAD, tokenizer, TrainSpec(max_length=60, stride=8))
    row["answers"] = {"text": golds, "answer_start": [0] * len(golds)}
    assert scored(examples, {0: (1.0, said)}) == [pytest.approx((*marks, 0))]


def test_an_answer_begins_in_the_window_with_most_context_around_it(tokenizer: Any) -> None:
    examples = encode_split(
        [asked(CONTEXT, "9")], SQUAD, tokenizer, TrainSpec(max_length=18, stride=8)
    )
    at = [[n for n, (a, b) in enumerate(pairs) if b > a] for pairs in examples.offsets]
    scores = np.zeros((len(examples), int(examples.lengths.max())))
    scores[0, at[0][11]] = 9.0  # the last of the first window is the fourth of the second
    scores[1, at[1][3]] = 1.0
    found = window_answers(scores, scores, examples, np.arange(len(examples)), SQUAD)
    assert [*examples.offsets[0][at[0][11]]] == [*examples.offsets[1][at[1][3]]]
    assert found[0, 0] == 9.0  # it may end an answer there, but not begin it
    assert found[1, 0] == 2.0
    assert CONTEXT[int(found[1, 1]) : int(found[1, 2])] == "3"
