"""The fields of a task that decide what its rows are and what a network is asked about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["TaskDefinition"]


@dataclass(frozen=True, kw_only=True)
class TaskDefinition:
    """What a kind of task knows about one task; `Task` adds data, recipe and margin."""

    name: str
    """What it is called; by default as its file."""
    kind: str
    """classification, regression, span or mlm."""
    texts: tuple[str, ...]
    """Columns with text: one, or the two of a pair."""
    metric: str
    """What the score is: a metric of its kind."""
    more: tuple[str, ...] = ()
    """Further metrics that are reported."""
    label: str = "label"
    """Column with the class or the value."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of their numbers; a classification needs them."""
    n_best: int = 0
    """First and last tokens that are considered for an answer, the likeliest; 0 is all."""
    tsv: Mapping[str, str | int] = field(default_factory=dict, hash=False)
    """Column -> its name in the original TSV files, or its number where they have no header."""
