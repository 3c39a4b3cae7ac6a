"""predict(): what a network predicts for each example, without dropout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tombola.base.specs import IN_C, TrainSpec
from tombola.kernel.fused.weights import weights_for
from tombola.kernel.packed import FUSED, KERNEL, packed
from tombola.kernel.reads import Reads
from tombola.models.network import Network
from tombola.tasks.data.batches import evaluation_batches
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Predictions
from tombola.tasks.kinds.kind import TASK_KINDS, TaskKind
from tombola.training.distributed import accelerator, add_predictions
from tombola.training.faults import in_network
from tombola.training.finite import all_finite
from tombola.training.gradient import to_device
from tombola.training.numerics import kernel

__all__ = ["predict"]

PLAIN = TrainSpec(kernel=KERNEL)
"""A recipe whose kernel is torch's operators."""

LEAST_ROWS = 512
"""Fewest tokens that logits are made for: with fewer rows a matrix product rounds differently."""


def predict(
    network: Network, task: TaskDefinition, examples: Examples, recipe: TrainSpec = PLAIN
) -> Predictions:
    """The network's predictions for the examples, in their order.

    Without dropout, by the kernel of the recipe that the network was trained with, in float32;
    packed-3 computes the blocks in the recipe's precision, but the head is float32, since equal
    logits in bfloat16 would go to the first class. Products are dense with every kernel. The global
    generator is left as it was. The tokens masked for masked language modelling are the same for
    every network, and logits are computed for them only. Ranks take turns with the batches, and
    each has all predictions in the end.

    Returns: (examples, 2): prediction and label; for spans a row for each question, F1 and exact
    match in [0, 1]; for masked language modelling tokens restored and tokens masked. Rows of a
    batch whose logits are not finite are NaN.
    Raises: ModelError, for an error in the network's own code.
    """
    here, device = accelerator(), next(network.model.parameters()).device
    kind, fused = TASK_KINDS[task.kind], kernel(recipe) in IN_C
    name, precision = (FUSED, recipe.precision) if fused else (KERNEL, "fp32")
    weights = weights_for(precision)
    inside = partial(packed, network.model, reads=kind.reads, kernel=name, weights=weights)
    predictions = np.zeros((len(examples), kind.prediction_columns))
    network.model.eval()
    forked = [device] if device.type == "cuda" else []  # by default every GPU that is visible
    with torch.inference_mode(), torch.random.fork_rng(forked):
        every = evaluation_batches(network, task, examples)
        for numbers, batch, labels in islice(every, here.process_index, None, here.num_processes):
            output = _output(network, kind, to_device(batch, device), labels, inside)
            if all_finite(kind.logits(output, batch)):
                predictions[numbers] = kind.predictions(output, labels, examples, numbers, task)
            else:
                predictions[numbers] = np.nan
    return kind.by_row(add_predictions(predictions, here), examples, task)


def _output(
    network: Network, kind: TaskKind, batch: Batch, labels: Batch, inside: Callable[..., Any]
) -> Any:
    """What the network gives for a batch; of labelled tokens only, (labelled, ...) logits."""
    with in_network(network.name, batch), inside(batch) as inputs:
        if kind.reads is not Reads.LABELLED:
            return network.model(**inputs)
        masked = labels["labels"].flatten() >= 0
        rows = _rows(masked).to(batch["input_ids"].device)
        with _words_for(network, rows) as chosen:
            output = network.model(**inputs)
    logits = output.logits.flatten(0, -2)
    logits = logits if chosen else logits[rows]
    output.logits = logits[: int(masked.sum())]
    return output


def _rows(masked: Tensor) -> Tensor:
    """Places of the masked tokens, and of others behind them if they are few."""
    order = torch.argsort(~masked, stable=True)
    return order[: max(LEAST_ROWS, int(masked.sum()))]


@contextmanager
def _words_for(network: Network, rows: Tensor) -> Iterator[list[Tensor]]:
    """Lets the layer that scores every word of the vocabulary read some tokens only.

    Args:
        network: a network with a head for masked language modelling.
        rows: places of the tokens in the flattened batch.

    Yields: a list that stays empty where the network has no such layer and scores all tokens.
    """
    chosen: list[Tensor] = []

    def choose(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *rest = inputs
        chosen.append(rows)
        return (first.flatten(0, -2)[rows][None], *rest)

    layer: Any = network.model.get_output_embeddings()
    if not isinstance(layer, torch.nn.Linear):
        yield chosen
        return
    with layer.register_forward_pre_hook(choose):
        yield chosen
