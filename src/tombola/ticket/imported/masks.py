"""Tensors of another program as the mask of a network."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tombola.base.errors import TicketError
from tombola.base.text import printable
from tombola.ticket.mask import Mask, Tensors, check_shapes
from tombola.ticket.scope import ends_with

__all__ = ["Imported"]

UNDERFLOW = 10
"""How many times sparser the encoder is than a pooler whose zeros were not pruned."""

BLOCKED = (torch.sparse_bsr, torch.sparse_bsc)
"""Layouts that store whole blocks, pruned weights within them included."""


@dataclass(frozen=True)
class Imported:
    """Tensors of another program that say which weights are kept, under that program's names."""

    tensors: Tensors
    """Name of the weight, maybe with a prefix -> mask of zeros and ones, or the weight itself."""
    masks: bool
    """Whether they are masks, and not weights whose zeros are pruned."""

    @property
    def scope(self) -> str:
        """The scope that they cover: with the pooler where that is masked, or pruned.

        A few zeros in a pooler under a sparse encoder are weights that half precision could not
        hold.
        """
        pooler = self._pooler()
        if self.masks:
            return "encoder+pooler" if pooler else "encoder"
        blocks = [t for n, t in self.tensors.items() if t.ndim > 1 and re.search(r"\.\d+\.", n)]
        pruned = _share(pooler.values()) * UNDERFLOW >= _share(blocks)
        return "encoder+pooler" if pruned and _share(pooler.values()) else "encoder"

    @property
    def ignored(self) -> dict[str, int]:
        """Pooler's matrix -> its zeros, where they don't make it a part of the scope."""
        pooler = {} if self.masks or self.scope != "encoder" else self._pooler()
        zeros = {name: _zeros(tensor) for name, tensor in pooler.items()}
        return {name: count for name, count in zeros.items() if count}

    def _pooler(self) -> Tensors:
        return {n: t for n, t in self.tensors.items() if "pooler" in n.split(".") and t.ndim > 1}

    def mask(self, parameters: Mapping[str, Tensor]) -> Mask:
        """The mask of a network's scope.

        A pooler outside of the scope is left out.

        Args:
            parameters: name relative to the backbone -> parameter.

        Raises: TicketError, if matrices are missing or have other shapes, if masks cover more
            than the scope or hold anything but 0 and 1, if weights are not finite, or if no
            weight is pruned, or every one.
        """
        ours = self._renamed(parameters)
        covered = {n: t for n, t in ours.items() if n in parameters or self._masks_more(n, t)}
        check_shapes({n: t.shape for n, t in covered.items()}, parameters)  # before any value
        for name, tensor in ours.items():
            if self.masks:
                _check_zeros_and_ones(name, tensor)
            elif name in parameters:
                _check_finite(name, tensor)
        mask = Mask({name: _kept(tensor) for name, tensor in covered.items()})
        if not 0 < mask.pruned < mask.size:
            raise TicketError(
                f"expected pruned and kept weights, got {mask.pruned} pruned of {mask.size}. "
                f"Import the masks, or the weights after pruning."
            )
        return mask

    def _masks_more(self, name: str, tensor: Tensor) -> bool:
        """Whether it is a mask outside of the scope that prunes something."""
        if not self.masks or name.startswith("pooler."):
            return False
        if tensor.layout is torch.strided:
            return _zeros(tensor) > 0
        return int(_kept_values(tensor).sum()) < tensor.numel()

    def _renamed(self, parameters: Mapping[str, Tensor]) -> Tensors:
        """The tensors under the network's names, without the prefix that all have in the file."""
        prefixes, modules = set(), set()
        for theirs in self.tensors:
            for name in parameters:
                if ends_with(theirs, name):
                    prefixes.add(theirs.removesuffix(name))
                elif self.masks and ends_with(f"{theirs}.weight", name):
                    prefixes.add(f"{theirs}.weight".removesuffix(name))
                    modules.add(theirs)
        if len(prefixes) > 1:
            raise TicketError(
                f"expected one network, got several under the prefixes "
                f"{', '.join(map(repr, sorted(prefixes)))}. Keep the tensors of one."
            )
        prefix = prefixes.pop() if prefixes else ""
        named = {n: f"{n}.weight" if n in modules else n for n in self.tensors}
        return {named[n].removeprefix(prefix): tensor for n, tensor in self.tensors.items()}


def _kept(tensor: Tensor) -> Tensor:
    """True for each value that isn't zero, or has a place in the pattern of a sparse tensor."""
    if tensor.layout is torch.strided:
        return tensor != 0
    counts = torch.zeros(tensor.shape, dtype=torch.int64)
    places = tuple(tensor.to_sparse_coo()._indices())
    return counts.index_put_(places, _kept_values(tensor).long(), accumulate=True) > 0


def _kept_values(tensor: Tensor) -> Tensor:
    """True for each stored value of a sparse tensor that is kept.

    All are, unless they are 0 and 1, or stored in blocks.
    """
    values = tensor.to_sparse_coo()._values()
    if tensor.layout in BLOCKED or bool(((values == 0) | (values == 1)).all()):
        return torch.ne(values, 0)
    return torch.ones_like(values, dtype=torch.bool)


def _share(tensors: Iterable[Tensor]) -> float:
    """Zeros as a fraction of all values."""
    listed = [*tensors]
    size = sum(tensor.numel() for tensor in listed)
    return sum(map(_zeros, listed)) / max(size, 1)


def _zeros(tensor: Tensor) -> int:
    """Zeros of a dense tensor, counted without another tensor."""
    return tensor.numel() - int(torch.count_nonzero(tensor))


def _check_finite(name: str, weight: Tensor) -> None:
    if not bool(torch.isfinite(weight).all()):
        raise TicketError(
            f"expected finite weights, got NaN or infinity in {printable(name)}: the "
            f"checkpoint is damaged. Import one from before."
        )


def _check_zeros_and_ones(name: str, tensor: Tensor) -> None:
    if tensor.layout is not torch.strided:
        return  # any pattern is a mask
    odd = tensor[(tensor != 0) & (tensor != 1)]
    if odd.numel():
        raise TicketError(
            f"a mask holds 0 and 1, got {odd[0].item():.6g} in {printable(name)}. "
            f"Import masks of 0 and 1, or the weights whose zeros are pruned."
        )
