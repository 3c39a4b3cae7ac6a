"""Data files, a split each or all in one: parquet, arrow, JSON, CSV or plain text."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.base.errors import DataError, cut
from tombola.tasks.data.delimited import read_delimited
from tombola.tasks.data.rows import FileReader, FileRows, numbered
from tombola.tasks.data.utf8 import COMPRESSED, format_of, lines_of, read_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["READERS", "DataFiles", "find_folder", "labelled_files", "split_files", "table_part"]

SPLITS = ("train", "dev", "valid", "val", "test")
"""What the name of a split's own folder begins with."""

ABOUT = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}
"""Files that `save_to_disk()` writes about the data."""


ROWS, UNPACKED, PACKING = 1_000_000, 1 << 28, 100
"""What any file may hold: rows; bytes, unpacked; and times its own size, where that is more."""

BATCH = 256
"""Rows that are looked at together before a whole file is read."""


class DataFiles:
    """Data files as the hub and `save_to_disk()` lay them out, or one file.

    A split's files are `SPLIT.EXT`, `SPLIT-00000-of-00001.EXT` or `SPLIT/*.EXT`.
    """

    def __init__(self, place: Path, *, without: Collection[str] = ()) -> None:
        """Files.

        Args:
            place: a folder, or one file.
            without: formats that are no data here.
        """
        self.place = place
        self.files = split_files(place, without=without)
        self.notes: list[str] = []

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return sorted(self.files)

    def parts(self, split: str, wanted: Sequence[str], limit: int) -> Iterator[FileRows]:
        """The rows of each file of a split, which is read when it is asked for."""
        for path in self.files[split]:
            yield _read(path, wanted, split)


def labelled_files(place: Path) -> DataFiles:
    """Files with labels: texts alone, such as a README.txt, are data only where nothing else is."""
    files = DataFiles(place, without=(".txt",))
    return files if files.splits() else DataFiles(place)


def _read(path: Path, wanted: Sequence[str], split: str) -> FileRows:
    kind = format_of(path)
    if kind in TEXTUAL:
        return TEXTUAL[kind](path, wanted)
    import pyarrow as pa

    try:
        return READERS[kind](path, wanted)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{str(path)!r}: can't read the {split} split: {reason}.") from None


def _is_description(name: str) -> bool:
    """Whether a file is not data: a description of them, or a cache of `datasets`."""
    return name in ABOUT or (name.startswith("cache-") and name.endswith(".arrow"))


def _is_data(path: Path) -> bool:
    formats = TEXTUAL if path.suffix == COMPRESSED else READERS
    return format_of(path) in formats and not _is_description(path.name) and path.is_file()


def split_files(place: Path, *, without: Collection[str] = ()) -> dict[str, list[Path]]:
    """Split -> its files, in order; of several formats the first of `READERS` is taken.

    Args:
        place: a folder, or one file.
        without: formats that are passed over.
    """
    found: dict[str, dict[str, list[Path]]] = {}
    inside = sorted(place.iterdir()) if place.is_dir() else ()
    for path in [place] if place.is_file() else inside:
        if path.is_dir() and path.name.startswith(SPLITS):
            files, split = sorted(path.iterdir()), path.name
        else:
            files, split = [path], _stem(path).split("-")[0]
        for file in files:
            if _is_data(file) and format_of(file) not in without:
                found.setdefault(split, {}).setdefault(format_of(file), []).append(file)
    return {
        split: next(formats[kind] for kind in READERS if kind in formats)
        for split, formats in found.items()
    }


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(COMPRESSED)).stem


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


def table_part(
    table: "pa.Table", file: str, wanted: Sequence[str], columns: Sequence[str]
) -> FileRows:
    """The rows of a table.

    Args:
        table: a table with at least some of the columns.
        file: its name, for messages.
        wanted: the columns that are asked for.
        columns: all that the file has.
    """
    there = [name for name in wanted if name in table.column_names]
    if any(columns.count(name) > 1 for name in there):
        return FileRows(file=file, columns=tuple(columns), rows=(), place=numbered)
    return FileRows(
        file=file,
        columns=tuple(columns),
        rows=table.select(there).to_pylist(),
        place=numbered,
        classes=_class_names(table),
    )


def _class_names(table: "pa.Table") -> dict[str, list[str]]:
    """Column -> names of its classes, as `datasets` writes them into the schema."""
    try:
        about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
        features = about["info"]["features"]
        return {n: list(f["names"]) for n, f in features.items() if "names" in f}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _parquet(path: Path, wanted: Sequence[str]) -> FileRows:
    import pyarrow.parquet as pq  # its read_table would import pandas

    file = pq.ParquetFile(path)
    columns = file.schema_arrow.names
    there = [name for name in wanted if name in columns]
    _check_size(file.iter_batches(BATCH, columns=there), path)
    return table_part(file.read(columns=there), str(path), wanted, columns)


