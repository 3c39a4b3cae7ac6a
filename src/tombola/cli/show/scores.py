"""Scores of several seeds as text: their mean and spread, and the difference from dense."""

from collections.abc import Mapping
from typing import Any

from tombola.base.rounding import mean_sd, points

__all__ = ["difference", "score"]


def score(entry: Mapping[str, Any]) -> str:
    """Mean ± standard deviation, as far as there are any, and how many runs diverged."""
    mean = None if entry["mean"] is None else mean_sd(entry["mean"], entry["std"])
    diverged = f"{entry['diverged']} diverged" if entry.get("diverged") else None
    return ", ".join(filter(None, (mean, diverged)))


def difference(entry: Mapping[str, Any], dense: Mapping[str, Any]) -> str:
    """The mean minus dense's mean, if there are both."""
    if entry["mean"] is None or dense["mean"] is None:
        return ""
    return points(entry["mean"] - dense["mean"], signed=True)
