"""Task -> batches: rows to token numbers once, then batches of like length in a seeded order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tombola.base.errors import DataError
from tombola.base.seeds import stream
from tombola.base.specs import TrainSpec
from tombola.models.network import Network
from tombola.tasks.examples import Batch, Examples, Numbers, Rows, count_cut, texts_of
from tombola.tasks.spans import encode_spans
from tombola.tasks.task import Task

__all__ = [
    "LABELS",
    "Batch",
    "Examples",
    "Numbers",
    "batches",
    "chosen",
    "collate",
    "encode",
    "encode_split",
    "evaluation_batches",
    "mask_tokens",
]

LABELS = frozenset({"labels", "start_positions", "end_positions"})
"""Keys of a batch that are not inputs of the network."""
EVALUATION_TOKENS = 4096
"""Tokens in an evaluation batch, padding included."""
IGNORED = -100
"""Label of a token that is not to be predicted (torch's cross-entropy skips it)."""


def encode_split(
    rows: Rows, task: Task, tokenizer: PreTrainedTokenizerBase, spec: TrainSpec, *, limit: int = 0
) -> Examples:
    """Tokenise a split as a recipe says.

    Args:
        rows: of the split.
        task: what they are.
        tokenizer: of the network.
        spec: the recipe: how long examples are, and how longer texts are cut.
        limit: so many rows are used, or blocks where the recipe makes them, by a seeded choice
            that all seeds share; 0 is all.
    """
    if spec.blocks:
        return encode_blocks(rows, task, tokenizer, max_length=spec.max_length, limit=limit)
    return encode(
        [rows[n] for n in chosen(len(rows), limit, "test-limit")],
        task,
        tokenizer,
        max_length=spec.max_length,
        stride=spec.stride,
        query_length=spec.query_length,
    )


def encode(
    rows: Rows,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    stride: int = 0,
    query_length: int = 0,
) -> Examples:
    """Tokenise rows, each an example; or its windows, in a span task with a stride.

    Args:
        rows: of the split.
        task: what they are.
        tokenizer: of the network.
        max_length: tokens of an example; of a pair, the longer text is cut.
        stride: of windows, see `encode_spans`.
        query_length: of questions, see `encode_spans`.
    """
    if task.kind == "span":
        return encode_spans(
            *(rows, task, tokenizer),
            max_length=max_length,
            stride=stride,
            query_length=query_length,
        )
    columns = [texts_of(rows, name) for name in task.texts]
    encoded = tokenizer(*columns, truncation=True, max_length=max_length, padding=False)
    inputs = {
        name: [np.array(values, dtype=np.int32) for values in encoded[name]]
        for name in tokenizer.model_input_names
    }
    targets = [_target(row, task) for row in rows]
    return Examples(
        rows=rows,
        inputs=inputs,
        targets=targets,
        offsets=[],
        cut=count_cut(encoded, max_length),
    )


def _target(row: dict[str, Any], task: Task) -> Any:
    if task.kind == "classification":
        label = row["label"]
        if not isinstance(label, int) or not 0 <= label < len(task.labels):
            last = len(task.labels) - 1
            hidden = " They seem to be hidden: name another --eval-split." if label == -1 else ""
            raise DataError(f"task {task.name!r} has labels 0 to {last}, got {label!r}.{hidden}")
        return int(label)  # true and false, too
    if task.kind == "regression":
        if not isinstance(row["label"], int | float):
            raise DataError(f"task {task.name!r} has numbers as labels, got {row['label']!r}.")
        return float(row["label"])
    return None


def encode_blocks(
    rows: Rows, task: Task, tokenizer: PreTrainedTokenizerBase, *, max_length: int, limit: int = 0
) -> Examples:
    """Tokenise texts, join them, and cut them into blocks with special tokens around each.

    What is left behind the last whole block is dropped, unless it is all there is.

    Args:
        rows: with the texts.
        task: which column they are in.
        tokenizer: of the network.
        max_length: tokens of a block, special ones included.
        limit: so many blocks are made, of the texts in a seeded order; 0 is all.
    """
    before, after = _around(tokenizer)
    room = max_length - len(before) - len(after)
    if room < 1:
        raise DataError(f"max_length leaves room for a text, got {max_length}. Take a larger one.")
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
    """The special tokens before and behind a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    words = [n for n, special in enumerate(encoded["special_tokens_mask"]) if not special]
    ids = np.array(encoded["input_ids"], dtype=np.int32)
    return ids[: words[0]], ids[words[-1] + 1 :]


def _joined(
    rows: Rows, task: Task, tokenizer: PreTrainedTokenizerBase, *, enough: int
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
    generator = torch.Generator().manual_seed(stream(0, purpose))
    return torch.randperm(size, generator=generator).numpy()


def batches(
    lengths: NDArray[np.int64], batch_size: int, generator: torch.Generator
) -> Iterator[Numbers]:
    """One pass over the examples: numbers of those in each batch, of like length, shuffled.

    Examples are shuffled, sorted by length within stretches of fifty batches, cut into batches,
    and the batches are shuffled. All but one batch are full.
    """
    order = torch.randperm(len(lengths), generator=generator).numpy()
    stretch = 50 * batch_size
    groups = []
    for start in range(0, len(order), stretch):
        part = order[start : start + stretch]
        part = part[np.argsort(lengths[part], kind="stable")]
        groups += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    for number in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[number]


def collate(examples: Examples, numbers: Numbers, task: Task, pad: int) -> Batch:
    """Pad the chosen examples to the longest of them.

    Returns: the inputs, each (batch, length), and the labels as the head wants them: `labels`
    (batch,), or `start_positions` and `end_positions`, or none for masked language modelling.
    """
    width = int(examples.lengths[numbers].max())
    tensors = {}
    for name, values in examples.inputs.items():
        padded = np.full((len(numbers), width), pad if name == "input_ids" else 0, dtype=np.int64)
        for row, n in enumerate(numbers):
            padded[row, : len(values[n])] = values[n]
        tensors[name] = torch.from_numpy(padded)
    targets = [examples.targets[n] for n in numbers]
    if task.kind == "span":
        tensors["start_positions"] = torch.tensor([first for first, _ in targets])
        tensors["end_positions"] = torch.tensor([last for _, last in targets])
    elif task.kind != "mlm":
        tensors["labels"] = torch.tensor(targets)
    return tensors


def evaluation_batches(
    network: Network, task: Task, examples: Examples
) -> Iterator[tuple[Numbers, Batch, Batch]]:
    """Examples sorted by length, in batches of about as many tokens: numbers, inputs, labels."""
    masks = torch.Generator().manual_seed(stream(0, "evaluation"))
    order = np.argsort(-examples.lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, EVALUATION_TOKENS // int(examples.lengths[order[start]]))
        numbers = order[start : start + count]
        batch = collate(examples, numbers, task, network.pad)
        if task.kind == "mlm":
            batch = mask_tokens(batch, network.tokenizer, masks)
        labels = {name: batch.pop(name) for name in LABELS & batch.keys()}
        yield numbers, batch, labels
        start += count


def mask_tokens(
    batch: Batch, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator
) -> Batch:
    """Choose 15 % of the tokens for prediction: 80 % masked, 10 % replaced, 10 % left.

    Special tokens are never chosen (Devlin et al. 2019).
    """
    ids = batch["input_ids"].clone()
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chance, kind = torch.rand((2, *ids.shape), generator=generator)
    picked = (chance < 0.15) & ~special
    labels = torch.where(picked, ids, IGNORED)
    ids[picked & (kind < 0.8)] = tokenizer.mask_token_id
    replaced = picked & (kind >= 0.9)
    words = torch.randint(len(tokenizer), ids.shape, generator=generator)
    ids[replaced] = words[replaced]
    return {**batch, "input_ids": ids, "labels": labels}