def _arrow(path: Path, wanted: Sequence[str]) -> FileRows:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        _check_size(_batches(file), path)
        file.seek(0)
        try:
            table = pa.ipc.open_stream(file).read_all()
        except pa.ArrowInvalid:
            table = pa.ipc.open_file(file).read_all()
        return table_part(table, str(path), wanted, table.column_names)


def _batches(file: "pa.MemoryMappedFile") -> Iterator["pa.RecordBatch"]:
    """Part after part of an Arrow file, unpacked when it is asked for."""
    import pyarrow as pa

    try:
        yield from pa.ipc.open_stream(file)
    except pa.ArrowInvalid:
        reader = pa.ipc.open_file(file)
        yield from map(reader.get_batch, range(reader.num_record_batches))


def _check_size(batches: Iterable["pa.RecordBatch"], path: Path) -> None:
    """Refuse a small file that unpacks to far more rows or bytes than texts ever would."""
    size = path.stat().st_size
    most = max(UNPACKED, PACKING * size)
    rows = 0
    for batch in (b.slice(at, BATCH) for b in batches for at in range(0, b.num_rows, BATCH)):
        rows += batch.num_rows
        most -= sum(map(_plain_bytes, batch.columns))
        if most < 0 or rows > max(ROWS, size):
            raise DataError(
                f"expected rows of texts in {str(path)!r}, got more than {rows:,} rows, or "
                f"{PACKING} times its {size:,} bytes. Save the rows again, each once."
            )


def _plain_bytes(column: "pa.Array") -> int:
    """Bytes that the values of a column take, each written out."""
    import pyarrow as pa

    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return int(plain.nbytes)


def _json(path: Path, wanted: Sequence[str]) -> FileRows:
    """A list of objects, alone or as `data` of an object; or an object on each line."""
    rows, places = _json_rows(read_text(path), path)

    def place(number: int) -> str:
        return numbered(number) if places is None else f"line {places[number]}"

    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(
                f"{str(path)!r}, {place(number)}: expected an object, got {cut(row)}. Write an "
                "object for each row."
            )
    columns = dict.fromkeys(name for row in rows for name in row)
    _check_layout(rows, wanted, path)
    kept = [{name: row[name] for name in wanted if name in row} for row in rows]
    return FileRows(file=str(path), columns=tuple(columns), rows=kept, place=place)


def _check_layout(rows: list[dict[str, Any]], wanted: Sequence[str], path: Path) -> None:
    """Refuse a file with whole columns in one object, or with SQuAD's articles."""
    first = rows[0] if rows else {}
    columns = [first[name] for name in wanted if name in first]
    if len(rows) == 1 and columns and all(isinstance(each, list | dict) for each in columns):
        raise DataError(
            f"{str(path)!r}: expected an object for each row, got one with whole columns. Save it "
            'as JSON lines, which pandas calls to_json(orient="records", lines=True).'
        )
    if "paragraphs" in first and "context" in wanted:
        raise DataError(
            f"{str(path)!r} is laid out as SQuAD's own files. Call them train-v1.1.json and "
            "dev-v1.1.json."
        )


def _json_rows(text: str, path: Path) -> tuple[list[Any], list[int] | None]:
    """The rows, and the line of each where they have one of their own."""
    rows: list[Any] = []
    places: list[int] = []
    line = 0
    try:
        with suppress(ValueError):
            whole = json.loads(text)
            if isinstance(whole, dict):
                whole = whole.get("data")
            if isinstance(whole, list):
                return whole, None
        for line, content in enumerate(lines_of(text), 1):
            if content.strip():
                rows.append(json.loads(content))
                places.append(line)
    except (ValueError, RecursionError) as error:  # ValueError: a number of too many digits, too
        reason = str(error).rstrip(".")
        raise DataError(
            f"{str(path)!r} is neither a JSON list nor JSON lines: line {max(line, 1)}: {reason}. "
            "Write an object on each line, or a list of objects."
        ) from None
    return rows, places


def _text(path: Path, wanted: Sequence[str]) -> FileRows:
    """A row for each line that isn't blank, in the column `text`."""
    lines = [(n, line.strip()) for n, line in enumerate(lines_of(read_text(path)), 1)]
    lines = [(number, line) for number, line in lines if line]
    rows: list[Mapping[str, Any]] = [{"text": line} for _, line in lines]
    return FileRows(
        file=str(path), columns=("text",), rows=rows, place=lambda row: f"line {lines[row][0]}"
    )


TEXTUAL: Mapping[str, FileReader] = {
    ".jsonl": _json,
    ".json": _json,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": _text,
}
"""Formats that may be compressed, too: `.csv.gz`."""

READERS: Mapping[str, FileReader] = {".parquet": _parquet, ".arrow": _arrow, **TEXTUAL}
"""End of a file's name -> how it is read."""
