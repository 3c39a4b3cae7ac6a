"""A trained network as a folder that `from_pretrained` of transformers reads."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.base.files import disk_error
from tombola.models.network import Network
from tombola.models.quiet import quiet

__all__ = ["save_network"]

ALIGNMENT = 64
"""Bytes; torch allocates memory at multiples of it."""


def save_network(network: Network, folder: Path, *, labels: Sequence[str] = ()) -> None:
    """Write weights, configuration and tokenizer, as `save_pretrained` does.

    Args:
        network: the network as it stands; its configuration gets the labels.
        folder: an existing folder for the files.
        labels: names of the classes in the order of their numbers, if the head has classes.

    Raises: OSError, if the disk refuses.
    """
    config, tokenizer = network.model.config, network.tokenizer
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    # or a tokenizer gives token types to a network that has none
    tokenizer.init_kwargs["model_input_names"] = list(tokenizer.model_input_names)
    for how_loaded in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(how_loaded, None)
    try:
        with quiet():
            network.model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        for path in folder.glob("*.safetensors"):
            _align(path)
    except Exception as error:
        if (refused := disk_error(error)) is not None:
            raise refused from None
        raise


def _align(path: Path) -> None:
    """Let the tensors of a safetensors file begin at multiples of ALIGNMENT, if their sizes do.

    The file is mapped into memory when it is loaded, and the last bits of a product depend on where
    a matrix begins there.
    """
    aligned = path.with_suffix(".aligned")
    with path.open("rb") as file, aligned.open("wb") as target:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.tell()
        about = {name: header.pop(name) for name in ("__metadata__",) if name in header}
        ordered = sorted(header.items(), key=lambda item: -_alignment(item[1]))
        text = json.dumps(about | _moved(ordered), separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % ALIGNMENT)
        target.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            begin, end = tensor["data_offsets"]
            file.seek(data + begin)
            target.write(file.read(end - begin))
    shutil.copymode(path, aligned)
    aligned.replace(path)


def _alignment(tensor: Mapping[str, Any]) -> int:
    """The largest power of two, up to ALIGNMENT, that divides the size of a tensor in bytes."""
    begin, end = tensor["data_offsets"]
    size = int(end - begin)
    return min(size & -size, ALIGNMENT)


def _moved(ordered: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The header of tensors in another order, one right after the other."""
    moved, place = {}, 0
    for name, tensor in ordered:
        begin, end = tensor["data_offsets"]
        moved[name] = {**tensor, "data_offsets": [place, place + end - begin]}
        place += end - begin
    return moved
