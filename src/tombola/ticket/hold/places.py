"""Where the parameters under a mask are, inside whatever wraps a network."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from tombola.base.errors import TicketError
from tombola.ticket.mask import Mask, can_fill, kind_of
from tombola.ticket.scope import backbone, starred

__all__ = [
    "Link",
    "Place",
    "adapter_in",
    "check_dora",
    "check_in_memory",
    "fitting",
    "links",
    "masked_parameters",
    "module_parameter",
    "places",
    "sharded_by",
    "unwrapped",
]

SHARDED = {"FullyShardedDataParallel": "FSDP", "DeepSpeedEngine": "DeepSpeed"}
"""Name of a wrapper whose processes don't train whole weights -> what it is of."""

BASE_LAYER = "base_layer"
"""What PEFT calls the layer that an adapter wraps."""

Place: TypeAlias = tuple[nn.Module, str]
"""A module and the name of one of its own parameters."""

Link: TypeAlias = tuple[nn.Module, str, nn.Module]
"""A module, the name of one that it contains, and that module."""


def unwrapped(model: nn.Module, *, peft: bool = True) -> nn.Module:
    """The network inside DataParallel, DDP, `torch.compile`, PEFT or several of these.

    Args:
        model: a network, or a wrapper of one.
        peft: whether to look into a model of PEFT, too.

    Raises: TicketError, for FSDP and DeepSpeed, whose processes have no whole weights or train
        copies of them, and for what is no network.
    """
    if not isinstance(model, nn.Module):
        raise TicketError(f"expected a torch network, got {type(model).__name__}. Pass one.")
    while (inner := _inner(model, peft=peft)) is not None:
        model = inner
    return model


def _inner(model: nn.Module, *, peft: bool) -> nn.Module | None:
    """What a wrapper wraps; None if a network is not a wrapper."""
    for kind in type(model).__mro__:
        if kind.__name__ in SHARDED:
            raise sharded_by(SHARDED[kind.__name__])
    if isinstance(model, DataParallel | DistributedDataParallel):
        wrapped: Any = model.module
    elif "_orig_mod" in model._modules:  # torch.compile
        wrapped = model._modules["_orig_mod"]
    elif peft and callable(base := getattr(model, "get_base_model", None)):  # PEFT
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
    return {name: module_parameter(place) for name, place in places(model, mask).items()}


def module_parameter(place: Place) -> nn.Parameter:
    """The parameter that stands at a place now."""
    module, name = place
    parameter = module._parameters[name]
    assert parameter is not None
    return parameter


def places(model: nn.Module, mask: Mask) -> dict[str, Place]:
    """Name -> where the parameter is in the network.

    Raises: TicketError, as `masked_parameters`; it names the module in the network that the mask
        is of, if there is one.
    """
    network = unwrapped(model)
    try:
        return _places(network, mask)
    except TicketError as error:
        there = fitting(network, mask)
        if len(there) != 1:
            raise
        raise TicketError(f"{error} It fits the module {there[0][0]!r} inside.") from None


def fitting(model: nn.Module, mask: Mask) -> list[tuple[str, nn.Module]]:
    """Name and module of each network inside another that a mask is of, if they share no weights.

    Args:
        model: contains them; it may be one itself, of the name "".
        mask: the mask of the networks.
    """
    found: dict[frozenset[int], tuple[str, nn.Module]] = {}
    for name, each in model.named_modules():
        try:
            weights = map(module_parameter, _places(each, mask).values())
        except TicketError:
            continue
        found.setdefault(frozenset(map(id, weights)), (name, each))
    return [*found.values()]


def _places(model: nn.Module, mask: Mask) -> dict[str, Place]:
    body = backbone(unwrapped(model))
    found = {name: place for name in mask if (place := _place(body, name)) is not None}
    parameters = {name: module_parameter(place) for name, place in found.items()}
    for name, parameter in parameters.items():
        if hasattr(parameter, "device_mesh"):
            raise sharded_by("FSDP")
        check_in_memory(name, parameter)
        if not can_fill(parameter):
            raise TicketError(
                f"expected floating-point weights under the mask, got {kind_of(parameter)} for "
                f"{name}. Load the network without quantisation."
            )
    mask.check(parameters | _alike(body, mask))
    return found


def check_in_memory(name: str, parameter: nn.Parameter) -> None:
    """Refuse a weight that has no numbers.

    Raises: TicketError.
    """
    if parameter.is_meta:
        raise TicketError(
            f"expected weights in memory under the mask, got none for {name}, which is on the "
            "meta device or offloaded. Load the network whole, without a device_map."
        )


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


def links(model: nn.Module, names: Iterable[str]) -> list[Link]:
    """All modules on the way to these parameters, each with the one that contains it."""
    network = unwrapped(model)
    body = backbone(network)
    found = {part: (network, part, each) for part, each in _children(network) if each is body}
    steps: dict[tuple[int, str], Link] = {(id(network), part): link for part, link in found.items()}
    for name in names:
        module = body
        for part in name.split(".")[:-1]:
            for step in (part, *_adapters_on(module._modules.get(part))):
                if (inner := module._modules.get(step)) is not None:
                    steps[id(module), step] = (module, step, inner)
                    module = inner
    return [*steps.values()]


def _children(module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    return ((name, each) for name, each in module._modules.items() if each is not None)


def _adapters_on(module: nn.Module | None) -> Iterator[str]:
    """`base_layer` for each adapter around a layer."""
    while (inner := _under(module)) is not None:
        yield BASE_LAYER
        module = inner


def adapter_in(network: nn.Module) -> str | None:
    """The name of the first layer with an adapter of PEFT; None if there is none."""
    layers = (n for n, each in network.named_modules() if _without_adapter(each) is not each)
    return next(layers, None)


def _without_adapter(module: nn.Module | None) -> nn.Module | None:
    """The layer under an adapter of PEFT."""
    while (inner := _under(module)) is not None:
        module = inner
    return module


def _under(module: nn.Module | None) -> nn.Module | None:
    """The layer in an adapter; None if it is none."""
    inner = getattr(module, BASE_LAYER, None)
    return inner if isinstance(inner, nn.Module) else None


def check_dora(model: nn.Module, mask: Mask) -> None:
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
