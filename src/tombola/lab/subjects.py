"""Names -> fingerprints: what a plan must know of a network and of a task's data.

A fingerprint covers every weight and every row, so it is kept next to the results, under the size
and times of change of each file that it was taken of; what is known needs no torch. Each entry has
a digest, so that one which was edited or cut off is found out again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tombola.base.errors import DataError, ModelError, OutputError
from tombola.base.files import read_plain_text, write_file
from tombola.base.specs import TrainSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS
from tombola.models.embedded import EMBEDDED, model_path
from tombola.plan.job import Subject
from tombola.tasks.input_counts import SplitCounts
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import Task, check_recipe, on_hub

__all__ = ["Subjects", "damaged_fingerprints", "forget_fingerprints"]

LIMIT = 1 << 28
"""Bytes of that file."""
KEPT = "fingerprints.json"
"""The file next to the results."""

SHOWN = 5
"""Names that a note tells."""


EARLIER = {"units": HEADS_AND_NEURONS}
"""What a structure is called in what earlier versions have cached."""


class Subjects:
    """Fingerprints of networks and data, kept in a file."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / KEPT
        self._known = {name: e for name, e in _entries(self.place).items() if _whole(name, e)}
        self._new = False

    def subject(
        self, model: str, task: Task, recipe: TrainSpec, *, scope: str, folder: str | None
    ) -> Subject:
        """The network and the task with its data.

        Args:
            model: an embedded name, a folder, or a hub id.
            task: with the split that is scored.
            recipe: how it is trained; texts of the user's own are read in blocks in masked
                language modelling.
            scope: the weights that may be pruned.
            folder: where the data are: a folder, or `hub:OWNER/NAME`; the task's own if None.

        Raises: ModelError, DataError, if one of them can't be loaded; SpecError, if the recipe
            has knobs that mean nothing for the task.
        """
        place = _place(task, folder)
        if "blocks" in TASK_KINDS[task.kind].knobs and place is not None:
            recipe = replace(recipe, blocks=True)
        check_recipe(task, recipe)
        files, weights = list(_files(task, place)), list(Path(model_path(model)).glob("*"))
        data = self._once(("data", *_rows_of(task), place), files, lambda: _data(task, place))
        network = self._network(model, task, recipe, weights)
        about = _of_scope(network, scope)
        examples = data["examples"]
        if recipe.stride or recipe.blocks:
            examples = self._windows(model, task, recipe, place, [files, weights])
        made = Subject(
            model=model,
            fingerprint=network["fingerprint"],
            config_digest=network["fittings"],
            task=task,
            recipe=recipe,
            data=data["fingerprint"],
            examples=examples,
            folder=place,
            scope=scope,
            counts={split: SplitCounts(**counts) for split, counts in data["counts"].items()},
            matrices=network["matrices"],
            heads=network["heads"],
            refused={EARLIER.get(what, what): why for what, why in about["refused"].items()},
            left_out=about["left_out"],
            notes=(*data["notes"], *_notes(network, task, recipe.head, about["left_out"])),
        )
        return self.with_dev(made) if task.by_rule else made

    def _windows(
        self, model: str, task: Task, recipe: TrainSpec, place: str | None, files: list[list[Path]]
    ) -> int:
        """How many windows or blocks the training split makes, whose data and tokenizer are in
        those files."""
        cut = [recipe.max_length, recipe.stride, recipe.query_length, recipe.blocks]
        count: int = self._once(
            ("examples", model, *_rows_of(task), place, cut),
            [file for each in files for file in each] if all(files) else [],
            lambda: _examples(model, task, recipe, place),
        )["examples"]
        return count

    def with_dev(self, subject: Subject) -> Subject:
        """The same, with the fingerprint of the dev split's rows if there are any with labels."""
        task, place = subject.task, subject.folder
        found = self._once(
            ("dev", task.identity, task.divided, place),
            _files(task, place),
            lambda: _dev(task, place),
        )
        return replace(subject, dev=found["fingerprint"])

    def scopes(self, model: str, task: Task, recipe: TrainSpec) -> tuple[str, ...]:
        """The scopes that a network has under the head of a task.

        Raises: ModelError, if it can't be loaded.
        """
        found = self._network(model, task, recipe, Path(model_path(model)).glob("*"))
        return tuple(name for name, about in found["scopes"].items() if "error" not in about)

    def _network(
        self, model: str, task: Task, recipe: TrainSpec, files: Iterable[Path]
    ) -> dict[str, Any]:
        head = task.kind, len(task.labels), recipe.head
        found = self._once(("traits", model, *head), files, lambda: _network(model, *head))
        if model in EMBEDDED:  # which comes with the package as it is
            return found | {"fittings": "", "heads": 0}
        return found

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
        stamps = [(str(file), *_stamp(file)) for file in sorted(files)]
        if not stamps:  # a hub id, or nothing at all
            return find_out()
        name = hashlib.sha256(json.dumps([*what, stamps]).encode()).hexdigest()
        if name not in self._known:
            found = json.loads(json.dumps(find_out(), sort_keys=True))  # as it is read again
            self._known[name] = {"found": found, "digest": _digest(name, found)}
            self._new = True
        kept: dict[str, Any] = self._known[name]["found"]
        return kept


