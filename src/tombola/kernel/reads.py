"""Which of an encoder's vectors the head of a task reads; no torch."""

from enum import Enum, auto

__all__ = ["IGNORED", "Reads"]

IGNORED = -100
"""Label of a token that is not to be predicted (torch's cross-entropy skips it)."""


class Reads(Enum):
    """Which tokens a head reads the vectors of."""

    FIRST = auto()
    """The first token of each text, which stands for the whole text."""
    LABELLED = auto()
    """The tokens that have a label, where there are labels; otherwise all."""
    ALL = auto()
    """All tokens, and padding."""
