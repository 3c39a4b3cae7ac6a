"""Networks whose pruned weights stay at zero in a block, whatever trains them there."""

import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from tombola.base.errors import TicketError, naming_keywords
from tombola.ticket.hold.parameters import mask_gradients
from tombola.ticket.hold.places import (
    check_dora,
    check_in_memory,
    links,
    module_parameter,
    places,
    unwrapped,
)
from tombola.ticket.mask import Mask
from tombola.ticket.scope import backbone

__all__ = ["Hold", "hold_model"]

Known: TypeAlias = tuple[nn.Parameter, bool, torch.device, int]
"""A parameter with our hook, and its `_state`."""


def hold_model(model: nn.Module, mask: Mask) -> "Hold":
    """Keep the pruned weights of a network at +0.0, and their gradients at zero, inside a block.

    Gradients are zeroed as they are computed, before anything clips, scales or sums them up.
    Weights are filled with +0.0 at the beginning, after each step of any `torch.optim` optimizer,
    before each forward pass and before a state dict is taken. Afterwards the hooks are gone.

    Args:
        model: a network, or a wrapper of one, see `unwrapped`. An adapter's own weights are free:
            what they add to a pruned weight is not zero.
        mask: the network's mask.

    Raises: TicketError, if the network has other tensors than the mask, or can't be held.
    """
    with naming_keywords():
        return Hold(model, mask)