def _stamp(file: Path) -> tuple[int, int, int]:
    """Size and times of change; nobody can set the second time back."""
    about = file.stat()
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _entries(place: Path) -> dict[str, Any]:
    """What stands in the file; nothing, if it is missing or is not a JSON object."""
    try:
        entries = json.loads(read_plain_text(place, LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _digest(name: str, found: Any) -> str:
    return hashlib.sha256(json.dumps([name, found], sort_keys=True).encode()).hexdigest()


def _whole(name: str, entry: Any) -> bool:
    """Whether an entry is as it was written."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("found"), dict)
        and entry.get("digest") == _digest(name, entry["found"])
    )


def damaged_fingerprints(folder: Path) -> list[str]:
    """Names of kept fingerprints that are not as they were written; they are taken again.

    Args:
        folder: of the store.
    """
    return sorted(name for name, e in _entries(folder / KEPT).items() if not _whole(name, e))


def forget_fingerprints(folder: Path) -> None:
    """Take all fingerprints again the next time, because one of them was wrong.

    Args:
        folder: of the store.
    """
    with suppress(OSError):
        (folder / KEPT).unlink(missing_ok=True)


def _rows_of(task: Task) -> list[Any]:
    """What decides which rows a task has, besides where they are."""
    return [task.identity, task.test_split, task.train_rows, task.divided, task.drop_bad_rows]


def _of_scope(network: dict[str, Any], scope: str) -> dict[str, Any]:
    """What is known of a scope; ModelError, if the network has none of that name."""
    about: dict[str, Any] = network["scopes"][scope]
    if "error" in about:
        raise ModelError(about["error"])
    return about


def _place(task: Task, folder: str | None) -> str | None:
    """Where the data are; of the hub, the revision that it has now."""
    place = folder or task.place
    if place is None or not on_hub(place):
        return place
    from tombola.tasks.data.hub import pinned

    return pinned(place)


def _files(task: Task, place: str | None) -> Iterable[Path]:
    """The files that the data are in; none for a data set of the hub."""
    if on_hub(place):
        return ()
    folder = task.folder if place is None else Path(place)
    if folder.is_file():
        return (folder,)
    return (path for path in folder.rglob("*") if path.is_file())


def _data(task: Task, place: str | None) -> dict[str, Any]:
    from tombola.tasks.data.sources import read_facts

    return read_facts(task, place).to_json()


def _dev(task: Task, place: str | None) -> dict[str, Any]:
    """The fingerprint of the dev split; empty if nothing can be scored on it."""
    from tombola.tasks.data.sources import data_fingerprint, read_split

    try:
        rows = read_split(task, "dev", place)
    except DataError:
        return {"fingerprint": ""}
    known = TASK_KINDS[task.kind].labels_known(rows, task)
    return {"fingerprint": data_fingerprint(rows) if known else ""}


def _examples(model: str, task: Task, recipe: TrainSpec, place: str | None) -> dict[str, Any]:
    """How many windows or blocks the training split makes."""
    from tombola.models.network import load_tokenizer
    from tombola.tasks.data.encode import encode_split
    from tombola.tasks.data.sources import read_split

    rows = read_split(task, "train", place)
    return {"examples": len(encode_split(rows, task, load_tokenizer(model), recipe))}


def _network(model: str, kind: str, classes: int, head: str) -> dict[str, Any]:
    from tombola.models.traits import traits
    from tombola.tasks.networks import load_network

    network = load_network(model, kind, classes, head=head)
    return {
        "fingerprint": network.fingerprint,
        "fittings": network.config_digest,
        "replaced": sorted(network.replaced),
        **traits(network),
    }


def _notes(network: dict[str, Any], task: Task, head: str, left_out: dict[str, int]) -> list[str]:
    """What a reader of the results must know of a network."""
    notes = []
    if network["replaced"]:
        notes.append(
            f"The checkpoint's own head ({', '.join(network['replaced'])}) is not used: each seed "
            "draws a fresh one. --head checkpoint keeps it."
        )
    elif head == "checkpoint" and not TASK_KINDS[task.kind].pretrained_head:
        notes.append("The head starts from the checkpoint's, the same for every seed.")
    if left_out:
        named = [f"{name} ({size:,})" for name, size in left_out.items()]
        rest = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        notes.append(
            f"The scope leaves out {sum(left_out.values()):,} weights of the blocks that have two "
            f"axes or more: {', '.join(named[:SHOWN])}{rest}."
        )
    return notes
