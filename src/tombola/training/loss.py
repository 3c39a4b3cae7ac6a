"""The mean loss of a network over a split, without dropout."""

import torch

from tombola.models.network import Network
from tombola.tasks.data.batches import Examples, evaluation_batches
from tombola.tasks.task import Task

__all__ = ["mean_loss"]


@torch.inference_mode()
def mean_loss(network: Network, task: Task, examples: Examples) -> float:
    """The loss that training lowers, in nats or squared units of the label.

    Args:
        network: as it stands, on any device.
        task: what the labels mean.
        examples: of any split.

    Returns: the mean over examples, or over masked tokens where these are the targets; the tokens
        masked are those of `evaluate`, the same for every network.
    """
    device = next(network.model.parameters()).device
    network.model.eval()
    total, count = 0.0, 0
    for _, inputs, labels in evaluation_batches(network, task, examples):
        batch = {name: tensor.to(device) for name, tensor in (inputs | labels).items()}
        targets = batch["labels"] >= 0 if task.kind == "mlm" else batch["input_ids"][:, 0] >= 0
        if targets.any():  # the loss of a batch in which nothing is masked is no number
            total += float(network.model(**batch).loss) * int(targets.sum())
            count += int(targets.sum())
    return total / max(count, 1)
