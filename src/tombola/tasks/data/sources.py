"""The sources of a task's rows: one interface over the layouts that data are published in."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tombola.base.errors import DataError, MissingSplitError
from tombola.tasks.data.files import DataFiles, find_folder, labelled_files
from tombola.tasks.data.glue_tsv import GlueTsv, MsrParaphrase
from tombola.tasks.data.hub import Hub
from tombola.tasks.data.row_checks import Checked, check_rows, wanted_columns
from tombola.tasks.data.rows import FileRows, Rows, listed
from tombola.tasks.data.splits import half, share
from tombola.tasks.data.squad import SquadJson, is_squad
from tombola.tasks.input_counts import SplitCounts
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import DIVIDED, Task, on_hub

__all__ = [
    "DataFacts",
    "DataSource",
    "Reading",
    "data_fingerprint",
    "data_folder",
    "open_source",
    "read",
    "read_facts",
    "read_split",
    "split_sizes",
]

HELD_OUT_SPELLINGS = ("test", "dev", "validation", "valid", "val")


class DataSource(Protocol):
    """Data in some layout."""

    notes: list[str]
    """What readers of the results must know about how they were read."""

    def splits(self) -> list[str]:
        """Names of the splits that there are."""

    def parts(self, split: str, wanted: Sequence[str], limit: int) -> Iterator[FileRows]:
        """The rows of each file of a split with the columns that are wanted, in order.

        Where `limit` is not 0, files that are not needed for that many rows may be left out.
        """


def open_source(task: Task, place: str | Path | None = None) -> DataSource:
    """The data of a task.

    Args:
        task: decides which layouts are looked for.
        place: a folder, a file, or `hub:OWNER/NAME`; the package's own data, or the task's, if
            None.

    Raises: DataError, if there are no data.
    """
    place = place or task.place or (task.folder if task.embedded else None)
    if place is None:
        raise DataError(
            f"task {task.name!r} names no data, and none were given. Pass their folder as --data, "
            "or set `data` in the task's file."
        )
    if on_hub(place):
        return Hub(str(place))
    folder = data_folder(task, Path(place))
    if is_squad(folder):
        return SquadJson(folder)
    if task.tsv and MsrParaphrase.is_in(folder):
        return MsrParaphrase(folder, task.tsv)
    if task.tsv and any(folder.glob("*.tsv")):
        return GlueTsv(folder, task.tsv)
    files = labelled_files(folder) if TASK_KINDS[task.kind].labelled else DataFiles(folder)
    if not files.splits():
        if scripts := sorted(path.name for path in folder.glob("*.py")):
            raise DataError(
                f"{str(folder)!r} has no data files but {scripts[0]}, a script, which would run "
                "foreign code: refused. Save its data as parquet."
            )
        raise DataError(
            f"expected parquet, arrow, JSON, CSV or text files in {str(folder)!r}, found no data "
            "files. Check the path."
        )
    return files


def data_folder(task: Task, place: Path) -> Path:
    """The folder with a task's files: the one that is named, or the task's own in it."""
    names = {task.name, task.name.split("/")[-1]}
    return find_folder(place, *names, *task.hub.split("/")[2:])


@dataclass
class Reading:
    """The rows of a split with the task's columns, and notes on how they were read."""

    rows: Rows
    notes: list[str]
    dropped: Mapping[str, int]
    """Column -> rows that were left out because of its value."""


def read_split(task: Task, split: str, place: str | Path | None = None) -> Rows:
    """The rows of a split, see `read`."""
    return read(task, split, place).rows


def read(task: Task, split: str, place: str | Path | None = None) -> Reading:
    """The rows of a split, with the task's columns.

    Args:
        task: which columns there must be, which split stands for dev and test, and whether rows
            that it can't use are dropped.
        split: train, dev, test, validation (the whole development set), or one of the source's.
        place: see `open_source`.

    Raises: MissingSplitError, if there is no such split; DataError, if files or columns are
        missing, there are no rows, or one can't be used.
    """
    source = open_source(task, place)
    there = source.splits()
    names, shared = _names(task, split, there, place)
    found = [
        check_rows(
            source.parts(name, wanted_columns(task), limit := _limit(task, name)), task, name, limit
        )
        for name in names
    ]
    rows = [row for each in found for row in each.rows]
    dropped: Counter[str] = sum((each.dropped for each in found), Counter())
    notes = [note for each in found for note in each.notes] + source.notes
    notes += _dropped(dropped, len(rows), names) + _spelled_alike(found, task)
    if task.divided and split in DIVIDED:
        rows = [row for row in rows if half(row, task) == split]
    elif shared:
        rows, note = share(rows, split if split in ("train", "test") else "dev", task)
        notes.append(note)
    if not rows:
        raise DataError(
            f"the {split} split of task {task.name!r} has no "
            f"rows{f' left: all {sum(dropped.values()):,} were dropped' if dropped else ''}. Check "
            f"its files{', or use another --eval-split' if split != 'train' else ''}."
        )
    return Reading(rows, list(dict.fromkeys(notes)), dict(dropped))


def _limit(task: Task, split: str) -> int:
    return task.train_rows if split == "train" else 0


