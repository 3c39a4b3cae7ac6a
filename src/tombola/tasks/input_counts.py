"""Counts of a split: its rows, and what is unusual about them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tombola.base.rounding import percent

__all__ = ["InputCounts", "SplitCounts"]

MUCH_UNKNOWN, MUCH_CUT, MUCH_EMPTY, MUCH_SHARED = 0.05, 0.25, 0.01, 0.01
"""Shares from which unknown tokens, cut texts, empty texts and shared rows are reported."""


@dataclass(frozen=True, kw_only=True)
class InputCounts:
    """What a network reads of a split, as its tokenizer encodes it; shares are in [0, 1]."""

    examples: int
    """Rows, or windows or blocks of them."""
    distinct: int
    """Different examples among them."""
    tokens: int
    """Tokens of all examples, without special ones."""
    unknown: float
    """Share of the tokens that stand for what is not in the tokenizer's vocabulary."""
    cut: float
    """Share of the examples whose text goes on after their last token."""
    empty: float
    """Share of the rows with a text of no letter; those of blocks, which may, are not counted."""
    shared: int = 0
    """Rows of the training split whose texts are in the test split, too."""

    @property
    def much_unknown(self) -> bool:
        """Whether too many tokens are unknown for longer training to help."""
        return self.unknown >= MUCH_UNKNOWN

    def remarks(self, split: str) -> list[str]:
        """Warnings, a sentence each; none where nothing is out of the ordinary."""
        found = []
        if self.much_unknown:
            found.append(
                f"{_percent(self.unknown)} of the tokens of the {split} split are unknown to the "
                "model's tokenizer, and all read alike. Use a model of the texts' language, and "
                "compare upper and lower case with its vocabulary's."
            )
        if self.cut >= MUCH_CUT:
            found.append(
                f"{_percent(self.cut)} of the texts of the {split} split are cut at the end. A "
                "larger max_length reads more of them."
            )
        if self.empty >= MUCH_EMPTY:
            found.append(
                f"{_percent(self.empty)} of the rows of the {split} split have an empty text."
            )
        if self.distinct <= self.examples // 2:
            found.append(
                f"only {self.distinct:,} of the {self.examples:,} examples of the {split} split "
                "differ from each other."
            )
        if self.shared >= max(1, MUCH_SHARED * self.examples):
            found.append(
                f"{self.shared:,} rows of the {split} split are in the test split, too: scores are "
                "too optimistic."
            )
        return found

    def sentence(self, split: str) -> str:
        """All counts in one line."""
        shared = f"; {self.shared:,} rows are in the test split, too" if self.shared else ""
        every = self.distinct == self.examples
        distinct = "all distinct" if every else f"{self.distinct:,} distinct"
        return (
            f"{split} split: {self.examples:,} examples, {distinct}, "
            f"{_percent(self.unknown)} of the tokens unknown, {_percent(self.cut)} of the texts "
            f"cut, {_percent(self.empty)} empty{shared}"
        )


def _percent(share: float) -> str:
    """A share in percent, with more decimals where it would look like none or all."""
    return percent(share, digits=1 if 0.001 <= share <= 0.999 or share in (0, 1) else 3)


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """Counts of one split. A new count is a field with a default."""

    rows: int = 0
    """Rows that are used."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Column -> rows that were left out because of its value."""
    characters: float = 0.0
    """Mean characters of a row's texts; 0 if unknown."""
    inputs: InputCounts | None = None
    """What a network reads of them; None before anything is trained."""

    def to_json(self) -> dict[str, Any]:
        """The fields, as a result has them."""
        return dataclasses.asdict(self)
