"""Checks of a model's folder before anything is loaded; standard library only."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tombola.base.errors import ModelError
from tombola.base.files import open_plain, read_plain_text
from tombola.models.checks.claims import check_claims

__all__ = [
    "check_model_folder",
    "check_quantisation",
    "check_stored",
    "config_of",
    "stored",
    "weight_files",
]

LFS = b"version https://git-lfs.github.com"
WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Names of a file of all weights, in the order in which transformers looks for them."""

TEXTS = (".json", ".txt", ".model", ".jinja")
"""Ends of names of configurations and vocabularies."""

LARGEST_TEXT = 100_000_000
"""Bytes of the largest of them."""

READ = (*TEXTS, ".safetensors", ".bin")
"""Ends of names of files that a network or its tokenizer is read from."""

LARGEST_CONFIG = 64_000_000
"""Bytes of config.json, and of the index of the weights' files."""

LARGEST_HEADER = 100_000_000
"""Bytes that safetensors allows for its header."""

FLOATS = ("F16", "BF16", "F32", "F64")
"""The types of a trained matrix, as safetensors calls them."""

PACKED = ("qweight", "qzeros", "scales", "absmax", "weight_scale", "weight_packed", "SCB")
"""Last parts of names that only quantised checkpoints have."""


def check_model_folder(folder: Path, model: str) -> None:
    """Refuse a folder whose files are not a network's weights as they were trained.

    Args:
        folder: exists.
        model: what the user called it.

    Raises: ModelError, for pointers of git-LFS, adapters, quantised weights, and files that can't
        be read.
    """
    try:
        _check_files(folder, model)
    except OSError as error:
        name = Path(error.filename or folder).name
        raise ModelError(
            f"expected files that can be read in {model!r}, got {name!r}: {error.strerror}. Fetch "
            "it again, or change its permissions."
        ) from None


def _check_files(folder: Path, model: str) -> None:
    """The checks; OSError, for a file that can't be read."""
    for path in sorted(folder.iterdir()):
        _check_plain(path, model)
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
            "save that with save_pretrained(); or use a folder of the base alone."
        )
    if (folder / "config.json").is_file():
        check_claims(config_of(folder), model)
        _check_parts(folder, model)
        check_quantisation(folder, model)


def _check_plain(path: Path, model: str) -> None:
    """Refuse what a program would wait for, and descriptions that are far too long.

    Raises: ModelError; OSError, for a link to nothing where a file is read from.
    """
    if path.suffix not in READ and not path.exists():
        return
    size = path.stat().st_size
    if not (path.is_file() or path.is_dir()):
        raise ModelError(
            f"expected files in {model!r}, got {path.name!r}, which is a named pipe or a device. "
            f"Remove it."
        )
    if path.suffix in TEXTS and size > LARGEST_TEXT:
        raise ModelError(
            f"expected at most {LARGEST_TEXT:,} bytes of {path.name!r} in {model!r}, got {size:,}. "
            f"Fetch the file again."
        )


def _check_parts(folder: Path, model: str) -> None:
    """Refuse an index that can't be read, or names a file that isn't next to it."""
    index = _index(folder)
    if index is None:
        return
    names = _named_in(index)
    if not names:
        raise ModelError(
            f"expected the files of the weights of {model!r} in {index.name}, got no weight_map "
            f"in it. Fetch the file again."
        )
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelError(
                f"expected the file {name[:200]!r}, which {index.name} names, in {model!r}, got "
                f"none there. Fetch all files of the weights into that folder."
            )


def check_quantisation(folder: Path, model: str) -> None:
    """Refuse a configuration or safetensors files of a quantised network.

    Raises: ModelError, naming the tensor.
    """
    how = config_of(folder).get("quantization_config")
    if how is not None:
        method = how.get("quant_method", "some method") if isinstance(how, Mapping) else how
        raise _quantised(model, f"quantization_config of {str(method)[:40]!r} in config.json")
    for name, (dtype, shape) in stored(folder).items():
        check_stored(model, name, len(shape), dtype, dtype in FLOATS)


def check_stored(model: str, name: str, axes: int, dtype: str, trained: bool) -> None:
    """Refuse a tensor that is not a matrix as it was trained.

    Args:
        model: what the user called it.
        name: the name of the tensor.
        axes: how many axes it has.
        dtype: what its type is called.
        trained: whether a trained matrix may be of that type.

    Raises: ModelError, if it is one of a quantised network.
    """
    matrix = name.endswith("weight") and axes > 1
    if (matrix and not trained) or name.rpartition(".")[2] in PACKED:
        raise _quantised(model, f"{name} of type {dtype}")


def _quantised(model: str, found: str) -> ModelError:
    return ModelError(
        f"expected weights in floating point in {model!r}, got quantised ones: {found}. Use the "
        "checkpoint from before quantisation."
    )


def config_of(folder: Path) -> dict[str, Any]:
    """The fields of config.json; none if it can't be read, which loading reports."""
    try:
        found = json.loads(read_plain_text(folder / "config.json", LARGEST_CONFIG))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers takes the weights from, those of safetensors before others."""
    if (index := _index(folder)) is not None:
        names = [name for name in _named_in(index) if Path(name).name == name]
        return [folder / name for name in names if (folder / name).is_file()]
    return [folder / whole for whole in WHOLE if (folder / whole).is_file()][:1]


def _index(folder: Path) -> Path | None:
    """The index that the weights are found by; None, where a file before it holds them all."""
    for whole in WHOLE:
        index = folder / f"{whole}.index.json"
        if (folder / whole).is_file():
            return None
        if index.is_file():
            return index
    return None


def _named_in(index: Path) -> list[str]:
    """The files that an index names."""
    try:
        names = json.loads(read_plain_text(index, LARGEST_CONFIG))["weight_map"].values()
        return sorted({name for name in names if isinstance(name, str)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def stored(folder: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> type and shape of each tensor in safetensors files; empty for other files."""
    return {name: what for path in weight_files(folder) for name, what in _header(path)}


def _header(path: Path) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    """The tensors that the header of a safetensors file names; none for other files."""
    if path.suffix != ".safetensors":
        return
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= LARGEST_HEADER else {}
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, (str(tensor["dtype"]), tuple(tensor["shape"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
