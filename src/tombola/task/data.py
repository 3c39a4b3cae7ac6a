"""Task -> batches: rows to token numbers once, then batches of like length in a seeded order."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tombola.errors import DataError
from tombola.task.models import stream
from tombola.task.tasks import Task

__all__ = [
    "Batch",
    "Examples",
    "Numbers",
    "batches",
    "chosen",
    "collate",
    "data_fingerprint",
    "encode",
    "mask_tokens",
    "read_split",
    "split_sizes",
]

Batch = dict[str, Tensor]
Rows = list[dict[str, Any]]
Numbers = NDArray[np.int64]
"""Which examples: their places in the split."""
IGNORED = -100
"""Label of a token that is not to be predicted (torch's cross-entropy skips it)."""


def read_split(task: Task, split: str, folder: Path | None = None) -> Rows:
    """The rows of a split, from the package or from a folder of parquet files.

    Args:
        task: which columns there must be.
        split: train, dev or test; the files are named `SPLIT-*.parquet`.
        folder: the folder with the files; the package's own if None.

    Raises: DataError, if files or columns are missing, or there are no rows.
    """
    folder = folder or task.folder
    files = sorted(folder.glob(f"{split}-*.parquet")) if folder.is_dir() else []
    if not files:
        there = sorted({path.name.split("-")[0] for path in folder.glob("*.parquet")})
        found = f"splits {', '.join(there)}" if there else "no parquet file"
        raise DataError(f"expected {split}-*.parquet in {str(folder)!r}, found {found}.")
    try:
        table = pa.concat_tables([pq.read_table(path) for path in files])
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{str(folder)!r}: can't read the {split} split: {reason}.") from None
    missing = [name for name in task.columns if name not in table.column_names]
    if missing:
        raise DataError(
            f"task {task.name!r} needs the column {missing[0]!r} in the {split} split, "
            f"found {', '.join(table.column_names)}."
        )
    if not table.num_rows:
        raise DataError(f"the {split} split in {str(folder)!r} has no rows.")
    rows: Rows = table.select(list(task.columns)).to_pylist()
    return rows


def split_sizes(task: Task) -> tuple[int, ...]:
    """Rows of the package's own train, dev and test split."""
    return tuple(
        sum(pq.read_metadata(path).num_rows for path in task.folder.glob(f"{split}-*.parquet"))
        for split in ("train", "dev", "test")
    )


def data_fingerprint(*splits: Rows) -> str:
    """SHA-256 over the rows that a task uses, whatever files they came in."""
    digest = hashlib.sha256()
    for rows in splits:
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        digest.update(b"\x00")
    return digest.hexdigest()


@dataclass
class Examples:
    """Tokenised examples of one split."""

    rows: Rows
    inputs: dict[str, list[NDArray[np.int32]]]
    """What the network takes (`input_ids`, `attention_mask`, ...), for each example, not padded."""
    targets: list[Any]
    """Class, value, or first and last token of the answer; None for masked language modelling."""
    offsets: list[list[tuple[int, int]]]
    """Characters of the context under each token, for spans only; (0, 0) elsewhere."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each example."""
        return np.array([len(tokens) for tokens in self.inputs["input_ids"]])


def encode(
    rows: Rows, task: Task, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> Examples:
    """Tokenise the rows of a split; the second text of a pair is cut first in a span task."""
    columns = [[_text(row, name) for row in rows] for name in task.texts]
    encoded = tokenizer(
        *columns,
        truncation="only_second" if task.kind == "span" else True,
        max_length=max_length,
        padding=False,
        return_offsets_mapping=task.kind == "span",
    )
    inputs = {
        name: [np.array(values, dtype=np.int32) for values in encoded[name]]
        for name in tokenizer.model_input_names
    }
    offsets: list[list[tuple[int, int]]] = []
    if task.kind == "span":
        for number, pairs in enumerate(encoded["offset_mapping"]):
            inside = encoded.sequence_ids(number)
            offsets.append([p if s == 1 else (0, 0) for p, s in zip(pairs, inside, strict=True)])
    targets = [_target(row, task, offsets[n] if offsets else []) for n, row in enumerate(rows)]
    return Examples(rows=rows, inputs=inputs, targets=targets, offsets=offsets)


def _text(row: dict[str, Any], column: str) -> str:
    text = row[column]
    if not isinstance(text, str):
        raise DataError(f"the column {column!r} has text in every row, got {text!r}.")
    return text


def _target(row: dict[str, Any], task: Task, offsets: Sequence[tuple[int, int]]) -> Any:
    if task.kind == "classification":
        label = row["label"]
        if not isinstance(label, int) or not 0 <= label < len(task.labels):
            last = len(task.labels) - 1
            raise DataError(f"task {task.name!r} has labels 0 to {last}, got {label!r}.")
        return label
    if task.kind == "regression":
        if not isinstance(row["label"], int | float):
            raise DataError(f"task {task.name!r} has numbers as labels, got {row['label']!r}.")
        return float(row["label"])
    if task.kind == "span":
        answers = row["answers"]
        if not answers or not answers["text"] or not answers["answer_start"]:
            raise DataError(f"task {task.name!r} has an answer in every row, got {answers!r}.")
        return _span(answers, offsets)
    return None


def _span(answers: dict[str, Any], offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """First and last token of the first answer; (0, 0) where it was cut off."""
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    first = [n for n, (a, b) in enumerate(offsets) if a <= start < b]
    last = [n for n, (a, b) in enumerate(offsets) if a < end <= b]
    return (first[0], last[0]) if first and last else (0, 0)


def chosen(size: int, limit: int) -> Numbers:
    """Which training examples are used: all, or the first of a shuffle that all seeds share."""
    if not 0 < limit < size:
        return np.arange(size)
    generator = torch.Generator().manual_seed(stream(0, "train-limit"))
    return np.sort(torch.randperm(size, generator=generator).numpy()[:limit])


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
