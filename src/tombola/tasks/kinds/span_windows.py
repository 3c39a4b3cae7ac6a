"""Questions about contexts: windows of the context, and the answer that all of them give.

A context that is too long is read in windows that overlap. Source: the script of Devlin et al. 2019
for SQuAD.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tombola.base.errors import DataError, SpecError
from tombola.tasks.data.rows import Rows
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Examples, Numbers, Predictions, count_cut, texts_of
from tombola.tasks.metrics import best_agreement

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tombola.base.specs import TrainSpec

__all__ = ["LONGEST_ANSWER", "best_span", "encode_spans", "marked_answers", "window_answers"]

LONGEST_ANSWER = 30
"""Tokens of the longest answer that is considered."""

NO_ANSWER = (-np.inf, 0.0, 0.0)
Offsets = NDArray[np.int32]
"""(tokens, 2): characters of the context under each token; (0, 0) elsewhere."""
AT_ONCE = 1000
"""Rows that are tokenised together: a tokenizer's output takes fifty times their final memory."""


# --- windows -----------------------------------------------------------------


def encode_spans(
    rows: Rows, task: TaskDefinition, tokenizer: "PreTrainedTokenizerBase", recipe: "TrainSpec"
) -> Examples:
    """Tokenise questions with their contexts.

    Args:
        rows: rows with question, context, and answers as SQuAD has them.
        task: which columns these are.
        tokenizer: a fast one, because answers are found by the characters under each token.
        recipe: its `max_length` is the tokens of a window, with question and special tokens; its
            `stride` those of the context from one window to the next, 0 to keep the first only;
            its `query_length` those kept of the question, 0 for all.

    Raises: DataError, SpecError, for a row without an answer, or a question that leaves no room.
    """
    max_length, stride = recipe.max_length, recipe.stride
    questions, contexts = (texts_of(rows, name) for name in task.texts)
    questions = _cut(questions, tokenizer, recipe.query_length)
    sizes = _sizes(questions, tokenizer)
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - max(sizes)
    if room < 1:
        raise SpecError(
            f"max_length must leave room for the context, got {max_length} with a question of "
            f"{max(sizes)} tokens. Raise it, or set a query_length."
        )
    found: dict[int, list[_Window]] = {}
    cut = 0
    for size in sorted(set(sizes)) if stride else [max(sizes)]:
        chosen = [n for n, own in enumerate(sizes) if own == size or not stride]
        more = _overflow(max_length, size, stride, tokenizer)
        for some in (chosen[at : at + AT_ONCE] for at in range(0, len(chosen), AT_ONCE)):
            encoded = tokenizer(
                [questions[n] for n in some],
                [contexts[n] for n in some],
                truncation="only_second",
                max_length=max_length,
                padding=False,
                return_offsets_mapping=True,
                **more,
            )
            cut += 0 if stride else count_cut(encoded, max_length)
            for owner, window in _windows(encoded, some, tokenizer.model_input_names):
                found.setdefault(owner, []).append(window)
    return _gathered(rows, task, found, tokenizer.model_input_names, cut)


_Window = tuple[dict[str, NDArray[np.int32]], Offsets]
"""The inputs of one window, and the characters under its tokens."""


def _cut(questions: list[str], tokenizer: "PreTrainedTokenizerBase", length: int) -> list[str]:
    """Questions cut after their first `length` tokens."""
    if not length:
        return questions
    encoded = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)
    ends = [pairs[:length] for pairs in encoded["offset_mapping"]]
    return [
        question[: pairs[-1][1]] if pairs else question
        for question, pairs in zip(questions, ends, strict=True)
    ]


def _sizes(questions: list[str], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    return [len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]


def _overflow(
    max_length: int, question: int, stride: int, tokenizer: "PreTrainedTokenizerBase"
) -> dict[str, Any]:
    """Arguments of a tokenizer for windows `stride` apart; it takes the overlap instead."""
    if not stride:
        return {}
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - question
    return {"stride": max(0, room - stride), "return_overflowing_tokens": True}


def _windows(
    encoded: Any, chosen: Sequence[int], names: Sequence[str]
) -> Iterator[tuple[int, _Window]]:
    owners = encoded.get("overflow_to_sample_mapping") or range(len(chosen))
    for number, (owner, pairs) in enumerate(zip(owners, encoded["offset_mapping"], strict=True)):
        inputs = {name: np.array(encoded[name][number], dtype=np.int32) for name in names}
        inside = [sequence == 1 for sequence in encoded.sequence_ids(number)]
        offsets = np.array(pairs, dtype=np.int32) * np.array(inside, dtype=np.int32)[:, None]
        yield chosen[owner], (inputs, offsets)


def _gathered(
    rows: Rows,
    task: TaskDefinition,
    found: dict[int, list[_Window]],
    names: Sequence[str],
    cut: int,
) -> Examples:
    """The windows of all rows, in the rows' order."""
    owners = [n for n in range(len(rows)) for _ in found[n]]
    windows = [window for n in range(len(rows)) for window in found[n]]
    return Examples(
        rows=rows,
        inputs={name: [inputs[name] for inputs, _ in windows] for name in names},
        targets=[
            _target(rows[n], task, offsets) for n, (_, offsets) in zip(owners, windows, strict=True)
        ],
        offsets=[offsets for _, offsets in windows],
        owners=owners,
        cut=cut,
    )


def _target(row: dict[str, Any], task: TaskDefinition, offsets: Offsets) -> tuple[int, int]:
    """First and last token of the first answer; (0, 0) where it isn't whole in the window."""
    answers = row["answers"]
    if not answers or not answers["text"] or not answers["answer_start"]:
        raise DataError(f"task {task.name!r} has an answer in every row, got {answers!r}.")
    text, start = answers["text"][0], answers["answer_start"][0]
    context = row[task.texts[1]]
    if context[start : start + len(text)] != text:
        raise DataError(
            f"task {task.name!r} has answers that are in the context, got {text!r} at character "
            f"{start}, where there is {context[start : start + len(text)]!r}."
        )
    start += len(text) - len(text.lstrip())
    end = start + len(text.strip())
    inside = offsets[offsets[:, 1] > offsets[:, 0]]
    if not len(inside) or inside[0, 0] > start or inside[-1, 1] < end:
        return 0, 0
    touched = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start))
    return (int(touched[0]), int(touched[-1])) if len(touched) else (0, 0)


