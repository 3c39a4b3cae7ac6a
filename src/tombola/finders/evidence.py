"""What a finder may look at: computed on demand, and the same for the same job."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tombola.base.errors import SpecError
from tombola.finders.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.base.specs import TrainSpec
    from tombola.ticket.mask import Mask, Tensors

__all__ = ["AfterBackward", "AfterStep", "Evidence", "Pruner", "check_batches", "check_examples"]

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
            f"batches must be at most the {steps} of one training, got {batches}. Use fewer."
        )


def check_examples(examples: int, recipe: "TrainSpec", rows: int) -> None:
    """Refuse to look at more different examples than the first pass of a training over its data.

    Args:
        examples: how many examples a finder looks at.
        recipe: the recipe of the training.
        rows: the number of training examples.

    Raises: SpecError.
    """
    used = min(rows, recipe.train_limit or rows)
    if examples > (most := min(used, recipe.steps(rows) * recipe.batch_size)):
        raise SpecError(
            f"examples must be at most the {most} training examples in use, got {examples}. Use "
            "fewer, or more training data."
        )


class Pruner(Protocol):
    """Prunes a network while it trains.

    Tensors are the network's own, by their names in the scope, on the device that trains. They may
    be changed in place, provided that every random choice comes from a seed.
    """

    def before_step(self, weights: "Tensors", gradients: "Tensors") -> None:
        """Called with the gradient of each batch, whole on every rank, before it is clipped.

        A weight that the loss does not depend on has no gradient.
        """

    def after_step(self, done: int, steps: int, weights: "Tensors") -> None:
        """Called after each step of the optimizer with the steps done and those of the training."""

    def tensors(self) -> "Tensors":
        """Its state after a step, under any names, to resume from a checkpoint of the training."""

    def restore(self, tensors: "Tensors", weights: "Tensors") -> None:
        """Resume from the state that `tensors` gave, on the CPU, and the weights of that step."""


class Evidence(Protocol):
    """A network at the weights that a mask is made from, and its task.

    Tensors are on the CPU, by their names in the scope. Random choices follow the seed of the
    job. What looks at the task's data raises SpecError for a finder that says it is task-free.
    """

    @property
    def weights(self) -> "Tensors":
        """Name -> weight: pre-trained, or trained where the plan's shape trains first."""

    @property
    def layout(self) -> Layout:
        """How the network stores its weights."""

    def gradients(self, batches: int) -> "Tensors":
        """Name -> gradient of the mean training loss over the first batches of a training, as
        float32 of the weight's shape. Dropout is off."""

    def activations(self, batches: int) -> "Tensors":
        """Name -> sum over tokens of the squared inputs of that linear layer, as float32 of shape
        (inputs,), over the first batches of a training; (inputs, 1) where the weight is stored as
        (inputs, outputs). Padding is left out, and dropout is off."""

    def example_gradients(self, examples: int, mask: "Mask | None" = None) -> "Iterator[Tensors]":
        """Name -> gradient of the loss of one example, for each of the first examples of a
        training, as float32 of the weight's shape. Dropout is off.

        Args:
            examples: how many.
            mask: weights that are zero while it is computed; their gradients are given, too.
        """

    def squared_gradients(
        self, examples: int, mask: "Mask | None" = None, *, estimate: int = 0, estimates: int = 1
    ) -> "Tensors":
        """Name -> mean over the first examples of a training of the squared gradient of the loss of
        one of them, as float32 of the weight's shape: the diagonal of the empirical Fisher matrix.
        Dropout is off.

        Args:
            examples: how many.
            mask: weights that are zero while they are computed.
            estimate: number of this estimate among those of the finder, from 0, for the progress.
            estimates: how many the finder makes.
        """

    def fisher_blocks(
        self, examples: int, size: int, weights: "Tensors", *, estimate: int = 0, estimates: int = 1
    ) -> "Tensors":
        """Name -> blocks on the diagonal of the empirical Fisher matrix: means over the first
        examples of a training of the products of `size` consecutive gradients, as float32 of shape
        (blocks, size, size), the last one filled up with zeros. Dropout is off.

        Args:
            examples: how many.
            size: the size of a block.
            weights: name -> weight to compute them with.
            estimate: number of this estimate, from 0, see `squared_gradients`.
            estimates: how many the finder makes.
        """

    def gate_gradients(self, examples: int, names: "Collection[str]") -> "Tensors":
        """Name -> gradient of the loss of each of the first examples of a training with respect to
        a gate on each input of that matrix, float32, (examples, inputs). Dropout is off."""

    def progress(self, done: int, of: int) -> None:
        """Report how far the mask is; methods that read data do so themselves."""

    def input_products(
        self, batches: int, weights: "Tensors", names: "Collection[str]"
    ) -> "Tensors":
        """Name -> sum over tokens of the products of the inputs of that linear layer, as float32 of
        shape (inputs, inputs), over the first batches of a training. Padding is left out, and
        dropout is off.

        Args:
            batches: how many.
            weights: name -> weight to compute them with; others are as they are.
            names: the names of the layers.
        """

    def hessian_product(self, batches: int, vectors: "Tensors") -> "Tensors":
        """Name -> the Hessian of the mean training loss over the first batches of a training, among
        the weights of the scope, times these vectors, as float32. Dropout is off."""

    def train(
        self,
        *,
        after_backward: "AfterBackward | None" = None,
        after_step: "AfterStep | None" = None,
        pruner: Pruner | None = None,
        frozen: bool = False,
        feature_distill: float = 0.0,
        parts: int = 1,
        part: int = 0,
    ) -> "Tensors":
        """Train the dense network by the task's recipe, or one that a pruner prunes as it trains.

        Where it is frozen, no weight of the network and its head learns, and only the pruner
        changes any.

        Args:
            after_backward: called with each gradient.
            after_step: called after each step.
            pruner: prunes the network while it trains.
            frozen: whether it is frozen.
            feature_distill: share of the loss that is the distance of hidden states from those of
                the pre-trained network: the mean of one minus their cosine, over blocks and tokens.
            parts: short trainings that the steps of one are divided among; each has a decay of its
                learning rate, and data in an order, of its own, and begins where the first does.
            part: which of them this is, from 0.

        Returns: name -> trained weight; `weights` stays as it was.
        """
