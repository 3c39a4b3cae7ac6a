"""A card that is not there: CPU tensors that pretend to be on one, and what it would refuse.

Whatever is moved to `cuda` or made there stays in the CPU's memory, but its storage is marked. An
operator that meets tensors of both sides raises as on a card, a generator of the CPU isn't taken
for the card's tensors, and whatever would let the processor wait for the card is counted. Not
simulated: kernels that run late, several streams, memory, other bits, and kernels of C++ that ask
for a device themselves.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from simulated.attention import ATTENTION
from simulated.graph import Recording

__all__ = ["CARD", "Card", "MixedError", "Unrecordable"]

CARD, HOST = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten

MOST = 4096
"""Storages that are remembered before those that are gone are forgotten."""
COPIES = (aten.copy_.default, aten._to_copy.default)
INDEXING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)
"""Indices may be on the processor, from where they are copied."""
WAITING = (
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.bincount.default,
    aten._unique2.default,
    aten.repeat_interleave.Tensor,
)
"""The processor needs their result, or its size."""
PRODUCTS = (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default)
"""What cuBLAS computes."""
TAKES_NUMBERS = (aten.where.self, aten.masked_fill.Tensor, aten.masked_fill_.Tensor)
"""They take one number from the processor, as pointwise operators do."""


class MixedError(RuntimeError):
    """An operator met tensors of both sides, or a generator of the wrong one."""


class Unrecordable(RuntimeError):  # noqa: N818 - a card's own error has no name either
    """An operator can't be part of a recorded graph."""


