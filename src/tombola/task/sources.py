"""Where a task's rows come from: one interface over the layouts that data are published in."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tombola.errors import DataError
from tombola.task.counts import SplitCounts
from tombola.task.files import Files, find_folder
from tombola.task.glue_tsv import GlueTsv
from tombola.task.hub import Hub
from tombola.task.squad import SquadJson, is_squad
from tombola.task.tasks import DIVIDED, Task, on_hub

__all__ = [
    "DataFacts",
    "Rows",
    "Source",
    "data_fingerprint",
    "data_folder",
    "open_source",
    "read_facts",
    "read_split",
    "split_sizes",
]

Rows = list[dict[str, Any]]

HELD_OUT = 100
"""Of so many texts without a test split, one is for the test and one for dev."""


class Source(Protocol):
    """Data in some layout."""

    notes: list[str]
    """What a reader of the results must know of how they were read."""

    def splits(self) -> list[str]:
        """Names of the splits that there are."""

    def table(self, split: str, limit: int) -> pa.Table:
        """The rows of a split, the first `limit` of them unless that is 0."""


def open_source(task: Task, place: str | Path | None = None) -> Source:
    """The data of a task.

    Args:
        task: decides which layouts are looked for.
        place: a folder, or `hub:OWNER/NAME`; the package's own data, or the task's, if None.

    Raises: DataError, if there are no data.
    """
    place = place or task.place or (task.folder if task.embedded else None)
    if place is None:
        raise DataError(
            f"task {task.name!r} names no data, got none either. Name their folder with --data, or "
            "as `data` in the task's file."
        )
    if on_hub(place):
        return Hub(str(place))
    folder = data_folder(task, Path(place))
    if is_squad(folder):
        return SquadJson(folder)
    if task.tsv and any(folder.glob("*.tsv")):
        return GlueTsv(folder, task.tsv)
    files = Files(folder)
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


def read_split(
    task: Task, split: str, place: str | Path | None = None, *, notes: list[str] | None = None
) -> Rows:
    """The rows of a split, with the task's columns.

    Args:
        task: which columns there must be, and which split stands for dev and test.
        split: train, dev, test, validation (the whole development set), or one of the source's.
        place: see `open_source`.
        notes: gets what a reader of the results must know.

    Raises: DataError, if files or columns are missing, or there are no rows.
    """
    source = open_source(task, place)
    there = source.splits()
    divided = bool(task.divided) and split in DIVIDED
    wanted = task.divided if task.divided and split in (*DIVIDED, "validation") else split
    if task.kind == "mlm" and split in ("train", *DIVIDED) and _spelled("test", there) is None:
        rows = _held_out(_texts(source, task, there), split, task)
    else:
        found = _spelled(wanted, there)
        if found is None:
            raise DataError(_no_split(task, split, wanted, there, place))
        rows = _rows(source, task, found)
        if divided:
            rows = [row for row in rows if _half(row, task) == split]
    if not rows:
        raise DataError(f"the {split} split of task {task.name!r} has no rows. Check its files.")
    if notes is not None:
        notes += [note for note in source.notes if note not in notes]
    return rows


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
    return (
        f"task {task.name!r} needs the split {wanted!r}{needed} in {where!r}, found "
        f"{', '.join(there)}. Name another with --eval-split, or add it."
    )


def _rows(source: Source, task: Task, split: str) -> Rows:
    """The rows of a split of the source, with the task's columns only."""
    table = source.table(split, task.train_rows if split == "train" else 0)
    names = {name: task.label if name == "label" else name for name in task.columns}
    for name in names.values():
        if name not in table.column_names:
            raise DataError(
                f"task {task.name!r} needs the column {name!r} in the {split} split, found "
                f"{', '.join(table.column_names) or 'none'}."
            )
    rows: Rows = table.select(list(names.values())).rename_columns(list(names)).to_pylist()
    if "label" in names:
        for row in rows:
            row["label"] = _label(row["label"], task)
    return rows


