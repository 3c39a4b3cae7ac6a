"""Tokens per second with each kernel on one thread.

python benchmarks/cpu_kernels.py [PAIRS]           packed-1 and packed-3
python benchmarks/cpu_kernels.py --sparse [PAIRS]  packed-3 and sparse-1

The first trains `mini` on some of `sentiment` under a mask of half the weights. The second trains a
network of BERT-base's size, drawn at random, on texts of 128 tokens under masks of several
sparsities, and leaves out the first step of each training, which looks where the kept weights are.
Two kernels take turns, so that other programs slow both alike. Seconds are the processor's.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from protocol import machine
from tombola.models.embedded import model_path
from tombola.models.network import Network
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.training.loop import fit

KERNELS = ("packed-1", "packed-3")
EXAMPLES = 256

SPARSE_KERNELS = ("packed-3", "sparse-1")
SPARSITIES = ("0.5", "0.7", "0.8", "0.9", "0.95")
BATCHES = (8, 32)
LENGTH, STEPS = 128, 3
"""Tokens of a text, and steps of a training."""


def mask_of(network: Network, sparsity: str) -> Mask:
    """The largest weights of the encoder."""
    weights = network.scope("encoder")
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    return keep_top(scores, Mask.full(weights), sparsity=Decimal(sparsity))


def speeds(pairs: int) -> list[dict[str, float]]:
    """Tokens per second of each kernel, for each pair of trainings."""
    torch.set_num_threads(1)
    task = load_task("sentiment")
    spec = replace(task.recipe, epochs=1, batch_size=32)
    network = load_network(str(model_path("mini")), task.kind, len(task.labels))
    rows = read_split(task, "train")[:EXAMPLES]
    examples = encode_split(rows, task, network.tokenizer, spec, limit=0)
    mask = mask_of(network, "0.5")

    def speed(kernel: str) -> float:
        began = time.process_time()
        done = fit(network, task, examples, mask, replace(spec, kernel=kernel), scope="encoder")
        return done.tokens / (time.process_time() - began)

    warm = [speed(kernel) for kernel in KERNELS]
    assert all(warm)
    return [{kernel: speed(kernel) for kernel in KERNELS} for _ in range(pairs)]


@contextmanager
def large_network() -> Iterator[Network]:
    """A network of BERT-base's size, with the tokenizer of `mini`."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_path("mini"))
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        config = BertConfig(vocab_size=len(tokenizer))
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        yield load_network(folder, "classification")


def step_seconds(network: Network, mask: Mask, kernel: str, batch_size: int) -> float:
    """Median time of a step, of a training's but its first."""
    task = load_task("sentiment")
    spec = replace(task.recipe, epochs=1, batch_size=batch_size, max_length=LENGTH, kernel=kernel)
    rows = [
        {"sentence": "a long film " * LENGTH, "label": n % 2} for n in range(STEPS * batch_size)
    ]
    examples = encode_split(rows, task, network.tokenizer, spec)
    ends: list[float] = []

    def look(*_: Any) -> None:
        ends.append(time.process_time())

    fit(network, task, examples, mask, spec, scope="encoder", on_step=look)
    return median(end - start for start, end in pairwise(ends))


def sparse_steps(network: Network, pairs: int) -> Iterator[dict[str, Any]]:
    """Seconds of a step of each kernel, for each sparsity and batch size."""
    for batch_size in BATCHES:
        for sparsity in SPARSITIES:
            mask = mask_of(network, sparsity)
            found = [
                [step_seconds(network, mask, kernel, batch_size) for kernel in SPARSE_KERNELS]
                for _ in range(pairs)
            ]
            ratios = [dense / sparse for dense, sparse in found]
            row = {"tokens": batch_size * LENGTH, "sparsity": sparsity, "ratio": spread(ratios)}
            yield row | {name: [each[n] for each in found] for n, name in enumerate(SPARSE_KERNELS)}


def spread(ratios: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def main() -> None:
    """Measure, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="?", type=int, default=0)
    parser.add_argument("--sparse", action="store_true")
    asked = parser.parse_args()
    if asked.sparse:
        torch.set_num_threads(1)
        with large_network() as network:
            for row in sparse_steps(network, asked.pairs or 2):
                print(json.dumps(row), flush=True)
        print(json.dumps({"machine": machine()}))
        return
    found = speeds(asked.pairs or 9)
    ratios = [each[KERNELS[1]] / each[KERNELS[0]] for each in found]
    report = {"tokens_per_second": found, "ratio": spread(ratios), "machine": machine()}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
