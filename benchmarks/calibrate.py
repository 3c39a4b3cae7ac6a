"""Writes from which sparsity a sparse product pays, for the instruction sets of this machine.

    make calibrate                        # on an idle machine: ten minutes
    python benchmarks/calibrate.py --help # parts of it

A product takes a time that falls with the sparsity along a line, which two measurements give. It
pays where the line is 3 % below the time of torch's dense product in float32. In a training, a
product copies the kept weights from their dense matrix first, or their gradient into one
afterwards.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from time import perf_counter

import torch
from torch import Tensor, nn

from tombola.kernel.fused.weights import Matrix
from tombola.kernel.sparse import products
from tombola.kernel.sparse.crossovers import FILE, FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT
from tombola.kernel.sparse.linear import SparseLinear
from tombola.kernel.sparse.masked import MaskedMatrix
from tombola.kernel.sparse.packing import DTYPES

SHAPES = (256, 256), (768, 768), (768, 3072), (3072, 768)
TOKENS = 1, 4, 16, 32, 64, 256, 1024
TRAINING = 16, 64, 256, 1024
"""Tokens of a product in a training."""
SPARSITIES = 0.5, 0.9
SETS = "avx512", "avx2"

Runs = list[Callable[[], object]]
"""A dense product, and the same where less and where more of the weights are zero."""


def layer(inputs: int, outputs: int, sparsity: float) -> nn.Linear:
    """A layer whose zeros are anywhere."""
    made = nn.Linear(inputs, outputs).requires_grad_(False)
    made.weight[torch.rand_like(made.weight) < sparsity] = 0
    return made


def inference(layers: list[nn.Linear], x: Tensor, dtype: str) -> Runs:
    """Layers that are stored without their zeros."""
    sparse = (SparseLinear.from_linear(each, dtype=dtype) for each in layers)
    return [partial(each, x) for each in (layers[0], *sparse)]


def training(layers: list[nn.Linear], x: Tensor, work: str) -> Runs:
    """One of the products of a training."""
    masked = [MaskedMatrix(each.weight, each.weight != 0, always=True) for each in layers]
    matrices, g = [Matrix(layers[0].weight), *masked], torch.randn(len(x), layers[0].out_features)
    if work == FORWARD:
        return [partial(each.product, x) for each in matrices]
    if work == INPUT_GRADIENT:
        return [partial(each.input_gradient, g) for each in matrices]
    return [partial(each.weight_gradient, g, x) for each in matrices]


WORKS: dict[str, tuple[tuple[int, ...], Callable[[list[nn.Linear], Tensor, str], Runs]]] = {
    **dict.fromkeys(DTYPES, (TOKENS, inference)),
    **dict.fromkeys((FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT), (TRAINING, training)),
}
"""What is measured, with how many tokens."""


TURNS, TURN = 9, 0.02
"""How often each is measured, and for how many seconds of the dense product, about."""


def seconds(runs: Runs) -> list[float]:
    """The least time of each, measured in turns."""
    once = min(timed(runs[0], 1) for _ in range(3))
    repeats = max(1, round(TURN / once))
    turns = [[timed(run, repeats) for run in runs] for _ in range(TURNS)]
    return [min(times) for times in zip(*turns, strict=True)]


def timed(run: Callable[[], object], repeats: int) -> float:
    """Seconds that it takes, the mean of some."""
    start = perf_counter()
    for _ in range(repeats):
        run()
    return (perf_counter() - start) / repeats


def crossover(inputs: int, outputs: int, tokens: int, work: str) -> float:
    """The sparsity from which the sparse product pays, of those measured; above 1 for never."""
    sizes = (outputs, inputs) if work == INPUT_GRADIENT else (inputs, outputs)
    layers = [layer(*sizes, sparsity) for sparsity in SPARSITIES]
    runs = WORKS[work][1](layers, torch.randn(tokens, sizes[0]), work)
    dense, more, less = seconds(runs)
    slope = (more - less) / (SPARSITIES[1] - SPARSITIES[0])
    return max(SPARSITIES[0], SPARSITIES[1] - (0.97 * dense - less) / slope) if slope > 0 else 2.0


def rows(work: str, threads: list[int]) -> Iterator[list[float]]:
    """Inputs, outputs, tokens, threads and the sparsity."""
    for count, (inputs, outputs), tokens in product(threads, SHAPES, WORKS[work][0]):
        torch.set_num_threads(count)
        yield [inputs, outputs, tokens, count, round(crossover(inputs, outputs, tokens, work), 2)]


def main() -> None:
    """Measure, and write the table; what isn't measured stays as it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--works", nargs="+", choices=WORKS, default=[*WORKS])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    asked = parser.parse_args()
    threads = sorted({*asked.threads})
    table = json.loads(FILE.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    for name, work in product(asked.sets, asked.works):
        try:
            products.use(name)
        except ValueError:
            continue
        with torch.inference_mode():
            found = [*rows(work, threads)]
        table["rows"][f"{name} {work}"] = found
        write(table["rows"])
        print(f"{name} {work}: {sorted(row[-1] for row in found)}", flush=True)


def write(rows: dict[str, list[list[float]]]) -> None:
    """Write the table, a row of numbers to a line."""
    lines = (
        f"    {json.dumps(key)}: [\n      " + ",\n      ".join(map(json.dumps, found)) + "\n    ]"
        for key, found in rows.items()
    )
    FILE.write_text('{\n  "rows": {\n' + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
