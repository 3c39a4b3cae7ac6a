"""Keep pruned weights at zero while a network trains, in any loop and with any optimizer."""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from tombola.base.errors import TicketError, naming_keywords
from tombola.ticket.mask import Mask, as_integers, can_fill, kind_of
from tombola.ticket.scope import backbone, starred

__all__ = ["adapter_in", "hold", "hold_model", "masked_parameters", "sharded_by", "unwrapped"]

SHARDED = {"FullyShardedDataParallel": "FSDP", "DeepSpeedEngine": "DeepSpeed"}
"""Name of a wrapper whose processes don't train whole weights -> what it is of."""

Place = tuple[nn.Module, str]
"""A module and the name of one of its own parameters."""


# --- parameters ----------------------------------------------------------------


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
    hooks = _mask_gradients(parameters, held)
    try:
        yield held
    finally:
        for hook in hooks:
            hook.remove()


def _mask_gradients(parameters: Mapping[str, nn.Parameter], mask: Mask) -> list[RemovableHandle]:
    """Hooks that zero the gradients of pruned weights; the mask is where the parameters are."""
    return [
        parameter.register_hook(_MaskedGradient(mask[name]))
        for name, parameter in parameters.items()
        if parameter.requires_grad and name in mask.pruned_tensors
    ]


class _MaskedGradient:
    """A gradient hook: the gradient with +0.0 where the weight is pruned."""

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept

    def __call__(self, gradient: Tensor) -> Tensor:
        """The masked gradient, in new memory; it has a derivative if the gradient has one."""
        if gradient.requires_grad:
            return gradient.masked_fill(self.kept.logical_not(), 0.0)
        return (as_integers(gradient) * self.kept).view(gradient.dtype)


