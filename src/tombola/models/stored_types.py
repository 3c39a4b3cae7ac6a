"""The types of the tensors in a model's files, checked before a network is loaded."""

from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from tombola.models.embedded import model_path
from tombola.models.files import check_quantisation, check_stored, weight_files

__all__ = ["check_files"]


def check_files(model: str) -> None:
    """Refuse quantised weights, in a folder or in the hub's files that are cached here.

    Raises: ModelError, naming the tensor or the field that shows it; or for a missing folder.
    """
    place = model_path(model)
    folder = Path(place) if Path(place).is_dir() else _snapshot(place)
    if folder is None:
        return
    check_quantisation(folder, model)
    for path in weight_files(folder):
        if path.suffix == ".bin":
            for name, tensor in _pickled(path).items():
                trained = tensor.is_floating_point() and tensor.element_size() > 1
                check_stored(model, name, tensor.ndim, str(tensor.dtype), trained)


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
