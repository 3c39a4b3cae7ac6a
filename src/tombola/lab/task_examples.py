"""Examples of a task, as a network that was trained on it reads them."""

from dataclasses import replace

from tombola.base.errors import MissingSplitError
from tombola.models.network import Network
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.examples import Examples
from tombola.tasks.recipes import recipe_for
from tombola.tasks.task import Task, on_hub

__all__ = ["read_examples"]


def read_examples(
    network: Network, task: Task, limit: int | None, data: str | None
) -> tuple[str, Examples]:
    """Examples of the dev split, or of that for scores where there is no other; and which.

    Args:
        network: the network whose tokenizer encodes them.
        task: the task that they are examples of.
        limit: the number of rows; None is all.
        data: where the task's files are, if not where the task says.
    """
    place = data or task.place
    if place is not None and on_hub(place):
        from tombola.tasks.data.hub import pinned

        place = pinned(place)
    recipe = recipe_for(task, network.name, {})
    length = min(recipe.max_length, network.positions or recipe.max_length)
    recipe = replace(recipe, max_length=length)
    split = "dev"
    try:
        rows = read_split(task, split, place)
    except MissingSplitError:
        split = task.test_split
        rows = read_split(task, split, place)
    return split, encode_split(rows, task, network.tokenizer, recipe, limit=limit or 0)