def _label(label: Any, task: Task) -> Any:
    """A class or a value that may be written as text; what is neither stays as it is.

    A class is written as its name, or as its number if no name is a number.
    """
    if not isinstance(label, str):
        return label
    label = label.strip()
    if label in task.labels:
        return task.labels.index(label)
    if any(name.isdecimal() for name in task.labels):
        return label
    try:
        return int(label) if task.kind == "classification" else float(label)
    except ValueError:
        return label


# --- splits that are made ----------------------------------------------------


def _digest(row: dict[str, Any], texts: Iterable[str]) -> bytes:
    """SHA-256 of some texts of a row, whatever the spaces between their words."""
    words = "\x1f".join(" ".join(str(row[name]).split()) for name in texts)
    return hashlib.sha256(words.encode()).digest()


def _half(row: dict[str, Any], task: Task) -> str:
    """Whether a row of the divided split is for dev or for the test.

    The first byte of the digest of its texts decides: even is test. The questions about one
    context stay together.
    """
    texts = task.texts[1:] if task.kind == "span" else task.texts
    return DIVIDED[_digest(row, texts)[0] % 2 == 0]


def _texts(source: Source, task: Task, there: list[str]) -> Rows:
    """All texts of a source without a test split: those of train, or of every file."""
    names = ["train"] if "train" in there else there
    return [row for name in names for row in _rows(source, task, name)]


def _held_out(rows: Rows, split: str, task: Task) -> Rows:
    """Texts of a split that is made by the smallest digests: one in a hundred for test and dev."""
    if len(rows) < 3:
        raise DataError(
            f"task {task.name!r} needs a test split, or three texts or more to hold some out, got "
            f"{len(rows)}. A line of a text file and a row of any other is a text."
        )
    digests = [_digest(row, task.texts) for row in rows]
    count = max(1, len(rows) // HELD_OUT)
    order = sorted(range(len(rows)), key=lambda n: (digests[n], n))
    parts = {"test": order[:count], "dev": order[count : 2 * count], "train": order[2 * count :]}
    return [rows[n] for n in sorted(parts[split])]


# --- what is known of data ---------------------------------------------------


def split_sizes(task: Task) -> tuple[int, ...]:
    """Rows of the package's own train, dev and test split, or of the published sets."""
    if not task.embedded:
        return task.sizes
    return tuple(
        sum(pq.read_metadata(path).num_rows for path in task.folder.glob(f"{split}-*.parquet"))
        for split in ("train", "dev", "test")
    )


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What is known of the rows that a task trains and is scored on."""

    fingerprint: str
    """Of all these rows."""
    examples: int
    """Rows that are trained on."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of how they were read."""
    counts: Mapping[str, SplitCounts] = field(default_factory=dict)
    """Split -> what was counted of it."""

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        return {**asdict(self), "notes": list(self.notes)}


def read_facts(task: Task, place: str | None) -> DataFacts:
    """What is known of all rows that a task trains and is scored on.

    Args:
        task: with the split that is scored.
        place: where the data are; None for the package's own.

    Raises: DataError, if they can't be read.
    """
    notes: list[str] = []
    train = read_split(task, "train", place, notes=notes)
    scored = {task.test_split: task, **task.scored_beside()}
    tests = {
        name: read_split(each, each.test_split, place, notes=notes) for name, each in scored.items()
    }
    return DataFacts(
        fingerprint=data_fingerprint(train, *tests.values()),
        examples=len(train),
        notes=tuple(notes),
        counts={
            name: SplitCounts(rows=len(rows)) for name, rows in {"train": train, **tests}.items()
        },
    )


def data_fingerprint(*splits: Rows) -> str:
    """SHA-256 over the rows that a task uses, whatever files they came in."""
    digest = hashlib.sha256()
    for rows in splits:
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        digest.update(b"\x00")
    return digest.hexdigest()
