"""What a finder may look at: computed when it is asked for, and the same for the same job."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tombola.base.errors import SpecError

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Tensors

__all__ = ["AfterBackward", "AfterStep", "Evidence", "Pruner", "check_batches"]

AfterBackward: TypeAlias = "Callable[[str, Tensor], None]"
"""Called with the name of a weight and its gradient, before the gradient is clipped."""

AfterStep: TypeAlias = "Callable[[int, Tensors], None]"
"""Called with the number of steps done, and name -> weight as it is then."""


def check_batches(batches: int, steps: int) -> None:
    """Refuse to look at more batches than a training has steps.

    Raises: SpecError.
    """
    if batches > steps:
        raise SpecError(
            f"batches are those of a training, at most {steps}, got {batches}. Take fewer."
        )


class Pruner(Protocol):
    """Prunes a network while it trains.

    Tensors are the network's own, by their names in the scope, on the device that trains. They may
    be changed in place, where nothing random but what goes by a seed decides on it.
    """

    def before_step(self, weights: "Tensors", gradients: "Tensors") -> None:
        """Called with the gradient of each batch, whole on every rank, before it is clipped.

        A weight that the loss does not depend on has no gradient.
        """

    def after_step(self, done: int, steps: int, weights: "Tensors") -> None:
        """Called after each step of the optimizer with the steps done and those of the training."""


class Evidence(Protocol):
    """A network at the weights that a mask is made from, and its task.

    Tensors are on the CPU, by their names in the scope. Everything random goes by the seed of the
    job. What looks at the task's data raises SpecError for a finder that says it is task-free.
    """

    @property
    def weights(self) -> "Tensors":
        """Name -> weight: pre-trained, or trained where the plan's shape trains first."""

    @property
    def heads(self) -> int:
        """Attention heads of a block, for structures; 0 if unknown."""

    def gradients(self, batches: int) -> "Tensors":
        """Name -> gradient of the mean training loss over the first batches of a training, as
        float32 of the weight's shape. Dropout is off."""

    def activations(self, batches: int) -> "Tensors":
        """Name -> sum over tokens of the squared inputs of that linear layer, as float32 of shape
        (inputs,), over the first batches of a training. Padding is left out, and dropout is off.
        """

    def train(
        self,
        *,
        after_backward: "AfterBackward | None" = None,
        after_step: "AfterStep | None" = None,
        pruner: Pruner | None = None,
    ) -> "Tensors":
        """Train the dense network by the task's recipe, or one that a pruner prunes meanwhile.

        Returns: name -> trained weight; `weights` stays as it was.
        """