class Card(TorchDispatchMode):
    """Where each storage is, what the processor waited for, and the card's random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places: dict[int, StorageWeakRef] = {}
        self._pinned: dict[int, StorageWeakRef] = {}
        self.waits: Counter[str] = Counter()
        self.recording: Recording | None = None
        self.cublas_is_set = True
        """Whether cuBLAS's setting was there when it was first used."""
        self.seed(0)

    # --- where tensors are ---------------------------------------------------------

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor is on the card."""
        return _kept(self._places, tensor)

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether a tensor is in memory that the card reads by itself."""
        return _kept(self._pinned, tensor)

    def put(self, tensor: Tensor, *, on_card: bool, pinned: bool = False) -> Tensor:
        """Mark the storage of a tensor."""
        for places, here in ((self._places, on_card), (self._pinned, pinned)):
            storage = _storage(tensor)
            if storage is not None:
                places.pop(storage._cdata, None)
                if here:
                    places[storage._cdata] = StorageWeakRef(storage)
                if len(places) > MOST:
                    gone = [number for number, kept in places.items() if kept.expired()]
                    for number in gone:
                        del places[number]
        return tensor

    def moved(self, tensor: Tensor, device: torch.device, **how: Any) -> Tensor:
        """A copy on one of both sides."""
        if self.recording is not None:
            raise Unrecordable("a copy between processor and card in a recorded graph")
        to_card = device.type == CARD.type
        if not to_card or not self.is_pinned(tensor):
            self.wait("copy to the card" if to_card else "copy from the card")
        return self.put(REAL_TO(tensor, copy=True, **how), on_card=to_card)

    def wait(self, why: str) -> None:
        """The processor waits for the card."""
        if self.recording is not None:
            raise Unrecordable(f"{why} in a recorded graph")
        self.waits[why] += 1

    # --- random numbers ------------------------------------------------------------

    def seed(self, seed: int) -> None:
        """Seed the card's generator, whose numbers are others than the processor's."""
        self.generator = torch.Generator().manual_seed(seed ^ 0x5EED).get_state()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw from the card's generator."""
        before = torch.get_rng_state()
        torch.set_rng_state(self.generator)
        try:
            yield
        finally:
            self.generator = torch.get_rng_state()
            torch.set_rng_state(before)

    # --- operators -----------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what an operator does, where its tensors are."""
        kwargs = dict(kwargs or {})
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        on_card = self._on_card(func, args, kwargs, inputs)
        self._wait_for(func, args)
        if on_card and func in PRODUCTS and not self.cublas_is_set:
            _refuse_cublas()
        if kwargs.get("device") is not None and kwargs["device"].type == CARD.type:
            kwargs["device"] = HOST
        if self.recording is not None:
            self.recording.before(func, args, kwargs)
        do = ATTENTION.get(func, func)
        random = on_card and torch.Tag.nondeterministic_seeded in func.tags
        if random and kwargs.get("generator") is None:
            with self.drawing():
                made = do(*args, **kwargs)
        else:
            made = do(*args, **kwargs)
        known = {id_ for each in inputs if (id_ := _id(each)) is not None}
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and _id(each) not in known:
                self.put(each, on_card=on_card)
        if self.recording is not None:
            self.recording.after(func, args, kwargs, made)
        return made

    def _on_card(self, func: Any, args: Any, kwargs: dict[str, Any], inputs: list[Tensor]) -> bool:
        """Whether an operator's results are on the card.

        Raises: MixedError.
        """
        device = kwargs.get("device")
        if device is not None and func is not aten._to_copy.default:
            # formulas of gradients, in C++, ask for the device that a tensor really is on
            backward = torch._C._current_graph_task_id() >= 0
            where = bool(device.type == CARD.type) or backward
        elif device is not None:
            where = device.type == CARD.type or self.has(inputs[0])
        elif func in INDEXING:
            where = self._indexed(args)
        elif func in COPIES:
            where = self.has(inputs[0])
        else:
            where = self._together(func, inputs)
        generator = kwargs.get("generator")
        if where and generator is not None:
            raise MixedError(f"{func} takes a generator of the card, got one of {generator.device}")
        return where

    def _indexed(self, args: Any) -> bool:
        """Where indexing happens."""
        where, indices = self.has(args[0]), [each for each in args[1] if each is not None]
        if not where and any(map(self.has, indices)):
            raise MixedError("an index on the card for a tensor of the processor")
        if len(args) > 2 and args[2].ndim and self.has(args[2]) != where:
            raise MixedError("values on another side than the tensor that they are put into")
        return where

    def _together(self, func: Any, inputs: list[Tensor]) -> bool:
        """Where tensors are that must be on one side."""
        numbers = torch.Tag.pointwise in func.tags or func in TAKES_NUMBERS
        numbers = numbers or "foreach" in func.name()
        sides = {self.has(each) for each in inputs if not (numbers and _is_number(each, self))}
        if len(sides) > 1:
            shapes = ", ".join(f"{'card' if self.has(x) else 'cpu'}{[*x.shape]}" for x in inputs)
            raise MixedError(f"{func} of tensors on both sides: {shapes}")
        return sides == {True}

    def _wait_for(self, func: Any, args: Any) -> None:
        """Count what the processor waits for."""
        if func in WAITING and any(self.has(each) for each in args if isinstance(each, Tensor)):
            self.wait(func.name())
        if func in INDEXING and self.has(args[0]):
            indices = [each for each in args[1] if each is not None]
            if any(each.dtype in (torch.bool, torch.uint8) for each in indices):
                self.wait(f"{func.name()} by a mask")
            if not all(map(self.has, indices)):
                self.wait(f"{func.name()} by an index of the processor")
        if func is aten.copy_.default and self.has(args[0]) != self.has(args[1]):
            if self.has(args[0]) and (self.is_pinned(args[1]) or not args[1].ndim):
                return
            self.wait("copy to the card" if self.has(args[0]) else "copy from the card")


REAL_TO = torch.Tensor.to


def _refuse_cublas() -> None:
    """Raise as torch does where kernels must be deterministic."""
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    if torch.are_deterministic_algorithms_enabled() and not warns:
        raise RuntimeError(
            "Deterministic behavior was enabled with `torch.use_deterministic_algorithms(True)`, "
            "but this operation is not deterministic because it uses CuBLAS"
        )


def _is_number(tensor: Tensor, card: Card) -> bool:
    return not tensor.ndim and not card.has(tensor)


def _storage(tensor: Tensor) -> Any:
    """The storage of a tensor; None of one that has none."""
    try:
        return tensor.untyped_storage()
    except NotImplementedError:
        return None


def _id(tensor: Tensor) -> int | None:
    storage = _storage(tensor)
    return None if storage is None else int(storage._cdata)


def _kept(places: dict[int, StorageWeakRef], tensor: Tensor) -> bool:
    """Whether a storage is in a list, as itself and not as one that was there before."""
    number = _id(tensor)
    found = None if number is None else places.get(number)
    return found is not None and not found.expired()
