"""Masks: which weights are kept and which are pruned; counted, compared, packed and applied."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from tombola.base.errors import TicketError

__all__ = [
    "Mask",
    "Shapes",
    "Tensors",
    "as_integers",
    "can_fill",
    "check_shapes",
    "jaccard",
    "kind_of",
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
    """Name -> bool tensor of the parameter's shape, True where the weight is kept.

    Names are sorted. A mask is a value: its tensors are never written to.
    """

    def __init__(self, kept: Mapping[str, Tensor]) -> None:
        for name, tensor in kept.items():
            if tensor.dtype != torch.bool:
                raise TypeError(f"a mask holds bool tensors, got {tensor.dtype} for {name}")
        self._kept = {name: kept[name] for name in sorted(kept)}

    @classmethod
    def full(cls, parameters: Mapping[str, Tensor]) -> "Mask":
        """A mask that keeps every weight."""
        shapes = {name: weight.shape for name, weight in parameters.items()}
        return cls({name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self.shapes == other.shapes and all(
            torch.equal(kept, other[name].to(kept.device)) for name, kept in self.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Mask({len(self)} tensors, {self.pruned} of {self.size} weights pruned)"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each tensor."""
        return {name: tuple(kept.shape) for name, kept in self.items()}

    @cached_property
    def size(self) -> int:
        """The number of weights under the mask, pruned and kept."""
        return sum(kept.numel() for kept in self.values())

    @cached_property
    def pruned(self) -> int:
        """The number of pruned weights."""
        return sum(_pruned(kept) for kept in self.values())

    @cached_property
    def pruned_tensors(self) -> frozenset[str]:
        """Names of the tensors that have pruned weights."""
        return frozenset(name for name, kept in self.items() if not kept.all())

    @property
    def sparsity(self) -> float:
        """Pruned weights as a fraction of all under the mask; 0.0 for an empty mask."""
        return self.pruned / self.size if self.size else 0.0

    def layer_sparsities(self) -> dict[str, float]:
        """Name -> fraction of that tensor that is pruned."""
        return {name: _pruned(kept) / max(kept.numel(), 1) for name, kept in self.items()}

    def to(self, device: torch.device | str) -> "Mask":
        """This mask on a device; tensors that are already there are shared."""
        return Mask({name: kept.to(device) for name, kept in self.items()})

    def check(self, tensors: Mapping[str, Tensor], what: str = "network") -> None:
        """Refuse tensors whose names or shapes differ from the mask's.

        Raises: TicketError, naming the first tensor that differs and both shapes.
        """
        check_shapes(self.shapes, tensors, what)

    @torch.no_grad()
    def fill(self, parameters: Mapping[str, Tensor]) -> None:
        """Set every pruned weight to +0.0, in place.

        Raises: TicketError, if names or shapes differ.
        """
        self.check(parameters)
        self.zero(parameters)

    @torch.no_grad()
    def zero(self, tensors: Mapping[str, Tensor]) -> None:
        """Set what is pruned to +0.0, in place, in those tensors that are there."""
        for name in self.pruned_tensors & tensors.keys():
            weight = tensors[name].detach()
            as_integers(weight).mul_(self[name].to(weight.device))

    def first_nonzero_pruned(self, parameters: Mapping[str, Tensor]) -> tuple[str, int] | None:
        """The first tensor in which pruned weights are not zero, and how many; None if all are.

        Raises: TicketError, if names or shapes differ.
        """
        self.check(parameters)
        for name in sorted(self.pruned_tensors):
            weight = parameters[name].detach()
            if count := int((weight[~self[name].to(weight.device)] != 0).sum()):
                return name, count
        return None

    def check_zeros(self, parameters: Mapping[str, Tensor]) -> None:
        """Refuse weights of which a pruned one is not zero.

        Raises: TicketError, naming the first tensor; also if names or shapes differ.
        """
        if found := self.first_nonzero_pruned(parameters):
            name, count = found
            raise TicketError(
                f"expected zeros where the ticket prunes {name}, got {count:,} other weights. "
                "Train within `ticket.hold(model)`, or call `ticket.apply(model)` first."
            )

    def digest(self) -> str:
        """SHA-256 over names, shapes and packed bits, in hexadecimal.

        Each tensor adds the line "name shape" (dimensions joined by "x"), then its packed bytes.
        """
        sha = hashlib.sha256()
        for name, kept in self.items():
            sha.update(f"{name} {'x'.join(map(str, kept.shape))}\n".encode())
            sha.update(_pack(kept).data)
        return sha.hexdigest()


def check_shapes(shapes: Shapes, tensors: Mapping[str, Tensor], what: str = "network") -> None:
    """Refuse tensors whose names or shapes differ from those of a mask.

    Raises: TicketError, naming the first tensor that differs and both shapes.
    """
    for name in sorted({*shapes, *tensors}):
        ours = str(tuple(shapes[name])) if name in shapes else "no such tensor"
        theirs = str(tuple(tensors[name].shape)) if name in tensors else "no such tensor"
        if ours != theirs:
            remedy = "Use them with the same architecture and scope."
            if name.startswith("pooler.") and name not in tensors:
                remedy = "Leave the pooler out with --scope encoder."
            raise TicketError(
                f"the mask and the {what} differ first at {name}: the mask has {ours}, "
                f"the {what} has {theirs}. {remedy}"
            )


def as_integers(tensor: Tensor) -> Tensor:
    """The bits of a float tensor as integers, sharing memory.

    Times 1 an integer keeps its bits and times 0 it is the bits of +0.0, even where the float is
    negative, infinite or NaN. A product has no branch: with a mask that no branch predictor can
    guess it takes a tenth of masked_fill_'s time.
    """
    return tensor.view(_BITS[tensor.dtype])


def can_fill(parameter: Tensor) -> bool:
    """Whether a parameter is a plain tensor of floats, whose bits `as_integers` reads."""
    return type(parameter.data) is Tensor and parameter.dtype in _BITS


def kind_of(parameter: Tensor) -> str:
    """What a parameter is, for messages: its dtype, or the class that stands for a tensor."""
    data = parameter.data
    return str(data.dtype) if type(data) is Tensor else type(data).__name__


def _pruned(kept: Tensor) -> int:
    return kept.numel() - int(np.count_nonzero(kept.cpu().numpy()))


def jaccard(a: Mask, b: Mask) -> float:
    """Overlap of the pruned weights of two masks: |both| / |either|; 1.0 if none is pruned.

    Raises: TicketError, if names or shapes differ.
    """
    a.check(b, "other mask")
    both = sum(_pruned(kept | b[name].to(kept.device)) for name, kept in a.items())
    either = a.pruned + b.pruned - both
    return both / either if either else 1.0


def pack(mask: Mask) -> Tensors:
    """Name -> one-dimensional uint8 tensor with one bit per weight, 1 where it is kept.

    Weight i, counted in row-major order, is bit i % 8 of byte i // 8, where bit 0 is the least
    significant. The bits that pad the last byte are zero.
    """
    return {name: torch.from_numpy(_pack(kept)) for name, kept in mask.items()}


def _pack(kept: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.packbits(kept.cpu().numpy().reshape(-1), bitorder="little")


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
            f"expected bits and a shape for each tensor, got only one of them for {odd}. "
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
    kept = np.unpackbits(bits.cpu().numpy(), count=size, bitorder="little").view(np.bool_)
    return torch.from_numpy(kept).reshape(shape)
