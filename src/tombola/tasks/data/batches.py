"""Examples -> batches: of like length, in a seeded order, padded to the longest."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from tombola.base.seeds import derive_seed
from tombola.base.specs import TrainSpec
from tombola.models.network import Network
from tombola.tasks.data.encode import chosen
from tombola.tasks.definition import TaskDefinition
from tombola.tasks.examples import Batch, Examples, Numbers
from tombola.tasks.kinds.kind import TASK_KINDS

__all__ = ["batches", "collate", "evaluation_batches", "training_batches"]

EVALUATION_TOKENS = 4096
"""Tokens in an evaluation batch, padding included."""


def batches(
    lengths: NDArray[np.int64], batch_size: int, generator: torch.Generator
) -> Iterator[Numbers]:
    """One pass over the examples: numbers of those in each batch, of like length, shuffled.

    Examples are shuffled, sorted by length within stretches of fifty batches, cut into batches,
    and the batches are shuffled. All but one batch are full.
    """
    order = torch.randperm(len(lengths), generator=generator).numpy()
    stretch = 50 * batch_size
    groups = []
    for start in range(0, len(order), stretch):
        part = order[start : start + stretch]
        part = part[np.argsort(lengths[part], kind="stable")]
        groups += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    for number in torch.randperm(len(groups), generator=generator).tolist():
        yield groups[number]


def collate(examples: Examples, numbers: Numbers, task: TaskDefinition, pad: int) -> Batch:
    """Pad the chosen examples on the right to the longest of them.

    Where a tokenizer pads on the right, DataCollatorWithPadding of transformers makes the same
    tensors, in nine times the time.

    Returns: the inputs, each (batch, length), and the labels as the head wants them: `labels`
    (batch,), or `start_positions` and `end_positions`, or none for masked language modelling.
    """
    width = int(examples.lengths[numbers].max())
    tensors = {}
    for name, values in examples.inputs.items():
        padded = np.full((len(numbers), width), pad if name == "input_ids" else 0, dtype=np.int64)
        for row, n in enumerate(numbers):
            padded[row, : len(values[n])] = values[n]
        tensors[name] = torch.from_numpy(padded)
    targets = [examples.targets[n] for n in numbers]
    return tensors | TASK_KINDS[task.kind].collate(targets)


def training_batches(
    network: Network,
    task: TaskDefinition,
    examples: Examples,
    spec: TrainSpec,
    *,
    first: int,
    last: int,
) -> Iterator[Batch]:
    """The batches of some steps of a training, whole on every rank.

    Order and masked tokens each come from a generator of their own. The steps before the first
    draw from them as well, so that a step has the same batch wherever a training begins.
    """
    order = torch.Generator().manual_seed(derive_seed(spec.noise_seed, "order"))
    masks = torch.Generator().manual_seed(derive_seed(spec.noise_seed, "masks"))
    used = chosen(len(examples), spec.train_limit)
    done = 0
    while True:
        for places in batches(examples.lengths[used], spec.batch_size, order):
            if done == last:
                return
            numbers, wanted = used[places], done >= first
            if wanted:
                batch = collate(examples, numbers, task, network.pad)
            else:
                size = len(numbers), int(examples.lengths[numbers].max())
                batch = {"input_ids": torch.zeros(size, dtype=torch.int64)}
            batch = TASK_KINDS[task.kind].corrupt(batch, network.tokenizer, masks)
            if wanted:
                yield batch
            done += 1


def evaluation_batches(
    network: Network, task: TaskDefinition, examples: Examples
) -> Iterator[tuple[Numbers, Batch, Batch]]:
    """Examples sorted by length, in batches of about as many tokens: numbers, inputs, labels."""
    kind = TASK_KINDS[task.kind]
    masks = torch.Generator().manual_seed(derive_seed(0, "evaluation"))
    order = np.argsort(-examples.lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, EVALUATION_TOKENS // int(examples.lengths[order[start]]))
        numbers = order[start : start + count]
        batch = collate(examples, numbers, task, network.pad)
        batch = kind.corrupt(batch, network.tokenizer, masks)
        labels = {name: batch.pop(name) for name in kind.label_names & batch.keys()}
        yield numbers, batch, labels
        start += count
