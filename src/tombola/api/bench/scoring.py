"""The score of a network, however it is run, on examples of its task."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tombola.kernel.reads import Reads
from tombola.models.network import Network
from tombola.ship.compiled.runtimes import Runnable
from tombola.tasks.data.batches import evaluation_batches
from tombola.tasks.examples import Batch, Examples
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.metrics import score_of
from tombola.tasks.task import Task

__all__ = ["score"]


@torch.inference_mode()
def score(runnable: Runnable, network: Network, task: Task, examples: Examples) -> float:
    """The score in points of the task's metric.

    Args:
        runnable: what predicts.
        network: the network whose tokenizer made the examples.
        task: what is asked.
        examples: examples of a split.
    """
    kind = TASK_KINDS[task.kind]
    size = (len(examples), kind.prediction_columns)
    predictions = torch.zeros(size, dtype=torch.float64).numpy()
    for numbers, batch, labels in evaluation_batches(network, task, examples):
        output = _output(runnable.call(**batch), labels, only_labelled=kind.reads is Reads.LABELLED)
        predictions[numbers] = kind.predictions(output, labels, examples, numbers, task)
    return score_of(kind.by_row(predictions, examples, task), task.metric)


def _output(given: Mapping[str, Any], labels: Batch, *, only_labelled: bool) -> SimpleNamespace:
    """The outputs as float32; of masked language modelling those of masked tokens only."""
    tensors = {name: each.float() for name, each in given.items() if isinstance(each, Tensor)}
    if only_labelled:
        tensors["logits"] = tensors["logits"][labels["labels"] >= 0]
    return SimpleNamespace(**tensors)
