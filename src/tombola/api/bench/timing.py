"""Calls of several networks in turn, so that other work on the machine slows all alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from tombola.ship.compiled.runtimes import Runnable

__all__ = ["LEAST", "Timing", "times", "timings"]

LEAST = 3
"""The fewest rounds, however long they take."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The calls of one runtime, of one batch size and length."""

    median_ms: float
    p95_ms: float
    tokens_per_second: float
    times_as_fast: float
    """As the first runtime: the median over rounds."""
    rounds: int


def times(
    runnables: Mapping[str, Runnable],
    inputs: Mapping[str, Tensor],
    *,
    rounds: int,
    seconds: float,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, list[float]]:
    """Name -> seconds of each call; a round calls each network once, in an order of its own.

    Args:
        runnables: each is called once before the first round.
        inputs: the inputs of every call.
        rounds: the most rounds.
        seconds: the time after which rounds end, once there are LEAST.
        clock: what the seconds of a call are read from.
    """
    found: dict[str, list[float]] = {name: [] for name in runnables}
    with torch.inference_mode():
        for runnable in runnables.values():
            runnable.call(**inputs)
        start, names = perf_counter(), [*runnables]
        for turn in range(rounds):
            if turn >= LEAST and perf_counter() - start > seconds:
                break
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                began = clock()
                runnables[name].call(**inputs)
                found[name].append(clock() - began)
    return found


def timings(found: Mapping[str, list[float]], tokens: int, first: str) -> dict[str, Timing]:
    """Name -> latency, throughput, and how many times as fast as the first it is.

    Args:
        found: what `times` measured.
        tokens: tokens in a call.
        first: what the others are compared with, round by round: the median of the ratios.
    """
    against = _float64(found[first])
    seconds = {name: _float64(each) for name, each in found.items()}
    return {
        name: Timing(
            median_ms=1000 * _quantile(each, 0.5),
            p95_ms=1000 * _quantile(each, 0.95),
            tokens_per_second=tokens / _quantile(each, 0.5),
            times_as_fast=_quantile(against / each, 0.5),
            rounds=len(each),
        )
        for name, each in seconds.items()
    }


def _float64(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _quantile(values: Tensor, share: float) -> float:
    return float(values.quantile(share))
