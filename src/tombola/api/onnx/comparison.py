"""An ONNX file next to the network that it was made of: outputs on examples, and zeros."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tombola.base.errors import ModelError
from tombola.kernel.reads import Reads
from tombola.models.network import Network
from tombola.ship.onnx_file import OnnxNetwork, count_zeros
from tombola.tasks.data.batches import evaluation_batches
from tombola.tasks.examples import Examples
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import Task
from tombola.ticket.scope import scope_parameters

__all__ = ["difference_of", "sample_of", "zeros_of"]

TOLERANCE = 1e-4
"""How far an output may be from the network's own."""


def sample_of(network: Network, task: Task, examples: Examples) -> Mapping[str, Tensor]:
    """Two examples, one of them with padding, for the exporter to follow."""
    _, batch, _ = next(evaluation_batches(network, task, examples))
    first = {name: tensor[:1].repeat(2, 1) for name, tensor in batch.items()}
    first["attention_mask"][1, -1] = 0
    return first


@torch.no_grad()
def difference_of(network: Network, made: OnnxNetwork, task: Task, examples: Examples) -> float:
    """The largest difference between outputs, padding left out.

    Raises: ModelError, if it is too large.
    """
    kind, largest = TASK_KINDS[task.kind], 0.0
    network.model.eval()
    for _, batch, _ in evaluation_batches(network, task, examples):
        ours, theirs = network.model(**batch), made(**batch)
        for name, output in theirs.items():
            apart = (ours[name] - output).abs()
            if kind.reads is not Reads.FIRST:  # an output for each token
                apart = apart[batch["attention_mask"].bool()]
            largest = max(largest, float(apart.max().nan_to_num(float("inf"))))
    if largest > TOLERANCE:
        raise ModelError(
            f"expected outputs of {network.name!r} in ONNX Runtime within {TOLERANCE:g} of its "
            f"own, got a difference of {largest:.3g}. Use another architecture."
        )
    return largest


def zeros_of(network: Network, made: OnnxNetwork) -> tuple[int, int]:
    """Zeros in the encoder's matrices, and their weights; every weight has the same in the file.

    Raises: ModelError, if one has not.
    """
    inside = {id(weight) for weight in scope_parameters(network.model, "encoder").values()}
    theirs, zeros, weights = made.zeros(), 0, 0
    for name, weight in network.model.named_parameters():
        count, pruned = count_zeros(weight.detach()), id(weight) in inside
        if theirs.get(name, count + 1 if pruned else count) != count:
            raise ModelError(
                f"expected {count:,} zeros in {name} in the ONNX file, got "
                f"{theirs.get(name, 'no such weight')}. Use another architecture."
            )
        zeros, weights = zeros + count * pruned, weights + weight.numel() * pruned
    return zeros, weights
