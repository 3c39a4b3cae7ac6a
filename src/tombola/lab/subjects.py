"""Names -> fingerprints: what a plan must know of a network and of a task's data.

A fingerprint covers every weight and every row, so it is kept beside the results, under the size
and time of change of each file that it was taken of; what is known needs no torch.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tombola.errors import OutputError
from tombola.lab.work import Subject
from tombola.specs import TrainSpec
from tombola.task.embedded import model_path
from tombola.task.tasks import Task
from tombola.ticket.folder import write_file

__all__ = ["Subjects"]


class Subjects:
    """Fingerprints of networks and data, kept in a file."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "fingerprints.json"
        try:
            self._known: dict[str, Any] = json.loads(self.place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}
        self._new = False

    def subject(
        self, model: str, task: Task, recipe: TrainSpec, *, scope: str, folder: str | None
    ) -> Subject:
        """The network and the task with its data.

        Raises: ModelError, DataError, if one of them can't be loaded.
        """
        data = self._once(
            ("data", task.name, task.version),
            (task.folder if folder is None else Path(folder)).glob("*"),
            lambda: _data(task, folder),
        )
        network = self._once(
            ("model", model), Path(model_path(model)).glob("*"), lambda: _network(model)
        )
        return Subject(
            model=model,
            fingerprint=network["fingerprint"],
            task=task,
            recipe=recipe,
            data=data["fingerprint"],
            examples=data["examples"],
            folder=folder,
            scope=scope,
        )

    def save(self) -> None:
        """Keep what was found out, once the store is there."""
        if self._new:
            with suppress(OutputError):  # a store that can only be read
                write_file(self.place, json.dumps(self._known, indent=1, sort_keys=True) + "\n")
            self._new = False

    def _once(
        self, what: Iterable[Any], files: Iterable[Path], find_out: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What is known of files that have not changed since, or what is found out now."""
        stamps = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(files)]
        if not stamps:  # a hub id, or nothing at all
            return find_out()
        name = hashlib.sha256(json.dumps([*what, stamps]).encode()).hexdigest()
        if name not in self._known:
            self._known[name] = find_out()
            self._new = True
        found: dict[str, Any] = self._known[name]
        return found


def _data(task: Task, folder: str | None) -> dict[str, Any]:
    from tombola.task.data import data_fingerprint, read_split

    place = None if folder is None else Path(folder)
    train, test = (read_split(task, split, place) for split in ("train", task.test_split))
    return {"fingerprint": data_fingerprint(train, test), "examples": len(train)}


def _network(model: str) -> dict[str, Any]:
    from tombola.task.models import load_backbone
    from tombola.ticket.ticket import fingerprint

    return {"fingerprint": fingerprint(load_backbone(model))}
