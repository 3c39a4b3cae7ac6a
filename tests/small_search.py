"""A search that takes seconds, for tests of what comes of one."""

from pathlib import Path
from typing import Any

from tombola import api

__all__ = ["small_search"]


def small_search(folder: Path, model: Path, data: Path, **knobs: Any) -> api.SearchResult:
    """A search of two seeds for half of the weights, in a folder `out` next to its store."""
    small: dict[str, Any] = {"sparsity": "0.5", "seeds": (0, 1), "controls": ("random",)}
    small |= {"epochs": 1, "batch_size": 16, "learning_rate": 1e-2}
    given = {**small, "output": folder / "out", "store": str(folder / "store"), **knobs}
    return api.find(model=str(model), data=data, **given)
