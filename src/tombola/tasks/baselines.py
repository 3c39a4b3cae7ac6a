"""What is scored without learning anything from the texts: the floor under every score."""

from typing import TYPE_CHECKING

import numpy as np

from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Examples, Predictions
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.metrics import METRICS

if TYPE_CHECKING:
    from tombola.models.network import Network

__all__ = ["constant", "trivial_score"]


def trivial_score(network: "Network", task: TaskDefinition, test: Examples) -> float:
    """The best score of an answer that is the same whatever the text says, in points.

    Every class, the mean value, the commonest answers, the first word or all of the context, or
    the commonest token: chosen on the split that is scored, so that no network looks as if it had
    learned because its classes are as frequent as they are.

    Args:
        network: the network whose tokens are masked, in masked language modelling.
        task: what is scored.
        test: the examples that scores come from.
    """
    tried = TASK_KINDS[task.kind].constants(network, task, test)
    return max(METRICS[task.metric](predictions) for predictions in tried)


def constant(prediction: float, test: Examples) -> Predictions:
    """(examples, 2): one prediction for all examples, next to the target of each."""
    return np.column_stack([np.full(len(test), float(prediction)), np.array(test.targets, float)])
