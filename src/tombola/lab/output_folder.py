"""The folder that `--output` names: it holds the files of one experiment."""

import json
from pathlib import Path
from typing import Any

from tombola.base.errors import OutputError, brief
from tombola.base.files import read_plain_text, write_file
from tombola.base.folders import check_folder

__all__ = ["Output"]


LIMIT = 1 << 24
"""Largest experiment.json that is read, in bytes."""


class Output:
    """A folder that belongs to one experiment, which may write it again."""

    def __init__(self, folder: Path, description: dict[str, Any]) -> None:
        self.folder = folder
        self._description: dict[str, Any] = json.loads(json.dumps(description))
        place = folder / "experiment.json"
        if place.is_file():
            found = _read(place)
            if found != self._description:
                raise OutputError(
                    f"{str(folder)!r} holds another experiment: "
                    f"{_difference(found, self._description)}. Use another --output, or leave it "
                    "out."
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(
                f"{str(folder)!r} holds something else. Pass an empty or new folder as --output."
            )
        check_folder(folder)

    def open(self) -> Path:
        """The folder, with an experiment.json that says which experiment it belongs to."""
        text = json.dumps(self._description, indent=1, sort_keys=True) + "\n"
        write_file(self.folder / "experiment.json", text)
        return self.folder


def _read(place: Path) -> dict[str, Any]:
    """The content of an experiment.json."""
    try:
        found = json.loads(read_plain_text(place, LIMIT))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise OutputError(
            f"expected an experiment in {str(place)!r}, got no JSON object. Use another --output, "
            "or leave it out."
        )
    return found


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first knob in which two experiments differ; one that is missing has its default."""
    for name in dict.fromkeys([*wanted, *found]):
        ours, theirs = found.get(name), wanted.get(name)
        if isinstance(ours, dict) and isinstance(theirs, dict) and ours != theirs:
            return _difference(ours, theirs)
        if ours != theirs:
            said = ["the default" if value is None else brief(value) for value in (ours, theirs)]
            return f"its {name} is {said[0]}, asked for {said[1]}"
    return "no difference"
