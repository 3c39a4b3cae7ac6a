"""Subjects of experiments: networks and data by their fingerprints, with a cache of these.

A fingerprint covers every weight or row, so it is cached next to the results, under the size and
times of change of each file that it was computed from; a cached one needs no torch. Each entry has
a digest, so that one which was edited or cut off is computed again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tombola.base.errors import MissingSplitError, ModelError, OutputError
from tombola.base.files import read_plain_text, write_file
from tombola.base.specs import TrainSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS
from tombola.models.embedded import EMBEDDED, model_path
from tombola.plan.subject import Subject
from tombola.tasks.input_counts import SplitCounts
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import Task, check_recipe, on_hub

__all__ = ["SubjectFactory", "damaged_fingerprints", "forget_fingerprints"]

LIMIT = 1 << 28
"""Largest cache that is read, in bytes."""
CACHE = "fingerprints.json"
"""Name of the cache in the folder of the store."""

SHOWN = 5
"""Names that a note lists."""

EARLIER = {"units": HEADS_AND_NEURONS}
"""Name of a structure in the caches of earlier versions -> its name now."""


class SubjectFactory:
    """Makes subjects, with a cache of fingerprints in the folder of the store."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / CACHE
        self._known = {
            name: e for name, e in _read_cache(self.place).items() if _is_intact(name, e)
        }
        self._changed = False

    def subject(
        self, model: str, task: Task, recipe: TrainSpec, *, scope: str, folder: str | None
    ) -> Subject:
        """The subject of an experiment: the network, and the task with its data.

        Args:
            model: an embedded name, a folder, or a hub id.
            task: the task, with the split that is scored.
            recipe: how it is trained; in masked language modelling, the texts of a user are read in
                blocks.
            scope: the weights that may be pruned.
            folder: where the data are, a folder or `hub:OWNER/NAME`; None for the task's own.

        Raises: ModelError, DataError, if one of them can't be loaded; SpecError, if the recipe
            has knobs that mean nothing for the task.
        """
        place = _place(task, folder)
        if "blocks" in TASK_KINDS[task.kind].knobs and place is not None:
            recipe = replace(recipe, blocks=True)
        check_recipe(task, recipe)
        files, weights = list(_files(task, place)), _files_of(model)
        data = self._cached(("data", *_rows_of(task), place), files, lambda: _data(task, place))
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
            transposed=frozenset(about["transposed"]),
            left_out=about["left_out"],
            drawn_head=tuple(network["drawn_head"]),
            notes=(*data["notes"], *_notes(network, task, recipe, about["left_out"])),
        )
        return self.with_dev(made) if task.by_rule else made

    def _windows(
        self, model: str, task: Task, recipe: TrainSpec, place: str | None, files: list[list[Path]]
    ) -> int:
        """Number of windows or blocks in the training split; cached for these files, which have the
        data and the tokenizer."""
        cut = [recipe.max_length, recipe.stride, recipe.query_length, recipe.blocks]
        count: int = self._cached(
            ("examples", model, *_rows_of(task), place, cut),
            [file for each in files for file in each] if all(files) else [],
            lambda: _examples(model, task, recipe, place),
        )["examples"]
        return count

    def with_dev(self, subject: Subject) -> Subject:
        """The subject with the fingerprint of its dev split, if that has rows with labels."""
        task, place = subject.task, subject.folder
        found = self._cached(
            ("dev", task.identity, task.divided, place),
            _files(task, place),
            lambda: _dev(task, place),
        )
        return replace(subject, dev=found["fingerprint"])

    def scopes(self, model: str, task: Task, recipe: TrainSpec) -> tuple[str, ...]:
        """The scopes that a network with the head of a task has.

        Raises: ModelError, if it can't be loaded.
        """
        found = self._network(model, task, recipe, _files_of(model))
        return tuple(name for name, about in found["scopes"].items() if "error" not in about)

    def _network(
        self, model: str, task: Task, recipe: TrainSpec, files: Iterable[Path]
    ) -> dict[str, Any]:
        head = task.kind, len(task.labels), recipe.head
        found = self._cached(("traits-4", model, *head), files, lambda: _network(model, *head))
        if model in EMBEDDED:  # it comes with the package
            return found | {"fittings": "", "heads": 0}
        return found

    def save(self) -> None:
        """Write the cache, once the store exists."""
        if self._changed:
            with suppress(OutputError):  # a read-only store
                write_file(self.place, json.dumps(self._known, indent=1, sort_keys=True) + "\n")
            self._changed = False

    def _cached(
        self, what: Iterable[Any], files: Iterable[Path], compute: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What the cache has for unchanged files, or else what is computed now."""
        stamps = [(str(file), *_stamp(file)) for file in sorted(files)]
        if not stamps:  # a hub id, or no file at all
            return compute()
        name = hashlib.sha256(json.dumps([*what, stamps]).encode()).hexdigest()
        if name not in self._known:
            found = json.loads(json.dumps(compute(), sort_keys=True))  # as it will be read back
            self._known[name] = {"found": found, "digest": _digest(name, found)}
            self._changed = True
        kept: dict[str, Any] = self._known[name]["found"]
        return kept


def _stamp(file: Path) -> tuple[int, int, int]:
    """Size and times of change; the second time can't be set back."""
    about = file.stat()
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _read_cache(place: Path) -> dict[str, Any]:
    """The entries of the cache; none, if the file is missing or not a JSON object."""
    try:
        entries = json.loads(read_plain_text(place, LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _digest(name: str, found: Any) -> str:
    return hashlib.sha256(json.dumps([name, found], sort_keys=True).encode()).hexdigest()


def _is_intact(name: str, entry: Any) -> bool:
    """Whether an entry is as it was written."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("found"), dict)
        and entry.get("digest") == _digest(name, entry["found"])
    )


def damaged_fingerprints(folder: Path) -> list[str]:
    """Names of entries in the cache that have changed since they were written.

    Args:
        folder: the store's folder.
    """
    return sorted(
        name for name, e in _read_cache(folder / CACHE).items() if not _is_intact(name, e)
    )


def forget_fingerprints(folder: Path) -> None:
    """Take all fingerprints again the next time, because one of them was wrong.

    Args:
        folder: the store's folder.
    """
    with suppress(OSError):
        (folder / CACHE).unlink(missing_ok=True)


def _rows_of(task: Task) -> list[Any]:
    """What decides which rows a task has, apart from the place of its data."""
    return [task.identity, task.test_split, task.train_rows, task.divided, task.drop_bad_rows]


def _of_scope(network: dict[str, Any], scope: str) -> dict[str, Any]:
    """What is known of a scope of a network.

    Raises: ModelError, if the network doesn't have it.
    """
    about: dict[str, Any] = network["scopes"][scope]
    if "error" in about:
        raise ModelError(about["error"])
    return about


def _place(task: Task, folder: str | None) -> str | None:
    """Where the data are; for a data set of the hub, with its current revision."""
    place = folder or task.place
    if place is None or not on_hub(place):
        return place
    from tombola.tasks.data.hub import pinned

    return pinned(place)


def _files_of(model: str) -> list[Path]:
    """What is in the folder of a network, if it has one, without links to nothing."""
    return [path for path in Path(model_path(model)).glob("*") if path.exists()]


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
    """The fingerprint of the dev split; empty if there is none, or it has no labels."""
    from tombola.tasks.data.sources import data_fingerprint, read_split

    try:
        rows = read_split(task, "dev", place)
    except MissingSplitError:
        return {"fingerprint": ""}
    known = TASK_KINDS[task.kind].labels_known(rows, task)
    return {"fingerprint": data_fingerprint(rows) if known else ""}


def _examples(model: str, task: Task, recipe: TrainSpec, place: str | None) -> dict[str, Any]:
    """Number of windows or blocks in the training split."""
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
        "drawn_head": sorted(network.fresh if TASK_KINDS[kind].pretrained_head else ()),
        **traits(network),
    }


def _notes(
    network: dict[str, Any], task: Task, recipe: TrainSpec, left_out: dict[str, int]
) -> list[str]:
    """Notes on a network that a reader of the results needs."""
    notes = []
    if lacking := network["drawn_head"]:
        notes.append(
            f"The checkpoint has no pre-trained head for the kind {task.kind!r}, it lacks "
            f"{lacking[0]}: each seed draws one and trains it from scratch. Use a checkpoint that "
            "was saved with its head, if there is one."
        )
    elif network["replaced"]:
        notes.append(
            f"The checkpoint's own head ({', '.join(network['replaced'])}) is not used: each seed "
            "draws a fresh one. --head checkpoint keeps it."
        )
    elif recipe.head == "checkpoint" and not TASK_KINDS[task.kind].pretrained_head:
        notes.append("The head starts from the checkpoint's, the same for every seed.")
    if recipe.distill:
        notes.append(
            f"Networks under a mask learn from the dense one of the same seed, too: distill "
            f"{recipe.distill:g}, temperature {recipe.distill_temperature:g}. The dense network "
            "learns from labels alone."
        )
    if left_out:
        named = [f"{name} ({size:,})" for name, size in left_out.items()]
        rest = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        notes.append(
            f"The scope leaves out {sum(left_out.values()):,} weights of the blocks that have two "
            f"axes or more: {', '.join(named[:SHOWN])}{rest}."
        )
    return notes
