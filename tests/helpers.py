"""What tests of several rooms share."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tombola.base.specs import TrainSpec
from tombola.plan.plan import Subject
from tombola.tasks.task import Task
from tombola.ticket.format import sealed

Cli = Callable[..., tuple[int, str, str]]
"""The fixture `cli`: arguments of a command line -> exit status, stdout, stderr."""


def subject(task: Task, recipe: TrainSpec) -> Subject:
    """A thousand examples of a task, with no model and no data behind them."""
    return Subject(
        model="mini",
        fingerprint="0" * 64,
        task=task,
        recipe=recipe,
        data=task.name.ljust(64, "1"),
        examples=1000,
        folder=None,
    )


def reseal(folder: Path) -> None:
    """Give a ticket that a test has changed the checksums that belong to it."""
    place = folder / "ticket.json"
    document = json.loads(place.read_text())
    content = (folder / "mask.safetensors").read_bytes()
    if "mask.safetensors" in (document.get("files") or {}):
        document["files"]["mask.safetensors"] = sha256(content).hexdigest()
    text = json.dumps(document).encode()
    place.write_bytes(sealed(text) if "checksum" in document else text)