# --- networks ------------------------------------------------------------------


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside DataParallel, DDP, `torch.compile`, PEFT or several of these.

    Raises: TicketError, for FSDP and DeepSpeed, whose processes have no whole weights or train
        copies of them, and for what is no network.
    """
    if not isinstance(model, nn.Module):
        raise TicketError(f"expected a network of torch, got {type(model).__name__}. Name one.")
    while (inner := _inner(model)) is not None:
        model = inner
    return model


def _inner(model: nn.Module) -> nn.Module | None:
    """What a wrapper wraps; None if a network is not a wrapper."""
    for kind in type(model).__mro__:
        if kind.__name__ in SHARDED:
            raise sharded_by(SHARDED[kind.__name__])
    if isinstance(model, DataParallel | DistributedDataParallel):
        wrapped: Any = model.module
    elif "_orig_mod" in model._modules:  # torch.compile
        wrapped = model._modules["_orig_mod"]
    elif callable(base := getattr(model, "get_base_model", None)):  # PEFT
        wrapped = base()
    else:
        return None
    return wrapped if isinstance(wrapped, nn.Module) and wrapped is not model else None


def sharded_by(library: str) -> TicketError:
    """The error for a network of which no process trains whole weights."""
    return TicketError(
        f"expected a network with whole weights on each process, got one sharded by {library}. "
        "Train it with DDP, or apply the ticket before sharding and again to the gathered weights."
    )


def masked_parameters(model: nn.Module, mask: Mask) -> dict[str, nn.Parameter]:
    """Name -> the parameter that a mask is for, inside whatever wraps the network.

    Raises: TicketError, naming the first tensor that is missing, of another shape, sharded,
        quantised or not in memory.
    """
    return {name: module_parameter(place) for name, place in _places(model, mask).items()}


def module_parameter(place: Place) -> nn.Parameter:
    """The parameter that stands at a place now."""
    module, name = place
    parameter = module._parameters[name]
    assert parameter is not None
    return parameter


def _places(model: nn.Module, mask: Mask) -> dict[str, Place]:
    """Name -> where the parameter is in the network."""
    body = backbone(unwrapped(model))
    found = {name: place for name in mask if (place := _place(body, name)) is not None}
    parameters = {name: module_parameter(place) for name, place in found.items()}
    for name, parameter in parameters.items():
        if hasattr(parameter, "device_mesh"):
            raise sharded_by("FSDP")
        if parameter.is_meta:
            raise TicketError(
                f"expected weights in memory under the mask, got none for {name}, which is on the "
                "meta device or offloaded. Load the network whole, without a device_map."
            )
        if not can_fill(parameter):
            raise TicketError(
                f"expected floating-point weights under the mask, got {kind_of(parameter)} for "
                f"{name}. Load the network without quantisation."
            )
    mask.check(parameters | _alike(body, mask))
    return found


def _alike(body: nn.Module, mask: Mask) -> dict[str, nn.Parameter]:
    """Parameters of further blocks, which a mask of this network would have."""
    kinds = {starred(name) for name in mask}
    every = {name.replace(".base_layer.", "."): each for name, each in body.named_parameters()}
    return {n: each for n, each in every.items() if n not in mask and starred(n) in kinds}


def _place(body: nn.Module, name: str) -> Place | None:
    """Where a parameter is; a layer that an adapter wraps is looked into.

    Raises: TicketError, for a module that PEFT has copied to train it.
    """
    *path, last = name.split(".")
    module: Any = body
    for part in path:
        module = _without_adapter(module._modules.get(part))
        if module is None:
            return None
        if isinstance(module._modules.get("modules_to_save"), nn.ModuleDict):
            raise TicketError(
                f"expected one tensor {name}, got one and the copy that PEFT trains. Leave "
                f"{part!r} out of modules_to_save, or make it a target of the adapter."
            )
    return (module, last) if module._parameters.get(last) is not None else None


def adapter_in(network: nn.Module) -> str | None:
    """The name of the first layer with an adapter of PEFT; None if there is none."""
    places = (n for n, each in network.named_modules() if _without_adapter(each) is not each)
    return next(places, None)


def _without_adapter(module: nn.Module | None) -> nn.Module | None:
    """The layer under an adapter of PEFT."""
    while module is not None and isinstance(base := getattr(module, "base_layer", None), nn.Module):
        module = base
    return module


def _check_dora(model: nn.Module, mask: Mask) -> None:
    """Refuse rows without a weight under DoRA, which divides by the norm of each.

    Raises: TicketError.
    """
    names = {id(parameter): name for name, parameter in masked_parameters(model, mask).items()}
    for adapter in unwrapped(model).modules():
        if not getattr(adapter, "lora_magnitude_vector", None):
            continue
        weight = getattr(_without_adapter(adapter), "weight", None)
        if (name := names.get(id(weight))) is None:
            continue
        outputs = mask[name].T if getattr(adapter, "fan_in_fan_out", False) else mask[name]
        if empty := int((~outputs.flatten(1).any(1)).sum()):
            raise TicketError(
                f"expected kept weights in each row under DoRA, which divides by its norm, got "
                f"{empty:,} rows of {name} that are pruned whole. Set use_dora=False."
            )


@contextmanager
def hold_model(model: nn.Module, mask: Mask) -> Iterator[None]:
    """Keep the pruned weights of a network at +0.0, and their gradients at zero, inside a block.

    Gradients are zeroed as they are computed, before anything clips, scales or sums them up.
    Weights are filled with +0.0 at the beginning, after each step of any `torch.optim` optimizer,
    before each forward pass and before a state dict is taken. Afterwards the hooks are gone.

    Args:
        model: a network, or a wrapper of one, see `unwrapped`. An adapter's own weights are free:
            what they add to a pruned weight is not zero.
        mask: of the network.

    Raises: TicketError, if the network has other tensors than the mask, or can't be held.
    """
    with naming_keywords():
        holder = _Holder(model, mask)
        _check_dora(model, mask)
    try:
        holder.attach()
        yield
        holder.fill()
    finally:
        holder.detach()


class _Holder:
    """The hooks on one network."""

    def __init__(self, model: nn.Module, mask: Mask) -> None:
        self.model, self.mask = model, mask
        self.places = _places(model, mask)
        self.known: list[tuple[int, bool, torch.device]] = []
        self.hooks: list[RemovableHandle] = []
        self.gradient_hooks: list[RemovableHandle] = []
        self.depth = 0
        """Of forward passes: of a wrapper, the network in it, and that without its head."""

    def attach(self) -> None:
        """Register every hook and fill."""
        network = unwrapped(self.model)
        body, fill = backbone(network), _Hook(self, _Holder.fill)
        begin, end = _Hook(self, _Holder.begin), _Hook(self, _Holder.end)
        self.hooks.append(_after_each_step(self))
        for module in {id(each): each for each in (self.model, network, body)}.values():
            self.hooks.append(module.register_forward_pre_hook(begin))
            self.hooks.append(module.register_forward_hook(end, always_call=True))
        self.hooks.append(body.register_state_dict_pre_hook(fill))
        self.hooks.append(body.register_load_state_dict_post_hook(fill))
        self.fill()

    def detach(self) -> None:
        """Remove every hook."""
        for hook in (*self.hooks, *self.gradient_hooks):
            hook.remove()
        self.hooks, self.gradient_hooks = [], []

    def begin(self) -> None:
        """Fill where a forward pass begins, once for all that it goes through."""
        if not self.depth:
            self.fill()
        self.depth += 1

    def end(self) -> None:
        """A forward pass ends."""
        self.depth = max(0, self.depth - 1)

    def fill(self) -> None:
        """Set the pruned weights to +0.0, in parameters that may have been replaced or moved.

        Autograd is not told, but of the first time: what it saved for a backward pass has these
        zeros already, unless somebody else has written since, which tells it.
        """
        parameters = {name: module_parameter(place) for name, place in self.places.items()}
        now = [(id(each), each.requires_grad, each.device) for each in parameters.values()]
        if now != self.known:
            self._hook_gradients(parameters)
            self.known = now
            self.mask.fill(parameters)
        else:
            self.mask.fill({name: each.data for name, each in parameters.items()})

    def _hook_gradients(self, parameters: dict[str, nn.Parameter]) -> None:
        """Hook the gradients of these parameters, on their devices, and of no others."""
        for hook in self.gradient_hooks:
            hook.remove()
        self.mask = Mask({n: kept.to(parameters[n].device) for n, kept in self.mask.items()})
        self.gradient_hooks = _mask_gradients(parameters, self.mask)


class _Hook:
    """A hook on a module that calls its holder. Its copies, in a copied or pickled network, do
    nothing: that network is another one, and nobody would let it go.
    """

    def __init__(
        self, holder: _Holder | None = None, event: Callable[[_Holder], None] = _Holder.fill
    ) -> None:
        self._holder = weakref.ref(holder) if holder is not None else None
        self._event = event

    def __call__(self, *_: Any) -> None:
        """Tell the holder, unless this is a copy."""
        if torch.compiler.is_compiling():  # what is compiled is called after this already
            return
        if self._holder is not None and (held := self._holder()) is not None:
            self._event(held)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (_Hook, ())


def _after_each_step(holder: _Holder) -> RemovableHandle:
    """Fill after every step of every optimizer, as long as there is something that is held.

    The hook is torch's own, for all optimizers: it must not keep a network in memory that nothing
    else refers to.
    """
    weak = weakref.ref(holder)

    def fill(*_: Any) -> None:
        if (held := weak()) is not None:
            held.fill()

    hook: RemovableHandle = register_optimizer_step_post_hook(fill)
    weakref.finalize(holder, hook.remove)
    return hook
