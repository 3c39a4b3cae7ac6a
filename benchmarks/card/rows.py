"""What is trained for each row of the table, and for how many steps."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel

from protocol import Protocol
from tombola.base.specs import TrainSpec
from tombola.models.embedded import model_path
from tombola.tasks.data.encode import chosen, encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.examples import Examples
from tombola.tasks.task import load_task

__all__ = ["LENGTH", "REPEATS", "TASK", "TEXTS", "Row", "keep_large", "operations"]

TASK = load_task("sentiment")
TEXTS, LENGTH = 32, 128
"""Texts of a step, and tokens of each where all have the same length."""
REPEATS = 3
SMALL = {
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 256,
}


@dataclass(frozen=True)
class Row:
    """A network, a precision, and the steps that are done, warm-up first."""

    name: str
    """`mini` on the texts of `sentiment`; or a folder with a network, on random texts."""
    precision: str
    epoch: int
    """Steps of an epoch, and of each timed stretch."""
    warm: int
    """Epochs before the first that is timed: each shape is compiled or captured in them."""
    profiled: int
    """Steps that the profiler sees, in the epoch after the last that is timed."""
    texts: int = TEXTS
    length: int = LENGTH
    """Longer texts are cut."""
    compile: bool = False

    @property
    def epochs(self) -> int:
        """Of the whole training."""
        return self.warm + REPEATS + 1

    @property
    def marks(self) -> tuple[int, ...]:
        """Steps after which the clock is read."""
        return tuple(self.epoch * (self.warm + number) for number in range(REPEATS + 1))

    @property
    def place(self) -> str:
        """Of the network's files."""
        return str(model_path("mini")) if self.name == "mini" else self.name

    @cached_property
    def examples(self) -> Examples:
        """One epoch of them."""
        count = self.epoch * self.texts
        if self.name != "mini":
            return _random_texts(count, self.length)
        rows = read_split(TASK, "train")
        tokenizer = AutoTokenizer.from_pretrained(self.place)
        chosen_rows = [rows[number] for number in chosen(len(rows), count)]
        return encode_split(chosen_rows, TASK, tokenizer, self.spec)

    @property
    def spec(self) -> TrainSpec:
        """The recipe, as tombola has it."""
        return TrainSpec(
            epochs=self.epochs,
            batch_size=self.texts,
            max_length=self.length,
            precision=self.precision,
            compile=self.compile,
        )

    @property
    def protocol(self) -> Protocol:
        """The same recipe, as `peers.py` has it."""
        return Protocol(
            epochs=self.epochs,
            batch_size=self.texts,
            learning_rate=self.spec.learning_rate,
            warmup=0.0,
            precision=self.precision,
        )


def _random_texts(count: int, length: int) -> Examples:
    """Random tokens, all texts of one length."""
    drawn = np.random.default_rng(0).integers(1000, 17_000, (count, length), dtype=np.int32)
    ones = np.ones(length, dtype=np.int32)
    return Examples(
        rows=[{}] * count,
        inputs={"input_ids": [*drawn], "attention_mask": [ones] * count},
        targets=[number % 2 for number in range(count)],
        offsets=[],
    )


def keep_large(place: Path, small: bool) -> None:
    """Keep a network of BERT-base's size and random weights, with the embedded tokenizer."""
    config = BertConfig(**SMALL) if small else BertConfig()  # type: ignore[arg-type]
    BertModel(config).save_pretrained(place)
    AutoTokenizer.from_pretrained(model_path("mini")).save_pretrained(place)


def operations(row: Row, *, skipping: bool) -> float:
    """Floating-point operations of a step on texts of one length, counted from shapes.

    Forward and backward take 6 for each token and weight of the blocks' linear layers, and
    12 x length x width for each token and block in the two products of attention. Head, pooler,
    softmax, norms and the optimizer count nothing.

    Args:
        row: what is trained.
        skipping: whether the last block makes the vectors of the first tokens only, so that of
            its layers only keys and values are computed for every token.
    """
    config: Any = AutoConfig.from_pretrained(row.place)
    width, inner = config.hidden_size, config.intermediate_size
    tokens, weights = row.texts * row.length, 4 * width**2 + 2 * width * inner
    block = 6 * weights * tokens + 12 * row.length * width * tokens
    last = 6 * (2 * width**2) * tokens if skipping else block
    return float((config.num_hidden_layers - 1) * block + last)
