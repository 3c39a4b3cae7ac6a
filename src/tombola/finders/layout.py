"""How a network stores the weights of its scope, as far as pruning depends on it."""

from dataclasses import dataclass

__all__ = ["PLAIN", "Layout"]


@dataclass(frozen=True)
class Layout:
    """The layout of a network's weights."""

    heads: int = 0
    """Attention heads of a block, for structures; 0 if unknown."""
    transposed: frozenset[str] = frozenset()
    """Weights of linear layers that are stored as (inputs, outputs)."""


PLAIN = Layout()
"""That of linear layers of a network whose heads aren't known."""
