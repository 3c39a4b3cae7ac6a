"""keep_top against torch.nn.utils.prune.global_unstructured: `python benchmarks/prune.py`.

Both remove 70 % of the weights of BERT-base's 72 matrices, drawn at random, in one run: the time,
and the highest memory beyond what stood before, each side in a process of its own.
"""

import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal

import torch
from torch import nn
from torch.nn.utils import prune

from protocol import alone
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.versions import versions

SHAPES = [(768, 768)] * 4 + [(3072, 768), (768, 3072)]
LAYERS = 12
SPARSITY = Decimal("0.7")


def layers() -> list[nn.Linear]:
    """The matrices of BERT-base's blocks, from a normal distribution."""
    torch.manual_seed(0)
    made = []
    for rows, columns in SHAPES * LAYERS:
        layer = nn.Linear(columns, rows, bias=False)
        nn.init.normal_(layer.weight, std=0.02)
        made.append(layer)
    return made


def ours(made: list[nn.Linear]) -> int:
    """Prune with keep_top; the number of pruned weights."""
    weights = {f"{number:02}": layer.weight.detach() for number, layer in enumerate(made)}
    scores = {name: weight.abs() for name, weight in weights.items()}
    return keep_top(scores, Mask.full(weights), sparsity=SPARSITY).pruned


def theirs(made: list[nn.Linear]) -> int:
    """Prune with torch; the number of pruned weights."""
    chosen = [(layer, "weight") for layer in made]
    prune.global_unstructured(chosen, pruning_method=prune.L1Unstructured, amount=float(SPARSITY))
    masks = [layer.get_buffer("weight_mask") for layer in made]
    return sum(mask.numel() - int(mask.count_nonzero()) for mask in masks)


SIDES: dict[str, Callable[[list[nn.Linear]], int]] = {"keep_top": ours, "torch": theirs}


def measure(side: str) -> dict[str, float]:
    """Seconds and extra megabytes of one pruning, in this process."""
    made = layers()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    dead = SIDES[side](made)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "extra_mb": (after - before) / 1024, "dead": dead}


def main() -> None:
    """Measure both sides three times, and report medians and ratios."""
    medians = {}
    for side in SIDES:
        runs = []
        for _ in range(3):
            runs.append(alone(measure, side))
        medians[side] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    ratios = {
        name: medians["torch"][name] / medians["keep_top"][name] for name in ("seconds", "extra_mb")
    }
    machine = {"processor": platform.processor() or platform.machine(), "system": sys.platform}
    threads = torch.get_num_threads()
    weights = sum(rows * columns for rows, columns in SHAPES * LAYERS)
    report = {"weights": weights, "medians": medians, "torch / keep_top": ratios}
    report |= {"threads": threads, **machine}
    print(json.dumps({**report, "versions": versions()}, indent=1))


if __name__ == "__main__":
    main()
