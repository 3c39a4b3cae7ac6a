"""Masks of other programs: torch's pruning, the paper's code, or the zeros of a checkpoint.

Three things are read, and nothing in them is ever run:

- a file that torch.save() wrote, with a tensor of zeros and ones for each weight, or a sparse one,
  whose pattern is the mask; alone or in a checkpoint of a training;
- a state dict after torch.nn.utils.prune, whose `weight_mask` tensors are masks;
- a checkpoint of weights (a file, or a folder that save_pretrained() wrote), whose zeros are
  pruned.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from tombola.base.errors import TicketError
from tombola.base.text import printable
from tombola.ticket.format import JSON_NAME
from tombola.ticket.imported.masks import Imported
from tombola.ticket.imported.torch_file import (
    MARKS,
    check_plain,
    read_torch_file,
    start_of,
    unreadable,
)
from tombola.ticket.mask import Tensors

__all__ = ["read_imported"]

MASKED = ("", "_orig", ".weight", ".weight_orig")
"""What the name of the weight adds to that of its mask without the mark."""


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
    weights = _are_weights(tensor for name, tensor in tensors.items() if not name.endswith(MARKS))
    if weights:  # among them, the mask of anything else is a buffer, such as an attention mask
        marked = {n: t for n, t in marked.items() if any(f"{n}{end}" in tensors for end in MASKED)}
    if marked:
        return Imported(marked, masks=True)
    return Imported(tensors, masks=not weights)


def _are_weights(tensors: Iterable[Tensor]) -> bool:
    """Whether a matrix of floats among them has values other than 0 and 1."""
    return any(
        bool(((each != 0) & (each != 1)).any())
        for each in tensors
        if each.ndim > 1 and each.layout is torch.strided and each.is_floating_point()
    )


def _read(path: Path) -> Tensors:
    """Every tensor of a file, or of the files of a folder."""
    if path.is_dir():
        if (path / JSON_NAME).is_file():
            raise TicketError(
                f"expected masks or a checkpoint in {printable(path)}, got a ticket. Use it "
                f"as it is: tombola evaluate {printable(path)}"
            )
        files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
        if not files:
            raise TicketError(
                f"expected *.safetensors or pytorch_model.bin in {printable(path)}, got neither. "
                "Pass a folder that save_pretrained() wrote, or a file."
            )
        return {name: tensor for file in files for name, tensor in _read(file).items()}
    if not path.is_file():
        came = "something that isn't a file" if path.exists() else "nothing"
        raise TicketError(
            f"expected masks or a checkpoint, got {came} at {printable(path)}. Check the path."
        )
    return _safetensors(path) if _is_safetensors(path) else read_torch_file(path)


def _is_safetensors(path: Path) -> bool:
    """Whether a file is named like safetensors, or begins like it."""
    return path.suffix == ".safetensors" or start_of(path)[8:10] == b'{"'


def _safetensors(path: Path) -> Tensors:
    try:
        tensors: Tensors = load_file(path)
    except Exception as error:  # of the library, about bytes that may be anything
        raise unreadable(path, error) from None
    check_plain(tensors, path)
    return tensors
