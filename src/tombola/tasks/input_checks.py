"""Checks of what a network is about to read: is there anything to learn from?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from tombola.base.errors import DataError, cut
from tombola.tasks.data.rows import Rows
from tombola.tasks.examples import Examples
from tombola.tasks.input_counts import InputCounts
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import Task

__all__ = ["count_inputs", "count_shared", "refuse_unreadable"]


def count_inputs(examples: Examples, task: Task, tokenizer: PreTrainedTokenizerBase) -> InputCounts:
    """Count tokens, texts and different examples of an encoded split.

    Args:
        examples: the examples of the split; one or more.
        task: which columns the texts are in.
        tokenizer: the tokenizer that made them.
    """
    special = [*tokenizer.all_special_ids]
    unknown = tokenizer.unk_token_id
    if special.count(unknown) == 1:  # GPT-2's unknown token is its end of text
        special.remove(unknown)
    tokens = examples.inputs["input_ids"]
    used = np.bincount(np.concatenate(tokens), minlength=max(special, default=0) + 1)
    used[special] = 0
    whole = int(used.sum())
    lost = int(used[unknown]) if unknown is not None and unknown < len(used) else 0
    return InputCounts(
        examples=len(examples),
        distinct=len({numbers.tobytes() for numbers in tokens}),
        tokens=whole,
        unknown=lost / max(1, whole),
        cut=examples.cut / len(examples),
        empty=0.0 if examples.blocks else _empty(examples.rows, task) / max(1, len(examples.rows)),
    )


def _empty(rows: Rows, task: Task) -> int:
    return sum(not all(texts) for texts in _texts(rows, task))


def _texts(rows: Rows, task: Task) -> Iterator[tuple[str, ...]]:
    return (tuple(str(row[name]).strip() for name in task.texts) for row in rows)


def count_shared(training: Examples, test: Examples, task: Task) -> int:
    """Rows of the training split with texts, none of them empty, that the test split has, too."""
    there = {texts for texts in _texts(test.rows, task) if all(texts)}
    return sum(texts in there for texts in _texts(training.rows, task))


def refuse_unreadable(
    counts: InputCounts,
    examples: Examples,
    task: Task,
    split: str,
    *,
    model: str,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Refuse a split that is the same to a network whatever its rows say.

    Raises: DataError, if its texts are empty, all tokens unknown, or all examples alike.
    """
    first: Any = examples.rows[0]
    column, rows = task.texts[-1], f"{len(examples.rows):,} rows of the {split} split"
    quoted = cut(first[column])
    if not counts.tokens:
        raise DataError(
            f"expected texts in the column {column!r}, got {rows} without any that {model!r} can "
            f"read, such as {quoted}. Use another column, or other data."
        )
    if counts.unknown == 1:
        lower = (
            getattr(tokenizer, "do_lower_case", False) and first[column] != first[column].lower()
        )
        case = " It lower-cases texts first: is its vocabulary in capitals?" if lower else ""
        raise DataError(
            f"expected texts in words that the tokenizer of {model!r} knows, got {rows} in which "
            f"every token is unknown ({tokenizer.unk_token}), such as {quoted}.{case} Use a model "
            "of the texts' language or alphabet."
        )
    if counts.distinct == 1 and not TASK_KINDS[task.kind].same_text_is_fine:
        shown = " ".join(tokenizer.convert_ids_to_tokens(examples.inputs["input_ids"][0].tolist()))
        raise DataError(
            f"expected examples that differ, got {rows} that are all the same to {model!r}: "
            f"{cut(shown)}. Use other data, or a max_length that reaches past their common "
            "beginning."
        )
