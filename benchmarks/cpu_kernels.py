"""Tokens per second with each kernel on one thread: `python benchmarks/cpu_kernels.py [PAIRS]`.

Trainings on some of `sentiment` under a mask of half the weights, `packed-1` and `packed-3` by
turns, so that other programs slow both alike. Seconds are the processor's.
"""

import json
import sys
import time
from dataclasses import replace
from decimal import Decimal
from statistics import median

import torch

from protocol import machine
from tombola.models.embedded import model_path
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.training.loop import fit

KERNELS = ("packed-1", "packed-3")
EXAMPLES = 256


def speeds(pairs: int) -> list[dict[str, float]]:
    """Tokens per second of each kernel, for each pair of trainings."""
    torch.set_num_threads(1)
    task = load_task("sentiment")
    spec = replace(task.recipe, epochs=1, batch_size=32)
    network = load_network(str(model_path("mini")), task.kind, len(task.labels))
    rows = read_split(task, "train")[:EXAMPLES]
    examples = encode_split(rows, task, network.tokenizer, spec, limit=0)
    weights = network.scope("encoder")
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    mask = keep_top(scores, Mask.full(weights), sparsity=Decimal("0.5"))

    def speed(kernel: str) -> float:
        began = time.process_time()
        done = fit(network, task, examples, mask, replace(spec, kernel=kernel), scope="encoder")
        return done.tokens / (time.process_time() - began)

    warm = [speed(kernel) for kernel in KERNELS]
    assert all(warm)
    return [{kernel: speed(kernel) for kernel in KERNELS} for _ in range(pairs)]


def main() -> None:
    """Measure, and report."""
    found = speeds(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
    ratios = sorted(each[KERNELS[1]] / each[KERNELS[0]] for each in found)
    report = {
        "tokens_per_second": found,
        "ratio": {"median": median(ratios), "least": ratios[0], "most": ratios[-1]},
        "machine": machine(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
