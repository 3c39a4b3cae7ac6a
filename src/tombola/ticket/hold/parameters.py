"""Parameters whose pruned weights stay at zero, in a loop that says when to fill them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tombola.ticket.mask import Mask, as_integers

__all__ = ["hold", "mask_gradients"]


@contextmanager
def hold(parameters: Mapping[str, nn.Parameter], mask: Mask) -> Iterator[Mask]:
    """Hold pruned weights at zero in a loop that calls `fill` itself, after each optimizer step:

        with hold(parameters, mask) as held:
            loss.backward()
            optimizer.step()
            held.fill(parameters)

    Weights are filled with +0.0 at the beginning, and gradients are zeroed before they are clipped,
    so that a norm counts kept weights only; a NaN or an infinity in a pruned weight's gradient
    becomes zero too. Not every optimizer leaves a zero weight with a zero gradient alone.

    Args:
        parameters: name -> parameter, all on one device; frozen ones get no hook.
        mask: same names and shapes.

    Yields: the mask, on the parameters' device.
    Raises: TicketError, if names or shapes differ.
    """
    mask.check(parameters)
    held = mask.to(next(iter(parameters.values())).device) if parameters else mask
    held.fill(parameters)
    hooks = mask_gradients(parameters, held)
    try:
        yield held
    finally:
        for hook in hooks:
            hook.remove()


def mask_gradients(parameters: Mapping[str, nn.Parameter], mask: Mask) -> list[RemovableHandle]:
    """Hooks that zero the gradients of pruned weights; the mask is where the parameters are."""
    return [
        _hooked(parameter, _MaskedGradient(mask[name]))
        for name, parameter in parameters.items()
        if parameter.requires_grad and name in mask.pruned_tensors
    ]


def _hooked(parameter: nn.Parameter, hook: "_MaskedGradient") -> RemovableHandle:
    if parameter._backward_hooks is not None:  # after a swap, nobody calls those
        parameter._backward_hooks = parameter._backward_hooks
    handle: RemovableHandle = parameter.register_hook(hook)
    return handle


class _MaskedGradient:
    """A gradient hook: the gradient with +0.0 where the weight is pruned."""

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept

    def __call__(self, gradient: Tensor) -> Tensor:
        """The masked gradient, in new memory; it has a derivative if the gradient has one."""
        if gradient.requires_grad:
            return gradient.masked_fill(self.kept.logical_not(), 0.0)
        return (as_integers(gradient) * self.kept).view(gradient.dtype)
