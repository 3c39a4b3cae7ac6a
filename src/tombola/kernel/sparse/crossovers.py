"""The sparsity from which a sparse product is faster than a dense one, by measurement."""

import hashlib
import json
from functools import cache, lru_cache
from math import log2
from pathlib import Path

from tombola.kernel.sparse.products import instruction_set

__all__ = ["FILE", "FORWARD", "INPUT_GRADIENT", "WEIGHT_GRADIENT", "pays", "table_digest"]

FILE = Path(__file__).with_name("crossovers.json")

FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT = "forward", "input gradient", "weight gradient"
"""The products of a linear layer in training, whose weights are in a dense matrix."""


def pays(
    in_features: int,
    out_features: int,
    sparsity: float,
    tokens: int,
    *,
    work: str = "float32",
    threads: int = 1,
) -> bool:
    """Whether the table has a sparse product as faster than torch's dense one in float32.

    Args:
        in_features: columns of the weight.
        out_features: its rows.
        sparsity: the fraction of its weights that are zero.
        tokens: rows of the input.
        work: how the weights are stored, see `SparseLinear`; or a product of a training.
        threads: torch's.
    """
    column = f"{instruction_set()} {work}"
    return sparsity >= _crossover(column, (in_features, out_features, tokens, threads))


@lru_cache(4096)
def _crossover(column: str, sizes: tuple[int, ...]) -> float:
    """The sparsity in the row of the nearest sizes; more than 1 if nothing was measured."""
    rows = _table().get(column, [])
    return min(rows, key=lambda row: _distance(row, sizes), default=[2.0])[-1]


@cache
def _table() -> dict[str, list[list[float]]]:
    """Instruction set and work -> rows: in, out, tokens, threads, the sparsity."""
    table: dict[str, list[list[float]]] = json.loads(FILE.read_text(encoding="utf-8"))["rows"]
    return table


@cache
def table_digest() -> str:
    """A name for what the table has of trainings: 8 hexadecimal digits."""
    works = FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT
    rows = {name: rows for name, rows in _table().items() if name.endswith(works)}
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:8]


def _distance(row: list[float], sizes: tuple[int, ...]) -> float:
    """How many times sizes are doubled or halved between two products."""
    return sum(abs(log2(max(a, 1) / max(b, 1))) for a, b in zip(row, sizes, strict=False))
