"""A mask: which weights live. Made, counted, compared, packed, and kept on a network."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from tombola.base.errors import TicketError

__all__ = [
    "Mask",
    "MaskedGradient",
    "Shapes",
    "Tensors",
    "check_shapes",
    "hold",
    "jaccard",
    "pack",
    "unpack",
]

Tensors = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]

_BITS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


class Mask(Mapping[str, Tensor]):
    """Name -> bool tensor of the parameter's shape, True where the weight is alive.

    Names are sorted. A mask is a value: nobody writes into its tensors.
    """

    def __init__(self, alive: Mapping[str, Tensor]) -> None:
        for name, tensor in alive.items():
            if tensor.dtype != torch.bool:
                raise TypeError(f"a mask holds bool tensors, got {tensor.dtype} for {name}")
        self._alive = {name: alive[name] for name in sorted(alive)}

    @classmethod
    def full(cls, parameters: Mapping[str, Tensor]) -> "Mask":
        """A mask under which every weight is alive."""
        shapes = {name: weight.shape for name, weight in parameters.items()}
        return cls({name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self._alive[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._alive)

    def __len__(self) -> int:
        return len(self._alive)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self.shapes == other.shapes and all(
            torch.equal(alive, other[name].to(alive.device)) for name, alive in self.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Mask({len(self)} tensors, {self.dead} of {self.size} weights dead)"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each tensor."""
        return {name: tuple(alive.shape) for name, alive in self.items()}

    @cached_property
    def size(self) -> int:
        """The number of weights under the mask, dead or alive."""
        return sum(alive.numel() for alive in self.values())

    @cached_property
    def dead(self) -> int:
        """The number of dead weights."""
        return sum(_dead(alive) for alive in self.values())

    @cached_property
    def holed(self) -> frozenset[str]:
        """Names of the tensors that have dead weights."""
        return frozenset(name for name, alive in self.items() if not alive.all())

    @property
    def sparsity(self) -> float:
        """Dead weights as a fraction of all under the mask; 0.0 for an empty mask."""
        return self.dead / self.size if self.size else 0.0

    def layer_sparsities(self) -> dict[str, float]:
        """Name -> fraction of that tensor that is dead."""
        return {name: _dead(alive) / max(alive.numel(), 1) for name, alive in self.items()}

    def to(self, device: torch.device | str) -> "Mask":
        """The same mask on a device; tensors that are there already are shared."""
        return Mask({name: alive.to(device) for name, alive in self.items()})

    def check(self, tensors: Mapping[str, Tensor], what: str = "network") -> None:
        """Refuse tensors whose names or shapes differ from the mask's.

        Raises: TicketError, naming the first tensor that differs and both shapes.
        """
        check_shapes(self.shapes, tensors, what)

    @torch.no_grad()
    def fill(self, parameters: Mapping[str, Tensor]) -> None:
        """Make every dead weight +0.0, in place.

        Raises: TicketError, if names or shapes differ.
        """
        self.check(parameters)
        for name in self.holed:
            weight = parameters[name].detach()
            _as_integers(weight).mul_(self[name].to(weight.device))

    def digest(self) -> str:
        """SHA-256 over names, shapes and packed bits, in hexadecimal.

        Each tensor adds the line "name shape" (dimensions joined by "x"), then its packed bytes.
        """
        sha = hashlib.sha256()
        for name, alive in self.items():
            sha.update(f"{name} {'x'.join(map(str, alive.shape))}\n".encode())
            sha.update(_pack(alive).data)
        return sha.hexdigest()


def check_shapes(shapes: Shapes, tensors: Mapping[str, Tensor], what: str = "network") -> None:
    """Refuse tensors whose names or shapes differ from those of a mask.

    Raises: TicketError, naming the first tensor that differs and both shapes.
    """
    for name in sorted({*shapes, *tensors}):
        ours = str(tuple(shapes[name])) if name in shapes else "no such tensor"
        theirs = str(tuple(tensors[name].shape)) if name in tensors else "no such tensor"
        if ours != theirs:
            raise TicketError(
                f"the mask and the {what} differ first at {name}: the mask has {ours}, "
                f"the {what} has {theirs}. Use them with the same architecture and scope."
            )