# --- answers -----------------------------------------------------------------


def window_answers(
    starts: NDArray[Any],
    ends: NDArray[Any],
    examples: Examples,
    numbers: Numbers,
    task: TaskDefinition,
) -> Predictions:
    """The best answer of each window: its score, and its first and last character.

    Args:
        starts: (batch, length), how likely each token is the first of the answer.
        ends: (batch, length), the last.
        examples: the examples of the split.
        numbers: those in the batch.
        task: how many tokens are considered.
    """
    rows = []
    for row, n in enumerate(numbers):
        widest = _widest(examples, int(n)) if task.n_best else None
        rows.append(
            best_span(starts[row], ends[row], examples.offsets[n], n_best=task.n_best, first=widest)
        )
    return np.array(rows)


def best_span(
    start: NDArray[Any],
    end: NDArray[Any],
    offsets: Offsets,
    *,
    n_best: int = 0,
    first: NDArray[np.bool_] | None = None,
) -> tuple[float, float, float]:
    """The span of the context with the largest sum of start and end scores.

    Args:
        start: a score for each token, padding included.
        end: the same.
        offsets: characters of the context under each token of the window.
        n_best: number of the likeliest first and last tokens that are paired; 0 is all.
        first: the tokens with which an answer may begin; None is all of the context's.

    Returns: the sum, the span's first character, and the one after its last; -inf and 0, 0 where
        no span is possible.
    """
    start, end = start[: len(offsets)], end[: len(offsets)]
    places = np.asarray(offsets)
    inside = places[:, 1] > places[:, 0]
    may_begin, may_end = inside.copy(), inside.copy()
    if first is not None:
        may_begin &= first
    if n_best:
        may_begin &= _likeliest(start, n_best)
        may_end &= _likeliest(end, n_best)
    total = np.where(may_begin, start, -np.inf)[:, None] + np.where(may_end, end, -np.inf)[None, :]
    reach = np.tri(len(offsets), k=LONGEST_ANSWER - 1) - np.tri(len(offsets), k=-1)
    total[reach == 0] = -np.inf
    a, b = np.unravel_index(int(np.argmax(total)), total.shape)
    if total[a, b] == -np.inf:
        return NO_ANSWER
    return float(total[a, b]), float(places[a, 0]), float(places[b, 1])


def _likeliest(scores: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """Which tokens, special ones included, have the largest scores."""
    among = np.zeros(len(scores), dtype=bool)
    among[np.argsort(-scores, kind="stable")[:count]] = True
    return among


def _widest(examples: Examples, number: int) -> NDArray[np.bool_]:
    """The tokens of a window that have no window with more context around them.

    Context is what comes before or after a token in its window, whichever is less; of two equal
    windows the first counts.
    """
    owner = examples.owners[number]
    first = number
    while first and examples.owners[first - 1] == owner:
        first -= 1
    best: dict[tuple[int, int], tuple[float, int]] = {}
    window = first
    while window < len(examples.owners) and examples.owners[window] == owner:
        inside = [pair for pair in _pairs(examples, window) if pair[1] > pair[0]]
        for place, pair in enumerate(inside):
            around = min(place, len(inside) - 1 - place) + 0.01 * len(inside)
            if pair not in best or around > best[pair][0]:
                best[pair] = around, window
        window += 1
    return np.array([best.get(pair, (0.0, -1))[1] == number for pair in _pairs(examples, number)])


def _pairs(examples: Examples, window: int) -> list[tuple[int, int]]:
    return [(first, last) for first, last in examples.offsets[window].tolist()]


def marked_answers(windows: Predictions, examples: Examples, task: TaskDefinition) -> Predictions:
    """How good the best answer is that the windows of each question give.

    Args:
        windows: (windows, 3), see `window_answers`.
        examples: the examples of the split.
        task: which column is the context.

    Returns: (questions, 3): F1 and exact match in [0, 1], against the gold answer that agrees
        best, and the number of the first question about the same context; NaN where a window's
        answer is.
    """
    marks = np.zeros((len(examples.rows), 3))
    first: dict[str, int] = {}
    best = np.full(len(examples.rows), -1)
    undefined = {examples.owners[n] for n in np.flatnonzero(np.isnan(windows).any(1))}
    for number, owner in enumerate(examples.owners):
        if best[owner] < 0 or windows[number, 0] > windows[best[owner], 0]:
            best[owner] = number
    for owner, number in enumerate(best):
        if owner in undefined:
            marks[owner] = np.nan
            continue
        row = examples.rows[owner]
        context = first.setdefault(row[task.texts[1]], owner)
        answer = row[task.texts[1]][int(windows[number, 1]) : int(windows[number, 2])]
        marks[owner] = (*best_agreement(answer, row["answers"]["text"]), context)
    return marks