def _names(
    task: Task, split: str, there: list[str], place: str | Path | None
) -> tuple[list[str], bool]:
    """The splits of a source that the rows of a split come from, and whether they are shared out.

    A source without a test split is: all of its texts in masked language modelling, and the only
    split of a user's own task, unless that is held out by its name.
    """
    if split in ("train", "test", *HELD_OUT_SPELLINGS) and not task.divided:
        if not TASK_KINDS[task.kind].labelled and _spelled("test", there) is None:
            return (["train"] if "train" in there else there), True
        own = len(task.identity) > 2  # the catalog's are named by name and version
        if own and len(there) == 1 and there[0].split("_")[0] not in HELD_OUT_SPELLINGS:
            return there, True
    wanted = task.divided if task.divided and split in (*DIVIDED, "validation") else split
    if (found := _spelled(wanted, there)) is None:
        raise MissingSplitError(_no_split(task, split, wanted, there, place))
    return [found], False


def _spelled(split: str, there: Iterable[str]) -> str | None:
    """A split under the name that the source gives it: dev, validation, valid and val are one."""
    first, _, rest = split.partition("_")
    names = ("validation", "dev", "valid", "val")
    spellings = [split, *("_".join(filter(None, (name, rest))) for name in names)]
    known = set(there)
    return next((s for s in spellings[: None if first in names else 1] if s in known), None)


def _no_split(
    task: Task, split: str, wanted: str, there: Iterable[str], place: str | Path | None
) -> str:
    needed = f" for the {split} split" if wanted != split else ""
    where = str(place or task.place or task.folder)
    way_on = (
        "Call one of them train, or pass one file for all splits."
        if split == "train"
        else "Add it, or use another --eval-split."
    )
    return (
        f"task {task.name!r} needs the split {wanted!r}{needed} in {where!r}, found "
        f"{', '.join(there)}. {way_on}"
    )


def _dropped(dropped: Mapping[str, int], rows: int, names: Sequence[str]) -> list[str]:
    """The note on rows that were left out."""
    if not dropped:
        return []
    reasons = ", ".join(f"{count:,} for {column!r}" for column, count in sorted(dropped.items()))
    count = sum(dropped.values())
    return [
        f"{count:,} of {rows + count:,} rows of {' and '.join(names)} can't be used and were "
        f"dropped: {reasons}."
    ]


def _spelled_alike(found: Iterable[Checked], task: Task) -> list[str]:
    """Notes on classes that are written in several ways, and on two that look like one."""
    ways: dict[str, set[str]] = {}
    for each in found:
        for name, spellings in each.spellings.items():
            ways.setdefault(name, set()).update(spellings)
    cases: dict[str, list[str]] = {}
    for name in task.labels:
        cases.setdefault(name.casefold(), []).append(name)
    return [
        f"the column {task.label!r} writes the class {name} as {listed(sorted(spelled))}."
        for name, spelled in sorted(ways.items())
        if len(spelled) > 1
    ] + [
        f"{listed(names)} are different classes, but differ in upper and lower case only."
        for names in cases.values()
        if len(names) > 1
    ]


# --- what is known of data ---------------------------------------------------


def split_sizes(task: Task) -> tuple[int, ...]:
    """Rows of the package's own train, dev and test split, or of the published sets."""
    if not task.embedded:
        return task.sizes
    import pyarrow.parquet as pq

    return tuple(
        sum(pq.read_metadata(path).num_rows for path in task.folder.glob(f"{split}-*.parquet"))
        for split in ("train", "dev", "test")
    )


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Facts about the rows that a task is trained and scored on."""

    fingerprint: str
    """SHA-256 of all these rows."""
    examples: int
    """Rows that are trained on."""
    notes: tuple[str, ...] = ()
    """What readers of the results must know about how they were read."""
    counts: Mapping[str, SplitCounts] = field(default_factory=dict)
    """Split -> what was counted of it."""

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        return {**asdict(self), "notes": list(self.notes)}


def read_facts(task: Task, place: str | None) -> DataFacts:
    """Facts about all rows that a task is trained and scored on.

    Args:
        task: the task, with the split that is scored.
        place: where the data are; None for the package's own.

    Raises: DataError, if they can't be read.
    """
    scored = {task.test_split: task, **task.also_scored()}
    splits = {"train": read(task, "train", place)}
    splits |= {name: read(each, each.test_split, place) for name, each in scored.items()}
    return DataFacts(
        fingerprint=data_fingerprint(*(each.rows for each in splits.values())),
        examples=len(splits["train"].rows),
        notes=tuple(dict.fromkeys(note for each in splits.values() for note in each.notes)),
        counts={
            name: SplitCounts(
                rows=len(each.rows), dropped=each.dropped, characters=_characters(each.rows)
            )
            for name, each in splits.items()
        },
    )


def _characters(rows: Rows) -> float:
    """Mean characters of the texts of a row."""
    texts = (value for row in rows for value in row.values() if isinstance(value, str))
    return round(sum(map(len, texts)) / max(1, len(rows)), 1)


def data_fingerprint(*splits: Rows) -> str:
    """SHA-256 of the rows that a task uses, whatever files they are in."""
    digest = hashlib.sha256()
    for rows in splits:
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        digest.update(b"\x00")
    return digest.hexdigest()
