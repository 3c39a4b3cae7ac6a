"""Rows -> token numbers: an example for each row, or for each window or block of texts."""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tombola.base.errors import DataError
from tombola.base.seeds import derive_seed
from tombola.base.specs import TrainSpec
from tombola.tasks.data.rows import Rows
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Examples, Numbers, texts_of
from tombola.tasks.kinds.kind import TASK_KINDS

__all__ = ["chosen", "encode_split"]


def encode_split(
    rows: Rows,
    task: TaskDefinition,
    tokenizer: PreTrainedTokenizerBase,
    spec: TrainSpec,
    *,
    limit: int = 0,
) -> Examples:
    """Tokenise a split as a recipe says.

    Args:
        rows: the rows of the split.
        task: what they are.
        tokenizer: the network's tokenizer.
        spec: the recipe: how long examples are, and how longer texts are cut.
        limit: number of rows that are used, or of blocks where the recipe makes them, by a choice
            that all seeds share; 0 is all.
    """
    if spec.blocks:
        return encode_blocks(rows, task, tokenizer, max_length=spec.max_length, limit=limit)
    used = [rows[n] for n in chosen(len(rows), limit, "test-limit")]
    return TASK_KINDS[task.kind].encode(used, task, tokenizer, spec)


def encode_blocks(
    rows: Rows,
    task: TaskDefinition,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    limit: int = 0,
) -> Examples:
    """Tokenise texts, join them, and cut them into blocks with special tokens around each.

    What is left after the last whole block is dropped, unless it is all there is.

    Args:
        rows: the rows with the texts.
        task: which column they are in.
        tokenizer: the network's tokenizer.
        max_length: tokens of a block, special ones included.
        limit: number of blocks that are made, of the texts in a seeded order; 0 is all.
    """
    before, after = _around(tokenizer)
    room = max_length - len(before) - len(after)
    if room < 1:
        raise DataError(
            f"max_length must leave room for a text, got {max_length}. Use a larger one."
        )
    texts = [rows[n] for n in _shuffled(len(rows), "test-limit")] if limit else rows
    tokens = _joined(texts, task, tokenizer, enough=room * limit)
    if not len(tokens):
        raise DataError(f"task {task.name!r} has texts with words, got none in {len(rows)} rows.")
    starts = range(0, max(1, len(tokens) - room + 1), room)[: limit or None]
    blocks = [np.concatenate([before, tokens[at : at + room], after]) for at in starts]
    ones, zeros = np.ones(max_length, dtype=np.int32), np.zeros(max_length, dtype=np.int32)
    inputs: dict[str, list[NDArray[np.int32]]] = {
        name: [(ones if name == "attention_mask" else zeros)[: len(block)] for block in blocks]
        for name in tokenizer.model_input_names
    }
    inputs["input_ids"] = blocks
    return Examples(rows=rows, inputs=inputs, targets=[None] * len(blocks), offsets=[], blocks=True)


def _around(tokenizer: PreTrainedTokenizerBase) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The special tokens before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    words = [n for n, special in enumerate(encoded["special_tokens_mask"]) if not special]
    ids = np.array(encoded["input_ids"], dtype=np.int32)
    return ids[: words[0]], ids[words[-1] + 1 :]


def _joined(
    rows: Rows, task: TaskDefinition, tokenizer: PreTrainedTokenizerBase, *, enough: int
) -> NDArray[np.int32]:
    """The tokens of all texts, a thousand texts at a time; of the first only, once it's enough."""
    parts, count = [np.zeros(0, dtype=np.int32)], 0
    for start in range(0, len(rows), 1000):
        texts = texts_of(rows[start : start + 1000], task.texts[0])
        for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
            parts.append(np.array(ids, dtype=np.int32))
            count += len(ids)
        if 0 < enough <= count:
            break
    return np.concatenate(parts)


def chosen(size: int, limit: int, purpose: str = "train-limit") -> Numbers:
    """Which examples are used: all, or the first of a shuffle that all seeds share, in order."""
    if not 0 < limit < size:
        return np.arange(size)
    return np.sort(_shuffled(size, purpose)[:limit])


def _shuffled(size: int, purpose: str) -> Numbers:
    """Numbers below `size` in an order that only the purpose decides."""
    generator = torch.Generator().manual_seed(derive_seed(0, purpose))
    return torch.randperm(size, generator=generator).numpy()
