"""Writes from which sparsity a sparse product pays, for the instruction sets of this machine.

    make calibrate          # on an idle machine: five minutes

A product takes a time that falls with the sparsity along a line, which two measurements give. It
pays where the line is 3 % below the time of torch's dense product in float32. Seconds are the
processor's, of all threads, so that other programs slow both alike.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from time import process_time

import torch
from torch import nn

from tombola.kernel.sparse import crossovers, products
from tombola.kernel.sparse.linear import SparseLinear
from tombola.kernel.sparse.packing import DTYPES

SHAPES = (256, 256), (768, 768), (768, 3072), (3072, 768)
TOKENS = 1, 4, 16, 32, 64, 256, 1024
SPARSITIES = 0.5, 0.9
SETS = "avx512", "avx2"
FILE = Path(crossovers.__file__).with_name("crossovers.json")


def layer(inputs: int, outputs: int, sparsity: float) -> nn.Linear:
    """A layer whose zeros are anywhere."""
    made = nn.Linear(inputs, outputs).requires_grad_(False)
    made.weight[torch.rand_like(made.weight) < sparsity] = 0
    return made


def seconds(runs: list[Callable[[], object]], repeats: int) -> list[float]:
    """The least time of each, measured in turns."""
    best = [float("inf")] * len(runs)
    for _ in range(7):
        for place, run in enumerate(runs):
            start = process_time()
            for _ in range(repeats):
                run()
            best[place] = min(best[place], (process_time() - start) / repeats)
    return best


def crossover(inputs: int, outputs: int, tokens: int, dtype: str) -> float:
    """The sparsity from which the sparse product pays, of those measured; above 1 for never."""
    x = torch.randn(tokens, inputs)
    layers = [layer(inputs, outputs, sparsity) for sparsity in SPARSITIES]
    few, fewer = (SparseLinear.from_linear(each, dtype=dtype).weight for each in layers)
    bias, repeats = layers[0].bias, max(1, 10**8 // (tokens * inputs * outputs))
    runs: list[Callable[[], object]] = [
        lambda: layers[0](x),
        lambda: products.product(x, few, bias),
        lambda: products.product(x, fewer, bias),
    ]
    dense, more, less = seconds(runs, repeats)
    slope = (more - less) / (SPARSITIES[1] - SPARSITIES[0])
    return max(SPARSITIES[0], SPARSITIES[1] - (0.97 * dense - less) / slope) if slope > 0 else 2.0


def rows(dtype: str, threads: list[int]) -> Iterator[list[float]]:
    """Inputs, outputs, tokens, threads and the sparsity."""
    for count, (inputs, outputs), tokens in product(threads, SHAPES, TOKENS):
        torch.set_num_threads(count)
        yield [inputs, outputs, tokens, count, round(crossover(inputs, outputs, tokens, dtype), 2)]


def main() -> None:
    """Measure, and write the table; rows of other instruction sets stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    threads = sorted({*parser.parse_args().threads})
    table = json.loads(FILE.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    for name, dtype in product(SETS, DTYPES):
        try:
            products.use(name)
        except ValueError:
            continue
        with torch.inference_mode():
            found = [*rows(dtype, threads)]
        table["rows"][f"{name} {dtype}"] = found
        print(f"{name} {dtype}: {sorted(row[-1] for row in found)}")
    lines = (
        f"    {json.dumps(key)}: [\n      " + ",\n      ".join(map(json.dumps, found)) + "\n    ]"
        for key, found in table["rows"].items()
    )
    FILE.write_text('{\n  "rows": {\n' + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
