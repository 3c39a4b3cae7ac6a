"""Whether the numbers of a training and of an evaluation are finite."""

from collections.abc import Iterable

import torch
from torch import Tensor

from tombola.task.divergence import Diverged

__all__ = ["Pulse", "all_finite"]

PATIENCE = 50
"""Steps that are looked at together where looking makes a device wait."""


class Pulse:
    """Looks at the loss and the gradient of every step of a training.

    Args:
        device: that it is on; only a CPU is looked at in every single step.
        done: steps before the first.
    """

    def __init__(self, device: torch.device, done: int) -> None:
        self.every = 1 if device.type == "cpu" else PATIENCE
        self.done = done
        self._unseen: list[Tensor] = []

    def feel(self, loss: Tensor, norm: Tensor | None) -> Diverged | None:
        """Take in a step.

        Args:
            loss: of the batch.
            norm: of the gradient; None where an infinite one is not the last word, as in fp16.
        """
        self._unseen.append(torch.stack([loss, loss if norm is None else torch.as_tensor(norm)]))
        return self.look() if len(self._unseen) >= self.every else None

    def look(self) -> Diverged | None:
        """The first of the steps since the last look whose numbers are not finite."""
        if not self._unseen:
            return None
        found = torch.stack(self._unseen).isfinite().tolist()
        self._unseen.clear()
        for loss, gradient in found:
            self.done += 1
            if not (loss and gradient):
                return Diverged(self.done, "gradient" if loss else "loss")
        return None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no value is infinite or NaN.

    A sum is finite only where all its terms are, and is quick to take; one that is not may have
    overflowed, so that the terms are looked at.
    """
    return all(bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all()) for tensor in tensors)