class Hold(AbstractContextManager[None]):
    """Holds a network from the beginning of a `with` block to its end, as often as it is entered.

    Entered without a `with`, it holds the network as long as that lives.
    """

    _entered = True  # also where the network is refused

    def __init__(self, model: nn.Module, mask: Mask) -> None:
        self._model, self._mask = model, mask
        places(model, mask)
        check_dora(model, mask)
        self._holders: list[_Holder] = []
        self._entered = False

    def __enter__(self) -> None:
        """Fill, and register every hook."""
        self._entered = True
        holder = _Holder(self._model, self._mask)
        try:
            holder.attach()
        except BaseException:
            holder.detach()
            raise
        self._holders.append(holder)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Fill once more, and remove every hook."""
        holder = self._holders.pop()
        try:
            if error is None:
                holder.fill()
        finally:
            holder.detach()

    def __del__(self) -> None:
        """Warn if nothing was ever held."""
        if not self._entered:
            warnings.warn(
                "a ticket holds a network only inside a block: write `with ticket.hold(model):`",
                stacklevel=2,
            )


class _Holder:
    """The hooks on one network."""

    def __init__(self, model: nn.Module, mask: Mask) -> None:
        self.model, self.whole = model, mask
        self.mask = mask
        """The mask on the devices of the parameters."""
        self._find()
        self.known: Sequence[Known] = []
        self.hooks: list[RemovableHandle] = []
        self.gradient_hooks: list[RemovableHandle] = []
        self.compiled: list[tuple[nn.Module, Any]] = []
        """Networks that were compiled in place, and what calls them."""
        self.inside: nn.Module | None = None
        """Where the forward pass began that is going on: a wrapper, the network in it, or that
        without its head."""
        self.thread = threading.get_ident()
        """The thread of the latest forward pass."""

    def _find(self) -> None:
        self.places = places(self.model, self.whole)
        self.links = links(self.model, self.places)

    def attach(self) -> None:
        """Register every hook and fill."""
        network = unwrapped(self.model)
        body, fill = backbone(network), _Hook(self, _Holder.fill)
        begin, end = _Hook(self, _Holder.begin), _Hook(self, _Holder.end)
        self.hooks.append(_after_each_step(self))
        for module in {id(each): each for each in (self.model, network, body)}.values():
            self.hooks.append(module.register_forward_pre_hook(begin))
            self.hooks.append(module.register_forward_hook(end, always_call=True))
            if (call := module._compiled_call_impl) is not None:
                self.compiled.append((module, call))
                module._compiled_call_impl = _around(module, call, begin, end)
        self.hooks.append(body.register_state_dict_pre_hook(fill))
        self.hooks.append(body.register_load_state_dict_post_hook(fill))
        self.fill()

    def detach(self) -> None:
        """Remove every hook."""
        for hook in (*self.hooks, *self.gradient_hooks):
            hook.remove()
        for module, call in self.compiled:
            module._compiled_call_impl = call
        self.hooks, self.gradient_hooks, self.compiled = [], [], []

    def begin(self, module: nn.Module) -> None:
        """Fill where a forward pass begins, once for all that it goes through."""
        if self.inside is None or self.inside is module:  # the same: an interrupt let it not end
            self.inside, self.thread = module, threading.get_ident()
            self.fill()

    def end(self, module: nn.Module) -> None:
        """A forward pass ends."""
        if self.inside is module:
            self.inside = None

    def fill(self, *_: Any) -> None:
        """Set the pruned weights to +0.0, in parameters that may have been replaced or moved.

        Autograd is notified the first time only: tensors saved for a backward pass already have
        these zeros, unless other code has written to them since, which autograd detects.

        Raises: TicketError, if a parameter is gone or not in memory.
        """
        parameters = self._parameters()
        now = [(each, *_state(each)) for each in parameters.values()]
        if not _same(now, self.known):
            for name, parameter in parameters.items():
                check_in_memory(name, parameter)
            self._hook_gradients(parameters)
            self.known = now
            self.mask.fill(parameters)
        else:
            self.mask.fill({name: each.data for name, each in parameters.items()})

    def _parameters(self) -> dict[str, nn.Parameter]:
        """Name -> the parameter as it is now.

        Raises: TicketError, if one has been replaced by something else.
        """
        if not all(outer._modules.get(name) is inner for outer, name, inner in self.links):
            self._find()
        for name, (module, last) in self.places.items():
            if module._parameters.get(last) is None:
                raise TicketError(
                    f"expected the weight {name} in the network that is held, got none: it has "
                    "been replaced or parametrised in the block. Do so before `ticket.hold(model)`."
                )
        return {name: module_parameter(place) for name, place in self.places.items()}

    def _hook_gradients(self, parameters: dict[str, nn.Parameter]) -> None:
        """Hook the gradients of these parameters, on their devices, and of no others."""
        for hook in self.gradient_hooks:
            hook.remove()
        self.mask = Mask({n: kept.to(parameters[n].device) for n, kept in self.whole.items()})
        self.gradient_hooks = mask_gradients(parameters, self.mask)

    def stepped(self, optimizer: Optimizer) -> None:
        """Fill after a step, unless another network takes it in another thread: while ours takes a
        step of its own, to fill would write old weights over new ones."""
        ours = {id(parameter) for parameter, *_ in self.known}
        if threading.get_ident() == self.thread or any(
            id(each) in ours for group in optimizer.param_groups for each in group["params"]
        ):
            self.inside = None
            self.fill()


def _state(parameter: nn.Parameter) -> tuple[bool, torch.device, int]:
    """What is another if its hook is lost: `torch.utils.swap_tensors` keeps the parameter, but not
    the tensor in C++ that has its hooks."""
    return parameter.requires_grad, parameter.device, parameter._cdata


def _same(now: Sequence[Known], before: Sequence[Known]) -> bool:
    return len(now) == len(before) and all(
        a[0] is b[0] and a[1:] == b[1:] for a, b in zip(now, before, strict=True)
    )


class _Hook:
    """A hook on a module that calls its holder.

    Copies of the network get hooks that do nothing: no holder would ever remove them.
    """

    def __init__(
        self, holder: _Holder | None = None, event: Callable[..., None] = _Holder.fill
    ) -> None:
        self._holder = holder
        self._event = event

    def __call__(self, module: nn.Module, *_: Any) -> None:
        """Tell the holder, unless this is a copy."""
        if torch.compiler.is_compiling():  # what is compiled is called after this already
            return
        if self._holder is not None:
            self._event(self._holder, module)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (_Hook, ())


def _around(
    module: nn.Module, call: Callable[..., Any], begin: _Hook, end: _Hook
) -> Callable[..., Any]:
    """The call of a network that is compiled in place, whose own hooks are compiled away."""

    def held(*args: Any, **kwargs: Any) -> Any:
        begin(module)
        try:
            return call(*args, **kwargs)
        finally:
            end(module)

    return held


def _after_each_step(holder: _Holder) -> RemovableHandle:
    """Fill after every step of every optimizer, as long as there is something that is held.

    The hook is torch's own, for all optimizers: it must not keep a network in memory that nothing
    else refers to.
    """
    weak = weakref.ref(holder)

    def fill(optimizer: Optimizer, *_: Any) -> None:
        if (held := weak()) is not None:
            held.stepped(optimizer)

    hook: RemovableHandle = register_optimizer_step_post_hook(fill)
    weakref.finalize(holder, hook.remove)
    return hook
