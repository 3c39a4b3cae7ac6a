"""Whether the numbers of a training and of an evaluation are finite."""

from collections.abc import Iterable
from math import isfinite

import torch
from torch import Tensor

from tombola.training.steps import Diverged

__all__ = ["FiniteCheck", "all_finite"]

CHECK_EVERY = 50
"""Steps that are checked together where a check makes the device wait."""


class FiniteCheck:
    """Checks the loss and the gradient of every step of a training.

    Args:
        device: the device of the training; on a CPU every step is checked at once.
        done: steps done before.
    """

    def __init__(self, device: torch.device, done: int) -> None:
        self.every = 1 if device.type == "cpu" else CHECK_EVERY
        self.done = done
        self.loss: float | None = None
        """The loss of the last batch that was checked."""
        self._unseen: list[Tensor] = []

    def add(self, loss: Tensor, norm: Tensor | None) -> Diverged | None:
        """Add a step, and check if it is time to.

        Args:
            loss: the loss of the batch.
            norm: the norm of the gradient; None where an infinite one only skips a step, as in
                fp16.
        """
        self._unseen.append(torch.stack([loss, loss if norm is None else torch.as_tensor(norm)]))
        return self.first_fault() if len(self._unseen) >= self.every else None

    def first_fault(self) -> Diverged | None:
        """The first step since the last check whose numbers are not finite."""
        if not self._unseen:
            return None
        found = torch.stack(self._unseen).tolist()
        self._unseen.clear()
        self.loss = found[-1][0]
        for loss, gradient in found:
            self.done += 1
            if not (isfinite(loss) and isfinite(gradient)):
                return Diverged(self.done, "gradient" if isfinite(loss) else "loss")
        return None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no value is infinite or NaN.

    A sum is finite only where all its terms are, and is quick to take; one that is not may have
    overflowed, so that the terms are looked at.
    """
    return all(bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all()) for tensor in tensors)
