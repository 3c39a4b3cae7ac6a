"""Scores of dense networks and tickets, drawn or given, and the verdict on them."""

from decimal import Decimal
from typing import Any

import numpy as np

from tombola.study.verdicts.paired_t import paired_t
from tombola.study.verdicts.verdict import SEARCH, Status, Verdict

__all__ = ["FINE", "HALF", "drawn", "interval", "judge", "verdict"]

HALF = Decimal("0.5")
FINE = 1e-6
"""The resolution of a test set so large that it bounds nothing."""


def judge(dense: list[float], ticket: list[float], **knobs: Any) -> Verdict:
    given: dict[str, Any] = {"margin": 1.0, "sparsity": HALF, "resolution": FINE} | knobs
    return paired_t(dense, ticket, **given)


def interval(found: Verdict) -> tuple[float, float]:
    assert found.interval is not None
    return found.interval


def verdict(status: Status, sparsity: str, **fields: Any) -> Verdict:
    """A verdict whose difference is zero, give or take half a point."""
    given: dict[str, Any] = {
        "difference": 0.0,
        "interval": (-0.5, 0.5),
        "margin": 1.0,
        "level": 0.9,
    }
    given |= {"estimand": SEARCH, "seeds": 3, **fields}
    return Verdict(status=status, sparsity=Decimal(sparsity), **given)


def drawn(
    seeds: int, difference: float, *, runs: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Independent dense and ticket scores [runs, seeds], each of sd 1."""
    generator = np.random.default_rng(seeds)
    dense = generator.normal(80, 1, (runs, seeds))
    return dense, generator.normal(80 + difference, 1, (runs, seeds))
