"""The protocol that every side of `time_to_ticket.py` follows, and the machine that it runs on."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from typing import Any

import torch

from tombola.ticket.versions import versions

__all__ = [
    "DENSE",
    "QUICK",
    "ROUND",
    "STEP",
    "WHOLE",
    "Protocol",
    "alone",
    "fresh",
    "machine",
    "matmul_rate",
]


@dataclass(frozen=True)
class Protocol:
    """IMP with rewinding, linear: what is trained, on how much, and how often."""

    examples: int = 96
    """Of the task's training split, the same ones on every side."""
    test_examples: int = 32
    seeds: tuple[int, ...] = (0, 1, 2)
    rounds: int = 7
    """Each removes a tenth of the scope; the ticket is trained after the last."""
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 3e-4
    warmup: float = 0.1
    clip_norm: float = 1.0
    max_length: int = 96
    """Longer texts are cut; *Padded* pads to 128."""
    precision: str = "fp32"
    kernel: str = "auto"
    """Of ours."""
    threads: int = 2
    task: str = "sentiment"
    model: str = "mini"

    @property
    def sparsity(self) -> Decimal:
        """Of the ticket."""
        return Decimal(self.rounds) / 10

    @property
    def trainings(self) -> int:
        """Dense, which is round one, and a masked network after each round, for each seed."""
        return len(self.seeds) * (self.rounds + 1)

    def settings(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self)


WHOLE = Protocol()
DENSE = replace(WHOLE, examples=256, test_examples=256, seeds=(0,), rounds=0)
"""One dense training, long enough that its steps are what takes time."""
STEP = replace(WHOLE, examples=WHOLE.batch_size, seeds=(0,), rounds=0)
"""One step, for a precision that may be many times slower."""
ROUND = replace(WHOLE, examples=1024, test_examples=256, seeds=(0,), rounds=1)
"""One round of a size nearer to a user's, for the shares of what trains nothing."""
QUICK = Protocol(examples=16, test_examples=8, batch_size=8, seeds=(0,), rounds=1)


@cache
def fresh() -> ForkServerContext:
    """Makes processes that have imported the libraries and done nothing yet."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.trainer", "tombola.lab.run.runner"])
    return context


def alone(do: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, so that no side profits or suffers from another."""
    with ProcessPoolExecutor(1, mp_context=fresh()) as pool:
        return pool.submit(do, *arguments).result()


def matmul_rate(threads: int) -> float:
    """What a product of large float32 matrices reaches on that number of threads, in GFLOP/s."""
    torch.set_num_threads(threads)
    size, rates = 2048, []
    a, b = torch.randn(size, size), torch.randn(size, size)
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(a, b)
        rates.append(2 * size**3 / (time.perf_counter() - began) / 1e9)
    return statistics.median(rates[1:])


def machine() -> dict[str, Any]:
    """Where the numbers come from."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
    }


def _processor() -> str:
    """The processor's name, if Linux knows it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