def _as_integers(tensor: Tensor) -> Tensor:
    """The bits of a float tensor as integers, sharing memory.

    Times 1 an integer keeps its bits and times 0 it is the bits of +0.0, even where the float is
    negative, infinite or NaN. A product has no branch: with a mask that no branch predictor can
    guess it takes a tenth of masked_fill_'s time.
    """
    return tensor.view(_BITS[tensor.dtype])


def _dead(alive: Tensor) -> int:
    return alive.numel() - int(np.count_nonzero(alive.cpu().numpy()))


@contextmanager
def hold(parameters: Mapping[str, Tensor], mask: Mask) -> Iterator[Mask]:
    """Keep dead weights dead while a network trains: fill now, and zero their gradients.

    Gradients are zeroed by tensor hooks, before anybody clips them, so that a norm counts living
    weights only; a NaN or an infinity in a dead weight's gradient becomes zero too. Not every
    optimizer leaves a zero weight with a zero gradient alone, so call `fill` after each step:

        with hold(parameters, mask) as held:
            loss.backward()
            optimizer.step()
            held.fill(parameters)

    Args:
        parameters: name -> parameter, all on one device; frozen ones get no hook.
        mask: same names and shapes.

    Yields: the mask, on the parameters' device.
    Raises: TicketError, if names or shapes differ.
    """
    mask.check(parameters)
    held = mask.to(next(iter(parameters.values())).device) if parameters else mask
    held.fill(parameters)
    hooks = [
        parameter.register_hook(MaskedGradient(held[name]))
        for name, parameter in parameters.items()
        if parameter.requires_grad and name in held.holed
    ]
    try:
        yield held
    finally:
        for hook in hooks:
            hook.remove()


class MaskedGradient:
    """A gradient hook: the gradient with +0.0 where the weight is dead."""

    def __init__(self, alive: Tensor) -> None:
        self.alive = alive

    def __call__(self, gradient: Tensor) -> Tensor:
        """The masked gradient, in new memory."""
        return (_as_integers(gradient) * self.alive).view(gradient.dtype)


def jaccard(a: Mask, b: Mask) -> float:
    """Overlap of the dead weights of two masks: |both| / |either|; 1.0 if nothing is dead.

    Raises: TicketError, if names or shapes differ.
    """
    a.check(b, "other mask")
    both = sum(_dead(alive | b[name].to(alive.device)) for name, alive in a.items())
    either = a.dead + b.dead - both
    return both / either if either else 1.0


def pack(mask: Mask) -> Tensors:
    """Name -> one-dimensional uint8 tensor with one bit per weight, 1 where it is alive.

    Weight i, counted in row-major order, is bit i % 8 of byte i // 8, where bit 0 is the least
    significant. The bits that pad the last byte are zero.
    """
    return {name: torch.from_numpy(_pack(alive)) for name, alive in mask.items()}


def _pack(alive: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.packbits(alive.cpu().numpy().reshape(-1), bitorder="little")


def unpack(packed: Mapping[str, Tensor], shapes: Shapes) -> Mask:
    """The mask that `pack` packed.

    Args:
        packed: name -> uint8 tensor of ceil(size / 8) bytes.
        shapes: name -> shape, the same names.

    Raises: TicketError, if names, types or lengths differ or a padding bit is set.
    """
    if packed.keys() != shapes.keys():
        odd = min(packed.keys() ^ shapes.keys())
        raise TicketError(
            f"expected bits and a shape for each tensor, and {odd} has only one of them. "
            f"Fetch the ticket again."
        )
    return Mask({name: _unpack(name, packed[name], shapes[name]) for name in shapes})


def _unpack(name: str, bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    size = prod(shape)
    expected = (size + 7) // 8
    if bits.dtype != torch.uint8 or bits.shape != (expected,):
        raise TicketError(
            f"{name} of shape {shape} takes {expected} bytes (uint8) of bits, "
            f"got {tuple(bits.shape)} of {bits.dtype}. Fetch the ticket again."
        )
    if size % 8 and int(bits[-1]) >> (size % 8):
        raise TicketError(
            f"expected zeros after the last weight of {name}, got the byte {int(bits[-1]):#010b}. "
            f"Fetch the ticket again."
        )
    alive = np.unpackbits(bits.cpu().numpy(), count=size, bitorder="little").view(np.bool_)
    return torch.from_numpy(alive).reshape(shape)
