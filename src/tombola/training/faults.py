"""Errors in a network's own code, as one line that names the network."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch

from tombola.base.errors import ModelError, TombolaError
from tombola.tasks.examples import Batch
from tombola.training.determinism import is_of_determinism

__all__ = ["in_network"]

TORCH, OURS = Path(torch.__file__).parent, Path(__file__).parents[1]


@contextmanager
def in_network(name: str, batch: Batch) -> Iterator[None]:
    """A context in which a network is called; an error in its own code becomes one line.

    Args:
        name: what the user calls the network.
        batch: what it is called with.

    Raises: ModelError, for an error in the network's code. Others, which are bugs here, or a lack
        of memory or of a deterministic kernel, stay as they are.
    """
    try:
        yield
    except (TombolaError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        place = _raised_in(error.__traceback__)
        ours = place is not None and OURS in Path(place.filename).parents
        if place is None or ours or is_of_determinism(error):
            raise
        reason = " ".join(str(error).split()) or "nothing more"
        shape = " x ".join(map(str, batch["input_ids"].shape))
        raise ModelError(
            f"expected {name!r} to read a batch of {shape} tokens, got {type(error).__name__}: "
            f"{reason[:200]} (line {place.lineno} of {Path(place.filename).name}). Does it run in "
            "transformers alone? If so, try another max_length."
        ) from error


def _raised_in(trace: TracebackType | None) -> traceback.FrameSummary | None:
    """The innermost frame outside of torch, which raises for its caller's mistakes."""
    for frame in reversed(traceback.extract_tb(trace)):
        if TORCH not in Path(frame.filename).parents:
            return frame
    return None
