"""A subject for plans that no test trains: it stands for a network and data that are not there."""

from tombola.base.specs import TrainSpec
from tombola.plan.subject import Subject
from tombola.tasks.task import Task

__all__ = ["subject"]


def subject(task: Task, recipe: TrainSpec) -> Subject:
    """A thousand examples of a task, with no model and no data behind them."""
    return Subject(
        model="mini",
        fingerprint="0" * 64,
        task=task,
        recipe=recipe,
        data=task.name.ljust(64, "1"),
        examples=1000,
        folder=None,
    )
