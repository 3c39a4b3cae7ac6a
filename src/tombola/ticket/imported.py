"""Masks of other programs: torch's pruning, the paper's code, or the zeros of a checkpoint.

Three things are read, and nothing in them is ever run:

- a file that torch.save() wrote, with a tensor of zeros and ones for each weight, or a sparse one,
  whose pattern is the mask; alone or in a checkpoint of a training;
- a state dict after torch.nn.utils.prune, whose `weight_mask` tensors are masks;
- a checkpoint of weights (safetensors, or a folder that save_pretrained() wrote), whose zeros are
  pruned.
"""

import os
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tombola.base.errors import TicketError
from tombola.base.files import open_plain
from tombola.ticket.format import JSON_NAME
from tombola.ticket.mask import Mask, Tensors, check_shapes

__all__ = ["Imported", "read_imported"]

UNDERFLOW = 10
"""How many times sparser the encoder is than a pooler whose zeros were not pruned."""

BLOCKED = (torch.sparse_bsr, torch.sparse_bsc)
"""Layouts that store whole blocks, pruned weights within them included."""

MARKS = ("_mask", ".mask")
"""What is added to the name of a weight, or of its module, to name its mask."""

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How files of torch.save() begin."""

PLAIN = "Save the masks as a plain dict: torch.save({name: tensor}, file)"
"""What can always be read."""

DEPTH = 4
"""How deep in the dicts of a checkpoint its tensors are looked for."""


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
        zeros = {name: int((tensor == 0).sum()) for name, tensor in pooler.items()}
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
        for name, tensor in ours.items():
            if self.masks:
                _check_zeros_and_ones(name, tensor)
            elif name in parameters:
                _check_finite(name, tensor)
        covered = {n: t for n, t in ours.items() if n in parameters or self._masks_more(n, t)}
        check_shapes({n: t.shape for n, t in covered.items()}, parameters)  # before allocating
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
        kept = tensor != 0 if tensor.layout is torch.strided else _kept_values(tensor)
        return int(kept.sum()) < tensor.numel()

    def _renamed(self, parameters: Mapping[str, Tensor]) -> Tensors:
        """The tensors under the network's names, without the prefix that all have in the file."""
        prefixes, modules = set(), set()
        for theirs in self.tensors:
            for name in parameters:
                if _ends_with(theirs, name):
                    prefixes.add(theirs.removesuffix(name))
                elif self.masks and _ends_with(f"{theirs}.weight", name):
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


def read_imported(path: Path) -> Imported:
    """Masks or a checkpoint, from safetensors or a pickle that holds tensors and nothing else.

    Raises: TicketError, if there is neither, or reading it would run code.
    """
    tensors = _read(path)
    marked = {
        name.removesuffix(mark): tensor
        for name, tensor in tensors.items()
        for mark in MARKS
        if name.endswith(mark)
    }
    if marked:
        return Imported(marked, masks=True)
    return Imported(tensors, masks=path.is_file() and not _is_safetensors(path))


def _read(path: Path) -> Tensors:
    """Every tensor of a file, or of the files of a folder."""
    if path.is_dir():
        if (path / JSON_NAME).is_file():
            raise TicketError(
                f"expected masks or a checkpoint in {path}, got a ticket. Use it as it is: "
                f"tombola evaluate {path}"
            )
        files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
        if not files:
            raise TicketError(
                f"expected *.safetensors or pytorch_model.bin in {path}, got neither. Name a "
                f"folder that save_pretrained() wrote, or a file."
            )
        return {name: tensor for file in files for name, tensor in _read(file).items()}
    if not path.is_file():
        came = "something that isn't a file" if path.exists() else "nothing"
        raise TicketError(f"expected masks or a checkpoint, got {came} at {path}. Check the path.")
    return _safetensors(path) if _is_safetensors(path) else _pickle(path)


def _is_safetensors(path: Path) -> bool:
    """Whether a file is named like safetensors, or begins like it."""
    return path.suffix == ".safetensors" or _start(path)[8:10] == b'{"'


