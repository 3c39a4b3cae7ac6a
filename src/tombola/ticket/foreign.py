"""Masks that others have made: from torch's pruning, from the paper's code, from zeros.

Three things are read, and nothing in them is ever run:

- a file that torch.save() wrote, with a tensor of zeros and ones for each weight;
- a state dict after torch.nn.utils.prune, whose `weight_mask` are the same;
- a checkpoint of weights (safetensors, or a folder that save_pretrained() wrote), whose zeros are
  dead.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tombola.errors import TicketError
from tombola.ticket.mask import Mask, Tensors

__all__ = ["Foreign", "read_foreign"]

MARK = "_mask"
"""What torch's pruning adds to the name of a weight to name its mask."""


@dataclass(frozen=True)
class Foreign:
    """Tensors that say which weights live, under names that somebody else gave them."""

    tensors: Tensors
    """Name of the weight, maybe with a prefix -> mask of zeros and ones, or the weight itself."""
    masks: bool
    """Whether they are masks, and not weights whose zeros are dead."""

    @property
    def scope(self) -> str:
        """The scope that they cover: with the pooler where that is masked, or has zeros."""
        for name, tensor in self.tensors.items():
            matrix = "pooler" in name.split(".") and tensor.ndim > 1
            if matrix and (self.masks or bool((tensor == 0).any())):
                return "encoder+pooler"
        return "encoder"

    def mask(self, parameters: Mapping[str, Tensor]) -> Mask:
        """The mask of a network's scope.

        A pooler outside of the scope is left out.

        Args:
            parameters: name relative to the backbone -> parameter.

        Raises: TicketError, if matrices are missing or have other shapes, if masks cover more
            than the scope or hold anything but 0 and 1, or if nothing is dead, or everything.
        """
        ours = self._renamed(parameters)
        if self.masks:
            for name, tensor in ours.items():
                _check_zeros_and_ones(name, tensor)
        alive = {name: tensor != 0 for name, tensor in ours.items()}
        mask = Mask({n: t for n, t in alive.items() if n in parameters or self._masks_more(n, t)})
        mask.check(parameters)
        if not 0 < mask.dead < mask.size:
            raise TicketError(
                f"expected dead and living weights, got {mask.dead} dead of {mask.size}. Import "
                f"the masks, or the weights after pruning."
            )
        return mask

    def _masks_more(self, name: str, alive: Tensor) -> bool:
        """Whether it is a mask outside of the scope that has something dead."""
        return self.masks and not name.startswith("pooler.") and not bool(alive.all())

    def _renamed(self, parameters: Mapping[str, Tensor]) -> Tensors:
        """The tensors without the one prefix that the network's names have in the file."""
        prefixes = {
            theirs.removesuffix(name)
            for theirs in self.tensors
            for name in parameters
            if _ends_with(theirs, name)
        }
        if len(prefixes) > 1:
            raise TicketError(
                f"expected one network, got several under the prefixes "
                f"{', '.join(map(repr, sorted(prefixes)))}. Keep the tensors of one."
            )
        prefix = prefixes.pop() if prefixes else ""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items()}


def read_foreign(path: Path) -> Foreign:
    """Read masks or a checkpoint; safetensors, or a pickle that holds tensors and nothing else.

    Raises: TicketError, if there is no such thing or it would run code.
    """
    tensors = _read(path)
    marked = {n.removesuffix(MARK): t for n, t in tensors.items() if n.endswith(MARK)}
    if marked:
        return Foreign(marked, masks=True)
    return Foreign(tensors, masks=path.is_file() and path.suffix != ".safetensors")


def _read(path: Path) -> Tensors:
    """Every tensor of a file, or of the files of a folder."""
    if path.is_dir():
        files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
        if not files:
            raise TicketError(
                f"expected *.safetensors or pytorch_model.bin in {path}, got neither. Name a "
                f"folder that save_pretrained() wrote, or a file."
            )
        return {name: tensor for file in files for name, tensor in _read(file).items()}
    if not path.exists():
        raise TicketError(f"expected masks or a checkpoint, got nothing at {path}. Check the path.")
    return _safetensors(path) if path.suffix == ".safetensors" else _pickle(path)


def _safetensors(path: Path) -> Tensors:
    try:
        tensors: Tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None
    return tensors


def _pickle(path: Path) -> Tensors:
    """Tensors that torch.save() wrote; whatever else a pickle asks for is refused."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower():
            raise _unreadable(path, ValueError("other bytes")) from None
        raise TicketError(
            f"expected tensors only in {path}, got a pickle that wants to run code. "
            f"Save the masks as a plain dict: torch.save({{name: tensor}}, file)."
        ) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(content, Mapping) or not content:
        raise TicketError(f"expected a dict of tensors in {path}, got {type(content).__name__}.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TicketError(
                f"expected a tensor for each name in {path}, got {type(tensor).__name__} for "
                f"{name!r}. Save the masks as a plain dict: torch.save({{name: tensor}}, file)."
            )
    return dict(content)


def _unreadable(path: Path, error: Exception) -> TicketError:
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return TicketError(
        f"expected safetensors or a file of torch.save() in {path}, got: {reason or 'nothing'}."
    )


def _check_zeros_and_ones(name: str, tensor: Tensor) -> None:
    odd = tensor[(tensor != 0) & (tensor != 1)]
    if odd.numel():
        raise TicketError(
            f"a mask holds 0 and 1, got {odd[0].item():.6g} in {name}. If these are weights and "
            f"their zeros are dead, save them as safetensors."
        )


def _ends_with(theirs: str, name: str) -> bool:
    return theirs == name or theirs.endswith(f".{name}")
