"""Knobs of a task: what is scored of it, and how a user's own data are laid out."""

from dataclasses import dataclass

from tombola.base.specs.spec import Spec

__all__ = ["TaskSpec"]


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Spec):
    """What is scored of a task, and what the columns of a user's own data are."""

    eval_split: str = ""
    """Split that scores come from: test, dev, or validation, which is the whole development set."""

    kind: str = ""
    """Of csv:DIR: classification (the default), regression or mlm."""

    text_columns: tuple[str, ...] = ()
    """Of csv:DIR and of mlm: the column with the text, or the two of a pair (by default text)."""

    label_column: str = ""
    """Of csv:DIR: the column with the class or the number (by default label)."""

    labels: tuple[str, ...] = ()
    """Of csv:DIR: names of the classes in order (by default those of the training rows, sorted)."""

    metric: str = ""
    """Of csv:DIR: what is scored (by default accuracy, pearson or masked-accuracy)."""

    drop_bad_rows: bool = False
    """Leave out rows with a label, text or answer that can't be used, and count them."""

    margin: float | None = None
    """Largest loss against dense that still counts as matching, in points (by default the task's;
    of a task without one the larger of 1 and 5 % of what dense gains over a trivial baseline)."""
