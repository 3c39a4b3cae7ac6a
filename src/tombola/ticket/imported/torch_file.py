"""Files of torch.save(): plain tensors by name, and nothing in them is ever run.

torch's own reader takes tensors only, but trusts their sizes: it unpacks archives, allocates what
a pickle asks for, and repeats one value as often as strides say. All that is refused before.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tombola.base.errors import TicketError, brief
from tombola.base.files import open_plain
from tombola.base.text import printable
from tombola.ticket.imported.pickle_scan import PICKLE, ZIP, UnsafePickleError, check_pickle
from tombola.ticket.mask import Tensors

__all__ = ["MARKS", "check_plain", "read_torch_file", "start_of", "unreadable"]

MARKS = ("_mask", ".mask")
"""What is added to the name of a weight, or of its module, to name its mask."""

PLAIN = "Save the masks as a plain dict: torch.save({name: tensor}, file)"
"""What can always be read."""

DEPTH = 4
"""How deep in the dicts of a checkpoint its tensors are looked for."""

OPTIMIZER = {"state", "param_groups"}
"""What the state dict of an optimizer of torch consists of."""

TYPES = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
}
"""Types of the values that are read."""

COMPRESSED = {torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc}


def start_of(path: Path) -> bytes:
    """The first bytes of a file.

    Raises: TicketError, if it can't be opened, or is not a plain file.
    """
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            return file.read(64)
    except OSError as error:
        raise unreadable(path, error) from None


def read_torch_file(path: Path) -> Tensors:
    """Tensors by name that torch.save() wrote; values stay on the disk until they are looked at.

    Raises: TicketError, for a pickle of anything else, and for tensors that claim more values than
        the file holds.
    """
    start = start_of(path)
    if start.startswith(b"version https://git-lfs"):
        raise TicketError(
            f"expected masks or a checkpoint in {printable(path)}, got a git-LFS pointer to it. "
            f"Fetch the file itself: `git lfs pull`."
        )
    if not start.startswith((ZIP, PICKLE)):
        came = ("text" if start.isascii() else "other bytes") if start else "nothing in it"
        raise unreadable(path, ValueError(came))
    _check(path)
    content = _loaded(path, mapped=start.startswith(ZIP))
    if not isinstance(content, Mapping) or not content:
        came = f"a {type(content).__name__}" if content is not None else "nothing"
        empty = " without anything in it" if isinstance(content, Mapping) else ""
        raise TicketError(
            f"expected a dict of tensors in {printable(path)}, got {came}{empty}. {PLAIN}."
        )
    found = _unwrapped(content, path)
    check_plain(found, path)
    return found


def check_plain(tensors: Tensors, path: Path) -> None:
    """Refuse tensors of which the file does not hold every value as it is.

    Raises: TicketError, naming the first.
    """
    for name, tensor in tensors.items():
        if odd := _oddity(tensor):
            raise TicketError(
                f"expected a plain tensor for {printable(name)[:200]} in {printable(path)}, got "
                f"{odd}. {PLAIN}."
            )


def unreadable(path: Path, error: Exception) -> TicketError:
    """The error about a file that is not what it should be."""
    reason = printable(" ".join(str(error).split()))[:200].rstrip(".")
    if "inline_container" in reason:
        reason = "an archive of other things"
    return TicketError(
        f"expected safetensors or a file of torch.save() in {printable(path)}, got: "
        f"{reason or type(error).__name__}. {PLAIN}."
    )


# --- loading -----------------------------------------------------------------


def _check(path: Path) -> None:
    try:
        check_pickle(path)
    except UnsafePickleError as error:
        raise TicketError(
            f"expected tensors only in {printable(path)}, got {error}. {PLAIN}."
        ) from None
    except Exception as error:  # of the library, about bytes that may be anything
        raise unreadable(path, error) from None


def _loaded(path: Path, *, mapped: bool) -> Any:
    """What torch reads; an archive is mapped, so that no value of it takes memory yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles by others, and sparse tensors
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # bytes that may be anything fail in a hundred ways
        reason = error if "weights_only" not in str(error) else ValueError("other bytes")
        raise unreadable(path, reason) from None


# --- after -------------------------------------------------------------------


def _unwrapped(content: Mapping[Any, Any], path: Path) -> Tensors:
    """The only dict of tensors in a checkpoint, or the only one with masks in it."""
    found = dict(_dicts_of_tensors(content, "", DEPTH, set()))
    marked = {n: t for n, t in found.items() if any(name.endswith(MARKS) for name in t)}
    if len(marked) == 1:
        found = marked
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise TicketError(
            f"expected one dict of tensors in {printable(path)}, got several: "
            f"{printable(', '.join(sorted(found)))[:200]}. Save only the one with the masks."
        )
    odd = next(
        (n for n, t in content.items() if not (isinstance(n, str) and isinstance(t, Tensor)))
    )
    shown = brief(odd) if isinstance(odd, str | int) else f"a {type(odd).__name__}"
    raise TicketError(
        f"expected a tensor for each name in {printable(path)}, got "
        f"{type(content[odd]).__name__} for {printable(shown)}. {PLAIN}."
    )


def _dicts_of_tensors(
    content: Mapping[Any, Any], place: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, Tensors]]:
    """Place and content of each dict of tensors by name, but for those in an optimizer's state.

    None is inside another, or comes twice.
    """
    seen.add(id(content))
    if content and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in content.items()):
        yield place, dict(content)
    elif depth and not content.keys() >= OPTIMIZER:
        for name, inner in content.items():
            if isinstance(name, str | int) and isinstance(inner, Mapping) and id(inner) not in seen:
                inside = f"{place}.{name}".lstrip(".")
                yield from _dicts_of_tensors(inner, inside, depth - 1, seen)


def _oddity(tensor: Tensor) -> str:
    """Why a tensor can't be read as one of values that the file holds; empty if it can."""
    if tensor.is_meta:
        return "no values"
    if tensor.is_quantized or tensor.is_nested:
        return "a quantised or nested tensor"
    if tensor.layout is torch.strided:
        return _oddity_of_values(tensor)
    if tensor.layout not in COMPRESSED | {torch.sparse_coo}:
        return f"a tensor of the layout {tensor.layout}"
    odd = next(filter(None, map(_oddity_of_values, _parts(tensor))), "")
    return odd or _wrong_places(tensor)


def _oddity_of_values(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "no values"
    if tensor.dtype not in TYPES:
        return f"values of the type {tensor.dtype}"
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() > stored:
        return f"{tensor.numel():,} values of which {stored:,} are stored"
    return ""


def _parts(tensor: Tensor) -> list[Tensor]:
    """The stored tensors of a sparse one: the places, and the values last."""
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]


def _wrong_places(tensor: Tensor) -> str:
    """Whether a sparse tensor has values outside of itself, which torch's reader lets through."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _rebuilt(tensor)
    except RuntimeError as error:
        return f"places that don't fit: {printable(' '.join(str(error).split()))[:120]}"
    return ""


def _rebuilt(tensor: Tensor) -> Tensor:
    """A copy of a sparse tensor, with its places checked."""
    *places, values = _parts(tensor)
    if tensor.layout is torch.sparse_coo:
        return torch.sparse_coo_tensor(places[0], values, tensor.shape, check_invariants=True)
    return torch.sparse_compressed_tensor(
        places[0], places[1], values, tensor.shape, layout=tensor.layout, check_invariants=True
    )
