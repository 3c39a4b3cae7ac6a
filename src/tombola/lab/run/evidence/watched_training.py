"""What a finder does to a network: a mask, short trainings, a pruner, frozen weights."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tombola.base.seeds import derive_seed
from tombola.base.specs import TrainSpec
from tombola.finders.evidence import AfterBackward, Pruner
from tombola.ticket.mask import Mask, Tensors

__all__ = ["Pruning", "at_weights", "calling", "part_of", "under", "zero_gradients"]


@dataclass(frozen=True)
class Pruning:
    """A pruner as a training keeps it."""

    pruner: Pruner
    live: Callable[[], Tensors]
    """Gives name -> weight, where the network has it."""

    def after_step(self, done: int, steps: int) -> None:
        """Let the pruner see the weights, and change them."""
        self.pruner.after_step(done, steps, self.live())

    def tensors(self) -> Tensors:
        """The state of the pruner."""
        return self.pruner.tensors()

    def restore(self, tensors: Tensors) -> None:
        """Resume the pruner from its state."""
        self.pruner.restore(tensors, self.live())


def zero_gradients(model: nn.Module) -> None:
    """Set every gradient to zero in place, so that the optimizer changes nothing."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.zero_()


@contextmanager
def calling(
    after_backward: "AfterBackward | None", parameters: Mapping[str, nn.Parameter]
) -> Iterator[None]:
    """Pass on the gradient of each parameter, if it is wanted."""

    def hook_of(name: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            if after_backward:
                after_backward(name, gradient.detach().cpu())

        return hook

    with ExitStack() as hooks:
        for name, parameter in parameters.items() if after_backward else ():
            hooks.enter_context(parameter.register_hook(hook_of(name)))
        yield


def part_of(recipe: TrainSpec, examples: int, parts: int, part: int) -> TrainSpec:
    """The recipe of one of several short trainings, whose steps add up to those of a whole one."""
    steps = recipe.steps(examples)
    each = steps * (part + 1) // parts - steps * part // parts
    order = derive_seed(recipe.noise_seed, f"part {part}")
    return replace(recipe.lasting(each, examples), order_seed=order)


@contextmanager
def at_weights(weights: Tensors, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Give parameters other weights, and put all back at the end."""
    with under(Mask.full(parameters), parameters):
        with torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(weight)
        yield


@contextmanager
def under(mask: Mask | None, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Hold the weights that a mask prunes at zero, and put all back at the end."""
    kept = {name: p.detach().clone() for name, p in parameters.items() if mask}
    if mask is not None:
        mask.fill(parameters)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in kept.items():
                parameters[name].copy_(weight)
