"""What stands in a model's folder, before anything is loaded of it; standard library only."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tombola.errors import ModelError

__all__ = ["check_folder", "config_of", "stored", "weight_files"]

LFS = b"version https://git-lfs.github.com"
LARGEST_HEADER = 100_000_000
"""Bytes that safetensors allows for its header."""

QUANTISED_TYPES = ("I8", "U8", "I16", "U16", "I32", "U32", "F4", "F6", "F8")
"""How types begin, in a header of safetensors, that no trained matrix has."""

PACKED = ("qweight", "qzeros", "scales", "absmax", "weight_scale", "weight_packed", "SCB")
"""Last parts of names that only quantised checkpoints have."""


def check_folder(folder: Path, model: str) -> None:
    """Refuse a folder whose files are not a network's weights as they were trained.

    Args:
        folder: exists.
        model: what the user called it.

    Raises: ModelError, for pointers of git-LFS, adapters, and quantised weights.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(LFS):
            raise ModelError(
                f"expected the file {path.name} in {model!r}, got a pointer of git-LFS to it. "
                f"Fetch the file itself: `git lfs pull` in that folder."
            )
    adapters = [*folder.glob("adapter_config.json"), *folder.glob("adapter_model*")]
    if adapters:
        raise ModelError(
            f"expected a whole network in {model!r}, got an adapter, such as LoRA's "
            f"({adapters[0].name}). Merge it into its base with peft's merge_and_unload(), and "
            f"save that with save_pretrained(); or name a folder of the base alone."
        )
    if (folder / "config.json").is_file():
        _check_quantisation(folder, model)


def _check_quantisation(folder: Path, model: str) -> None:
    how = config_of(folder).get("quantization_config")
    if how:
        method = how.get("quant_method", "some method") if isinstance(how, Mapping) else how
        raise _quantised(model, f"quantization_config of {str(method)[:40]!r} in config.json")
    for name, (dtype, shape) in stored(folder).items():
        matrix = name.endswith("weight") and len(shape) > 1
        if (matrix and dtype.startswith(QUANTISED_TYPES)) or name.rpartition(".")[2] in PACKED:
            raise _quantised(model, f"{name} of type {dtype}")


def _quantised(model: str, came: str) -> ModelError:
    return ModelError(
        f"expected weights in floating point in {model!r}, got quantised ones: {came}. Name the "
        f"checkpoint before it was quantised."
    )


def config_of(folder: Path) -> dict[str, Any]:
    """What config.json says; nothing, if it can't be read, which is told when it is loaded."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers takes the weights from, those of safetensors before others."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{whole}.index.json"
        if (folder / whole).is_file():
            return [folder / whole]
        if index.is_file():
            return [folder / name for name in _parts(index) if (folder / name).is_file()]
    return []


def _parts(index: Path) -> list[str]:
    """The files that an index names, each by its plain name."""
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({name for name in names if Path(name).name == name})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def stored(folder: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> type and shape of each tensor in safetensors files; empty for other files."""
    return {name: what for path in weight_files(folder) for name, what in _header(path)}


def _header(path: Path) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    """The tensors that a safetensors file says it holds; none, if it is no such file."""
    if path.suffix != ".safetensors":
        return
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= LARGEST_HEADER else {}
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, (str(tensor["dtype"]), tuple(tensor["shape"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
