"""Knobs of a task: what is scored, and how a user's own data are laid out."""

from dataclasses import dataclass

from tombola.base.specs.spec import Spec

__all__ = ["TaskSpec"]


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Spec):
    """What is scored on a task, and what the columns of a user's own data mean."""

    eval_split: str = ""
    """Split that scores come from: test, dev, or validation, which is the whole development set (by
    default that of the task or the ticket)."""

    kind: str = ""
    """Kind of a task csv:DIR or csv:FILE: classification (the default), regression or mlm."""

    text_columns: tuple[str, ...] = ()
    """Column with the text in csv:DIR, csv:FILE or mlm, or the two of a pair (by default text)."""

    label_column: str = ""
    """Column with the class or the number in csv:DIR or csv:FILE (by default label)."""

    labels: tuple[str, ...] = ()
    """Classes of csv:DIR or csv:FILE in order (by default those of the training rows, sorted)."""

    metric: str = ""
    """Metric of csv:DIR or csv:FILE (by default accuracy, pearson or masked-accuracy)."""

    drop_bad_rows: bool = False
    """Leave out rows with a label, text or answer that can't be used, and count them."""

    margin: float | None = None
    """Largest loss against dense that still counts as matching, in points (by default the task's,
    or else the larger of 1 and 5 % of what dense gains over a trivial baseline)."""
