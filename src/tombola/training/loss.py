"""The mean loss of a network over a split, without dropout."""

import torch

from tombola.models.network import Network
from tombola.tasks.data.batches import evaluation_batches
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Examples
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.training.gradient import to_device

__all__ = ["mean_loss"]


@torch.inference_mode()
def mean_loss(network: Network, task: TaskDefinition, examples: Examples) -> float:
    """The training loss of a network, in nats or squared units of the label.

    Args:
        network: the network as it stands, on any device.
        task: what the network was trained on.
        examples: the examples of any split.

    Returns: the mean over examples, or over masked tokens where these are the targets; the tokens
        masked are those of `predict`, the same for every network.
    """
    device = next(network.model.parameters()).device
    network.model.eval()
    total, count = 0.0, 0
    for _, inputs, labels in evaluation_batches(network, task, examples):
        batch = to_device(inputs | labels, device)
        targets = TASK_KINDS[task.kind].count_targets(batch)
        if targets:  # without any, the loss is NaN
            total += float(network.model(**batch).loss) * targets
            count += targets
    return total / max(count, 1)
