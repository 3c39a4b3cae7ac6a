"""A folder of data files, a split each: parquet, arrow, JSON, CSV or plain text."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from tombola.errors import DataError
from tombola.task.plain import read_table, read_text

__all__ = ["READERS", "Files", "find_folder", "split_files"]

SPLITS = ("train", "dev", "valid", "val", "test")
"""What the name of a split's own folder begins with."""

ABOUT = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}
"""Files that `save_to_disk()` writes about the data."""


class Files:
    """Data files as the hub and `save_to_disk()` lay them out.

    A split's files are `SPLIT.EXT`, `SPLIT-00000-of-00001.EXT` or `SPLIT/*.EXT`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = split_files(folder)
        self.notes: list[str] = []

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return sorted(self.files)

    def table(self, split: str, limit: int) -> pa.Table:
        """The rows of a split, the first `limit` of them unless that is 0."""
        tables: list[pa.Table] = []
        for path in self.files[split]:
            try:
                tables.append(READERS[path.suffix](path))
            except (pa.ArrowException, OSError) as error:
                reason = " ".join(str(error).split()).rstrip(".")
                raise DataError(f"{str(path)!r}: can't read the {split} split: {reason}.") from None
            if 0 < limit <= sum(table.num_rows for table in tables):
                break
        try:
            whole = pa.concat_tables(tables)
        except pa.ArrowException as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise DataError(
                f"{str(self.folder)!r}: can't read the {split} split: {reason}."
            ) from None
        return whole.slice(0, limit or None)


def _beside(name: str) -> bool:
    """Whether a file is not data of its split: a description, or what `datasets` has cached."""
    return name in ABOUT or (name.startswith("cache-") and name.endswith(".arrow"))


def split_files(folder: Path) -> dict[str, list[Path]]:
    """Split -> its files, in order; of several formats the first of `READERS` is taken."""
    found: dict[str, dict[str, list[Path]]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.name.startswith(SPLITS):
            inside, split = sorted(path.iterdir()), path.name
        else:
            inside, split = [path], path.stem.split("-")[0]
        for file in inside:
            if file.suffix in READERS and not _beside(file.name) and file.is_file():
                found.setdefault(split, {}).setdefault(file.suffix, []).append(file)
    return {
        split: next(formats[suffix] for suffix in READERS if suffix in formats)
        for split, formats in found.items()
    }


def find_folder(place: Path, *names: str) -> Path:
    """The folder with the data files: the place itself, or one in it that has such a name.

    Names are compared without case and punctuation, so that `SST-2` is found for `sst2`.
    """
    wanted = {_plain(name) for name in names}
    inside = sorted(path for path in place.glob("*") if path.is_dir()) if place.is_dir() else []
    named = [path for path in inside if _plain(path.name) in wanted]
    nested = [place / name for name in names if "/" in name]
    for folder in (place, *named, *nested, place / "data"):
        if split_files(folder):
            return folder
    return place


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


# --- formats -----------------------------------------------------------------


def _arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        try:
            return pa.ipc.open_stream(file).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_file(file).read_all()


def _json(path: Path) -> pa.Table:
    """A list of objects, or an object on each line."""
    text = read_text(path)
    try:
        if text.lstrip().startswith("["):
            return _objects(json.loads(text), path)
        lines = [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(f"{str(path)!r} is neither a JSON list nor JSON lines: {error}.") from None
    return _objects(lines, path)


def _objects(rows: Any, path: Path) -> pa.Table:
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{str(path)!r}: row {number} is no object, got {row!r}.")
    return pa.Table.from_pylist(rows)


def _text(path: Path) -> pa.Table:
    """A row for each line that isn't blank, in the column `text`."""
    lines = (line.strip() for line in read_text(path).split("\n"))
    return pa.table({"text": pa.array([line for line in lines if line], pa.string())})


def _csv(path: Path) -> pa.Table:
    columns = read_table(path)
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


READERS: Mapping[str, Callable[[Path], pa.Table]] = {
    ".parquet": lambda path: pq.ParquetFile(path).read(),  # read_table would import pandas
    ".arrow": _arrow,
    ".jsonl": _json,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _text,
}
"""End of a file's name -> how it is read."""
