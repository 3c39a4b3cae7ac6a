"""What the card is, and how fast it multiplies matrices."""

import os
import statistics
import subprocess
import time
from typing import Any

import torch

from card.watch import synchronize
from protocol import machine

__all__ = ["card_facts"]

PRODUCTS = 20
"""Of matrices, timed one by one after as many that are not."""


def card_facts(size: int) -> dict[str, Any]:
    """The machine, its card, and the rate of products of random size x size matrices."""
    facts = {**machine(), "cpu_cores": len(os.sched_getaffinity(0)), "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        facts |= {
            "card": about.name,
            "card_bytes": about.total_memory,
            "multiprocessors": about.multi_processor_count,
            "driver": _driver(),
        }
    rates = {name: _tflops(size, dtype) for name, dtype in HALVES.items()}
    return {**facts, "matmul_size": size, "matmul_tflops": rates}


HALVES = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""Precisions whose rate is measured; that of float32 as torch has it by default."""


def _tflops(size: int, dtype: torch.dtype) -> float:
    """Median rate of a matrix product, in TFLOP/s."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(2 * PRODUCTS):
        synchronize()
        began = time.perf_counter()
        torch.mm(a, b)
        synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(seconds[PRODUCTS:]) / 1e12


def _driver() -> str:
    """The driver's version, if its own tool tells."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.stdout.splitlines()[0].strip() if said.stdout else "unknown"
