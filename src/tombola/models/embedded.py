"""The models that come with the package, and where a model's files are; no torch."""

import json
import os
from pathlib import Path

from tombola.base.errors import ModelError
from tombola.base.fields import StrPath
from tombola.base.registry import closest, unknown
from tombola.models.files import check_model_folder

__all__ = ["EMBEDDED", "about", "lasting_name", "model_path"]

EMBEDDED = {"mini": Path(__file__).parents[1] / "suite" / "mini"}
"""Name -> folder of the models that come with the package."""


def model_path(model: StrPath) -> str:
    """Where a model's files are: those of an embedded name, a folder, or a hub id as it is.

    Raises: ModelError, for a path without a model; SpecError, for a mistyped name.
    """
    model = os.fspath(model)
    if model in EMBEDDED:
        return str(EMBEDDED[model])
    if Path(model).is_dir():
        check_model_folder(Path(model), model)
        if not (Path(model) / "config.json").is_file():
            raise ModelError(
                f"expected a model folder with config.json, got {model!r} without one. Pass a "
                f"folder that save_pretrained() wrote, or an embedded model: {', '.join(EMBEDDED)}."
            )
        return model
    if Path(model).exists() or Path(model).is_absolute() or model.startswith("."):
        kind = "a file" if Path(model).exists() else "nothing"
        raise ModelError(
            f"expected a model folder, got {kind} at {model!r}. Pass the folder where it is now as "
            "--model."
        )
    if closest(model, EMBEDDED):
        raise unknown("model", model, EMBEDDED)
    return model


def lasting_name(model: str) -> str:
    """A network's name in a ticket: the absolute path of a folder, other names as they are."""
    folder = model not in EMBEDDED and Path(model).is_dir()
    return str(Path(model).resolve()) if folder else model


def about(model: str) -> tuple[str, str, str, str]:
    """Name, architecture, size and source of an embedded model, from its own files."""
    config = json.loads((EMBEDDED[model] / "config.json").read_text(encoding="utf-8"))
    kind = (
        f"{config['num_hidden_layers']} layers of {config['hidden_size']}, {config['model_type']}"
    )
    megabytes = (EMBEDDED[model] / "model.safetensors").stat().st_size / 1e6
    source = "MiniLM-L6, trimmed and adapted to masked language modelling"
    return model, kind, f"{megabytes:.0f} MB", source
