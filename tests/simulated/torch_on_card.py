"""torch, as long as a simulated card is there."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _foreach_utils

from simulated.card import CARD, HOST, Card
from simulated.graph import Graph, Recording

__all__ = ["simulated_card"]

REAL = {
    name: getattr(torch.Tensor, name)
    for name in ("to", "device", "numpy", "tolist", "__deepcopy__", "is_pinned")
}
REAL_AUTOCAST, REAL_GROUPS = torch.autocast, _foreach_utils._group_tensors_by_device_and_dtype


@contextmanager
def simulated_card() -> Iterator[Card]:
    """torch finds one card, and `cuda` is there, until the block ends."""
    card = Card()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**_tensor(card), "is_cpu": _is_on(card, HOST)}.items():
            patch.setattr(torch.Tensor, name, value, raising=False)
        for name, value in _cuda(card).items():
            patch.setattr(torch.cuda, name, value)
        for name, value in _accelerator().items():
            patch.setattr(torch.accelerator, name, value)
        patch.setattr(torch, "autocast", _autocast)
        for module in ("torch.nn.utils.clip_grad", "torch.optim.optimizer"):
            name = "_group_tensors_by_device_and_dtype"
            patch.setattr(sys.modules[module], name, _groups(card))
        patch.setattr(torch, "tensor", _made_there(torch.tensor))
        patch.setattr(torch, "as_tensor", _made_there(torch.as_tensor))
        with card:
            yield card


def _made_there(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that makes a tensor of numbers, and moves it if it is wanted elsewhere."""

    def made(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
        found = make(data, **kwargs)
        return found if device is None else found.to(device)

    return made


def _is_on(card: Card, device: torch.device) -> property:
    return property(lambda self: self.device.type == device.type)


def _tensor(card: Card) -> dict[str, Any]:
    """What tensors say of themselves, and how they are moved."""

    def device(self: Tensor) -> torch.device:
        real: torch.device = REAL["device"].__get__(self)
        return CARD if real.type == "cpu" and card.has(self) else real

    def to(self: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        like = args[0] if args and isinstance(args[0], Tensor) else kwargs.pop("other", None)
        if like is not None:
            args = (like.device, like.dtype, *args[1:])
        wanted, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
        more = {name: x for name, x in {"dtype": dtype, "memory_format": layout}.items() if x}
        real_to: Callable[..., Tensor] = REAL["to"]
        if wanted is not None and wanted.type not in ("cpu", "cuda"):
            return real_to(self, wanted, **more)
        if wanted is None or (wanted.type == CARD.type) == card.has(self):
            return real_to(self, copy=copy, **more) if copy or more else self
        return card.moved(self, wanted, **more)

    def numpy(self: Tensor, **kwargs: Any) -> Any:
        if card.has(self):
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")
        return REAL["numpy"](self, **kwargs)

    def tolist(self: Tensor) -> Any:
        if card.has(self):
            card.wait("tolist")
        return REAL["tolist"](self)

    def deepcopy(self: Tensor, memo: Any) -> Tensor:
        copy: Tensor = REAL["__deepcopy__"](self, memo)
        return card.put(copy, on_card=True) if card.has(self) else copy

    def pin_memory(self: Tensor) -> Tensor:
        assert not card.has(self), "cannot pin a tensor of the card"
        return card.put(REAL["to"](self, copy=True), on_card=False, pinned=True)

    return {
        "device": property(device),
        "is_cuda": _is_on(card, CARD),
        "to": to,
        "cpu": lambda self, **_: self.to(HOST),
        "cuda": lambda self, *_, **__: self.to(CARD),
        "numpy": numpy,
        "tolist": tolist,
        "__deepcopy__": deepcopy,
        "pin_memory": pin_memory,
        "is_pinned": lambda self, *_: card.is_pinned(self),
        "get_device": lambda self: 0 if card.has(self) else -1,
    }


class _Stream:
    """A stream of a card on which everything is done at once."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.device = CARD

    def wait_stream(self, other: "_Stream") -> None:
        """Nothing is under way."""

    def is_capturing(self) -> bool:
        """Whether a graph is recorded; an optimizer asks, whose steps aren't."""
        return False


def _cuda(card: Card) -> dict[str, Any]:
    """`torch.cuda` with one card."""
    about = SimpleNamespace(name="simulated", total_memory=80 << 30, multi_processor_count=1)

    def set_rng_state(state: Tensor, device: Any = None) -> None:
        card.generator = state.clone()

    @contextmanager
    def graph(recorded: Graph, *_: Any, **__: Any) -> Iterator[None]:
        before, card.recording = card.generator, Recording(recorded)
        try:
            yield
        finally:
            recording, card.recording = card.recording, None
            recording.end()
            card.generator = before

    nothing, zero = lambda *_, **__: None, lambda *_, **__: 0
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": nothing,
        "device_count": lambda: 1,
        "current_device": zero,
        "set_device": nothing,
        "get_device_name": lambda *_: about.name,
        "get_device_properties": lambda *_: about,
        "get_device_capability": lambda *_: (9, 0),
        "get_rng_state": lambda *_: card.generator.clone(),
        "set_rng_state": set_rng_state,
        "manual_seed": card.seed,
        "manual_seed_all": card.seed,
        "Stream": _Stream,
        "current_stream": _Stream,
        "stream": lambda _: nullcontext(),
        "synchronize": lambda *_: card.wait("synchronize"),
        "graph": graph,
        "CUDAGraph": Graph,
        "graph_pool_handle": nothing,
        "empty_cache": nothing,
        "mem_get_info": lambda *_: (about.total_memory, about.total_memory),
        "max_memory_reserved": zero,
        "max_memory_allocated": zero,
        "memory_reserved": zero,
        "reset_peak_memory_stats": nothing,
        "set_per_process_memory_fraction": nothing,
    }


def _accelerator() -> dict[str, Any]:
    """`torch.accelerator` with one card."""
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_accelerator": lambda *_, **__: torch.device(CARD.type),
        "current_stream": _Stream,
    }


def _autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
    """Autocast, for what are tensors of a CPU."""
    return REAL_AUTOCAST("cpu" if device_type == CARD.type else device_type, *args, **kwargs)


def _groups(card: Card) -> Any:
    """Groups of tensors by where they are."""

    def grouped(lists: Any, with_indices: bool = False) -> Any:
        found = REAL_GROUPS(lists, with_indices)
        return {
            (CARD if own[0][0] is not None and card.has(own[0][0]) else device, dtype): (
                own,
                numbers,
            )
            for (device, dtype), (own, numbers) in found.items()
        }

    return grouped
