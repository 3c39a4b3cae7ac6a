"""The types of the tensors in a model's files, checked before a network is loaded."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from tombola.base.errors import ModelError
from tombola.models.embedded import model_path
from tombola.models.files import check_quantisation, check_stored, stored, weight_files
from tombola.ticket.imported.pickle_scan import UnsafePickleError, check_pickle

__all__ = ["check_files", "files_of", "most_weights"]

HALF = 2
"""Bytes of a value in half precision."""


def check_files(model: str) -> None:
    """Refuse quantised weights, in a folder or in the hub's files that are cached here.

    Raises: ModelError, naming the tensor or the field that shows it; or for a missing folder.
    """
    folder = files_of(model)
    if folder is None:
        return
    check_quantisation(folder, model)
    for path in weight_files(folder):
        if path.suffix == ".bin":
            _check_pickle(path, model)
            for name, tensor in _pickled(path).items():
                trained = tensor.is_floating_point() and tensor.element_size() > 1
                check_stored(model, name, tensor.ndim, str(tensor.dtype), trained)


def files_of(model: str) -> Path | None:
    """The folder with a model's files; None if those of the hub are not here yet.

    Raises: ModelError, for a missing folder.
    """
    place = model_path(model)
    return Path(place) if Path(place).is_dir() else _snapshot(place)


def most_weights(model: str) -> int | None:
    """How many weights a model has at most, by its files; None, if they are not here.

    Raises: ModelError, for a missing folder.
    """
    folder = files_of(model)
    files = weight_files(folder) if folder else []
    if not folder or not files:
        return None
    if shapes := [shape for _, shape in stored(folder).values()]:
        return sum(map(prod, shapes))
    return sum(path.stat().st_size for path in files) // HALF


def _check_pickle(path: Path, model: str) -> None:
    try:
        check_pickle(path)
    except UnsafePickleError as error:
        raise ModelError(
            f"expected tensors and nothing else in {path.name} of {model!r}, got {error}; none of "
            "it was run. Use a model with weights in safetensors."
        ) from None
    except Exception:  # loading raises it again, with the reason
        return


def _snapshot(model: str) -> Path | None:
    """The folder of the hub's cache with a model's files; None if nothing is cached."""
    found = try_to_load_from_cache(model, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def _pickled(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a file of torch.save(), without their values; none, if it can't be read."""
    try:
        content = torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # loading raises it again, with the reason
        return {}
    found = content.items() if isinstance(content, Mapping) else ()
    return {name: tensor for name, tensor in found if isinstance(tensor, torch.Tensor)}