def _start(path: Path) -> bytes:
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            return file.read(64)
    except OSError as error:
        raise _unreadable(path, error) from None


def _safetensors(path: Path) -> Tensors:
    try:
        tensors: Tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None
    return tensors


def _pickle(path: Path) -> Tensors:
    """Tensors that torch.save() wrote; a pickle of anything else is refused."""
    start = _start(path)
    if start.startswith(b"version https://git-lfs"):
        raise TicketError(
            f"expected masks or a checkpoint in {path}, got a git-LFS pointer to it. Fetch the "
            f"file itself: `git lfs pull`."
        )
    if not start.startswith((ZIP, PICKLE)):
        came = ("text" if start.isascii() else "other bytes") if start else "nothing in it"
        raise _unreadable(path, ValueError(came))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles by others, and sparse tensors
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower():
            raise _unreadable(path, ValueError("other bytes")) from None
        raise TicketError(
            f"expected tensors only in {path}, got a pickle that wants to run code. {PLAIN}."
        ) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(content, Mapping) or not content:
        came = f"a {type(content).__name__}" if content is not None else "nothing"
        empty = " without anything in it" if isinstance(content, Mapping) else ""
        raise TicketError(f"expected a dict of tensors in {path}, got {came}{empty}. {PLAIN}.")
    found = _unwrapped(content, path)
    for name, tensor in found.items():
        if tensor.is_meta or tensor.is_quantized or tensor.is_nested:
            came = "no values" if tensor.is_meta else "a quantised or nested tensor"
            raise TicketError(f"expected a plain tensor for {name} in {path}, got {came}. {PLAIN}.")
    return found


def _unwrapped(content: Mapping[Any, Any], path: Path) -> Tensors:
    """The only dict of tensors in a checkpoint, which may hold other things, too."""
    found = dict(_dicts_of_tensors(content, "", DEPTH))
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise TicketError(
            f"expected one dict of tensors in {path}, got several: {', '.join(sorted(found))}. "
            f"Save only the one with the masks."
        )
    odd = next(
        (n for n, t in content.items() if not (isinstance(n, str) and isinstance(t, Tensor)))
    )
    raise TicketError(
        f"expected a tensor for each name in {path}, got {type(content[odd]).__name__} for "
        f"{odd!r}. {PLAIN}."
    )


def _dicts_of_tensors(
    content: Mapping[Any, Any], place: str, depth: int
) -> Iterator[tuple[str, Tensors]]:
    """Place and content of each dict of tensors by name; none is inside another."""
    if content and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in content.items()):
        yield place, dict(content)
    elif depth:
        for name, inner in content.items():
            if isinstance(inner, Mapping):
                yield from _dicts_of_tensors(inner, f"{place}.{name}".lstrip("."), depth - 1)


def _unreadable(path: Path, error: Exception) -> TicketError:
    reason = " ".join(str(error).split())[:200].rstrip(".")
    if "inline_container" in reason:
        reason = "an archive of other things"
    return TicketError(
        f"expected safetensors or a file of torch.save() in {path}, got: {reason or 'nothing'}. "
        f"{PLAIN}."
    )


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
    return sum(int((tensor == 0).sum()) for tensor in listed) / max(size, 1)


def _check_finite(name: str, weight: Tensor) -> None:
    if not bool(torch.isfinite(weight).all()):
        raise TicketError(
            f"expected finite weights, got NaN or infinity in {name}: the checkpoint is damaged. "
            f"Import one from before."
        )


def _check_zeros_and_ones(name: str, tensor: Tensor) -> None:
    if tensor.layout is not torch.strided:
        return  # any pattern is a mask
    odd = tensor[(tensor != 0) & (tensor != 1)]
    if odd.numel():
        raise TicketError(
            f"a mask holds 0 and 1, got {odd[0].item():.6g} in {name}. If these are weights and "
            f"their zeros are pruned, save them as safetensors."
        )


def _ends_with(theirs: str, name: str) -> bool:
    return theirs == name or theirs.endswith(f".{name}")
