"""What is counted of a split: how many rows there are, and what a reader must know of them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SplitCounts"]


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """Counts of one split. Whoever counts something else adds a field with a default."""

    rows: int = 0
    """Rows that are used."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that were left out for it."""

    def to_json(self) -> dict[str, Any]:
        """The fields, as a result has them."""
        return dataclasses.asdict(self)
