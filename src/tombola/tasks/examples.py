"""Tokenised examples of one split, and the types of batches of them and of what is predicted.

Planning reads this file, so numpy is imported only where arrays are made.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from tombola.base.errors import DataError
from tombola.tasks.data.rows import Rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Batch", "Examples", "Numbers", "Predictions", "count_cut", "texts_of"]

Batch = dict[str, "Tensor"]
"""Name -> (examples, ...): what the head takes, inputs and labels."""
Numbers: TypeAlias = "NDArray[np.int64]"
"""Which examples: their places in the split."""
Predictions: TypeAlias = "NDArray[np.float64]"
"""(examples, columns): what one network predicted for each example."""


@dataclass
class Examples:
    """Tokenised examples of one split: a row each, or a window or a block of rows."""

    rows: Rows
    inputs: "dict[str, list[NDArray[np.int32]]]"
    """Inputs of the network (`input_ids`, `attention_mask`, ...), for each example, not padded."""
    targets: list[Any]
    """Class, value, or first and last token of the answer; None for masked language modelling."""
    offsets: "list[NDArray[np.int32]]"
    """(tokens, 2): characters of the context under each token, for spans only; (0, 0) elsewhere."""
    owners: list[int] = field(default_factory=list)
    """The row that each example is a window of, for spans only."""
    cut: int = 0
    """Examples whose text goes on after their last token."""
    blocks: bool = False
    """Whether texts were joined and cut into blocks, so that none is empty and none is cut."""

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def lengths(self) -> "NDArray[np.int64]":
        """Tokens in each example."""
        import numpy as np

        return np.array([len(tokens) for tokens in self.inputs["input_ids"]])


def texts_of(rows: Rows, column: str) -> list[str]:
    """The texts of a column.

    Raises: DataError, naming the row, if one is not text.
    """
    texts = []
    for number, row in enumerate(rows):
        if not isinstance(row[column], str):
            raise DataError(
                f"the column {column!r} has text in every row, got {row[column]!r} in row {number}."
            )
        texts.append(row[column])
    return texts


def count_cut(encoded: Any, max_length: int) -> int:
    """How many of a tokenizer's examples it has cut; of a slow one, those of the full length."""
    if not encoded.encodings:
        return sum(len(ids) >= max_length for ids in encoded["input_ids"])
    full = (each for each in encoded.encodings if len(each) >= max_length)
    return sum(bool(each.overflowing) for each in full)
