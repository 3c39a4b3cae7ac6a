"""What differs between the folders that two commits have written, apart from a short list."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from math import isclose
from pathlib import Path
from typing import Any

VOLATILE = (
    ("*", "seconds", "time taken"),
    ("*", "search_seconds", "time taken"),
    ("*", "training_seconds", "time taken"),
    ("*", "earlier_seconds", "time taken"),
    ("*", "peak_memory", "memory used"),
    ("*store/results/*/result.json", "digest", "covers the time taken"),
    ("*", "stored_ns", "time of writing"),
    ("*ticket.json", "created_by", "version of tombola"),
    ("*ticket.json", "tombola", "version of tombola"),
    ("*ticket.json", "version", "version of the ticket format"),
    ("import/*.json", "version", "version of the ticket format"),
    ("import/*.json", "bytes", "size of the ticket, which is coded since version 2"),
)
"""Files, the JSON field or table column in them of which the value is ignored, and why."""

WORDING = frozenset("about claim estimand missing note notes reason says sentence warning".split())
"""Fields with text for people: only the numbers in it, and how many texts there are, count."""

ADDED = (
    ("*ticket.json", "files", "version 2 of the ticket format"),
    ("*ticket.json", "checksum", "version 2 of the ticket format"),
    ("*out/result.json", "finder", "the result of a search names its finder"),
    ("*find.json", "finder", "the result of a search names its finder"),
    ("*rows.*", "finder", "a table names the finder of each ticket"),
    ("recorded/*", "finder", "a table names the finder of each ticket"),
)
"""Files, the field or column that only later commits have, and why; where the text of the file is
compared as well, the field is its last."""

PRESENT = (".html", ".md", ".png", ".svg", ".tex")
"""Suffixes of files for people, which must exist; their content is not compared."""

TICKET = "ticket.json"
"""What stands next to the mask of a ticket, which is compared as a mask and not as bytes."""

UNSEEN = ("*store/leases", "*store/tmp", "*store/partial")
"""Folders of a store that say who is at work."""

RENAMED = {"habits": "variant", "units": "heads-and-neurons"}
"""Fields and columns -> their new names; a file may have either."""

ESTIMATED = frozenset({"interval"})
"""Fields with results of statistics, in which the order of sums may change the last bits."""

DIGITS = 12
"""Significant digits in which such numbers are equal."""

EXACT = ("*store/results/*.json", "*store/store.json", "*ticket.json", "*experiment.json")
"""JSON files of which the text is compared as well: order of fields, spaces, line ends."""

NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Difference:
    """One place in one file where two commits disagree."""

    file: str
    place: str
    before: str
    after: str

    def __str__(self) -> str:
        place = f" at {self.place}" if self.place else ""
        return f"{self.file}{place}: {shortened(self.before)} -> {shortened(self.after)}"


@dataclass(frozen=True)
class Side:
    """What one commit has written."""

    folder: Path
    absolute: Mapping[str, str] = field(default_factory=dict)
    """Absolute path -> what stands for it, such as the checkout."""

    def text(self, file: str) -> str:
        """The content of a text file, without absolute paths."""
        text = (self.folder / file).read_bytes().decode("utf-8")
        for path, name in self.absolute.items():
            text = text.replace(path, name)
        return text


def shortened(text: str, length: int = 120) -> str:
    """The text, cut where it is long."""
    return text if len(text) <= length else f"{text[:length]}..."


def differences(before: Side, after: Side, unit: str) -> Iterator[Difference]:
    """Every difference below the file or folder `unit` of both sides."""
    names = files(before.folder, unit), files(after.folder, unit)
    for file in sorted(names[0] | names[1]):
        if file not in names[1]:
            yield Difference(file, "", "there", "missing")
        elif file not in names[0]:
            yield Difference(file, "", "missing", "there")
        elif not file.endswith(PRESENT):
            yield from in_file(before, after, file)


def files(folder: Path, unit: str) -> set[str]:
    """The files and links below `unit`, and its empty folders, relative to the folder."""
    found = set()
    for path in (folder / unit).rglob("*"):
        name = path.relative_to(folder).as_posix()
        if any(fnmatch(name, f"{unseen}{rest}") for unseen in UNSEEN for rest in ("", "/*")):
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                found.add(f"{name}/")
        else:
            found.add(name)
    return found


def in_file(before: Side, after: Side, file: str) -> Iterator[Difference]:
    """The differences between two versions of one file."""
    if file.endswith("/"):
        return
    old, new = ((side.folder / file).read_bytes() for side in (before, after))
    if old == new:
        return
    if Path(file).name == "mask.safetensors" and (before.folder / file).with_name(TICKET).exists():
        yield from in_masks(before, after, file)
        return
    if Path(file).suffix not in READERS:
        yield in_bytes(file, old, new)
        return
    contents = content(before, file), content(after, file)
    found = list(in_values(file, "", *contents))
    yield from found
    if not found and any(fnmatch(file, pattern) for pattern in EXACT):
        yield from in_layout(file, before.text(file), after.text(file))


def in_bytes(file: str, old: bytes, new: bytes) -> Difference:
    """The first byte in which two files differ."""
    at = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None)
    if at is None:
        return Difference(file, "its end", f"{len(old)} bytes", f"{len(new)} bytes")
    return Difference(file, f"byte {at}", f"{old[at]:#04x}", f"{new[at]:#04x}")


def in_masks(before: Side, after: Side, file: str) -> Iterator[Difference]:
    """Whether two tickets, of whatever version of the format, prune the same weights."""
    from tombola.ticket.ticket import Ticket

    folders = [(side.folder / file).parent for side in (before, after)]
    old, new = (Ticket.load(folder).mask.digest() for folder in folders)
    if old != new:
        yield Difference(file, "the mask", old, new)


def in_layout(file: str, old: str, new: str) -> Iterator[Difference]:
    """Where the texts of two JSON files of equal content differ, ignored values apart."""
    lines = [blanked(file, text) for text in (old, new)]
    if lines[0] != lines[1]:
        at = next((i for i, (a, b) in enumerate(zip(*lines, strict=False)) if a != b), -20)
        start = max(at - 20, 0)
        yield Difference(
            file, "order or layout of the JSON", *(text[start : at + 60] for text in lines)
        )


def blanked(file: str, text: str) -> str:
    """The text of a JSON file with the values that are ignored left out."""
    for name in added(file):
        text = re.sub(rf',\s*"{name}":\s*({{[^{{}}]*}}|"[^"]*")', "", text)
    for name in sorted(ignored(file)):
        text = re.sub(rf'("{name}":\s*)("[^"]*"|[^\s,}}\]]+)', r"\1...", text)
    return text


def ignored(file: str) -> set[str]:
    """The fields of a file of which the values are not compared."""
    return {name for pattern, name, _ in VOLATILE if fnmatch(file, pattern)}


def added(file: str) -> list[str]:
    """The fields that a file may have or not."""
    return [name for pattern, name, _ in ADDED if fnmatch(file, pattern)]


def without(value: Any, file: str) -> Any:
    """The value, without the fields that a file may have or not if it is an object."""
    if isinstance(value, dict):
        for name in added(file):
            value.pop(name, None)
    return value


def content(side: Side, file: str) -> Any:
    """What a file says, as values of JSON."""
    return renamed(READERS[Path(file).suffix](side, file))


def renamed(value: Any) -> Any:
    """The value with the new names of fields."""
    if isinstance(value, dict):
        return {RENAMED.get(key, key): renamed(entry) for key, entry in value.items()}
    return [renamed(entry) for entry in value] if isinstance(value, list) else value


def read_json(side: Side, file: str) -> Any:
    """A JSON document. Of the cache of fingerprints what was found, whatever the files' times."""
    value = json.loads(side.text(file))
    for one in value if isinstance(value, list) else [value]:
        without(one, file)
    if file.endswith("store/fingerprints.json"):
        return sorted((entry["found"] for entry in value.values()), key=json.dumps)
    return value


def read_lines(side: Side, file: str) -> Any:
    """A JSON document a line; the rows of a store's index may stand in any order."""
    rows = [json.loads(line) for line in side.text(file).splitlines()]
    return {row.get("key", f"line {number}"): row for number, row in enumerate(rows)}


def read_csv(side: Side, file: str) -> Any:
    """The columns and rows of a CSV file, as text."""
    reader = csv.DictReader(side.text(file).splitlines(keepends=True))
    rows = list(reader)
    names = without(dict.fromkeys(reader.fieldnames or ()), file)
    columns = [RENAMED.get(name, name) for name in names]
    return {"columns": columns, "rows": [without(row, file) for row in rows]}


def read_parquet(side: Side, file: str) -> Any:
    """The schema and rows of a Parquet file."""
    import pyarrow.parquet as pq

    table = pq.read_table(side.folder / file)
    names = without(dict.fromkeys(table.schema.names), file)
    columns = [f"{RENAMED.get(name, name)}: {table.schema.field(name).type}" for name in names]
    return {"columns": columns, "rows": [without(row, file) for row in table.to_pylist()]}


READERS = {
    ".json": read_json,
    ".jsonl": read_lines,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
"""Suffix -> how to read such a file. Any other file is compared byte for byte."""


def in_values(file: str, place: str, old: Any, new: Any) -> Iterator[Difference]:
    """The differences between two values of JSON; numbers must have the same type and bits."""
    name = place.rsplit(".", 1)[-1]
    if name in WORDING:
        yield from in_wording(file, place, old, new)
    elif type(old) is not type(new):
        yield Difference(file, place, json.dumps(old), json.dumps(new))
    elif name in ignored(file) and not isinstance(old, dict | list):
        return
    elif isinstance(old, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from in_field(file, f"{place}.{key}".lstrip("."), key, old, new)
    elif isinstance(old, list):
        if len(old) != len(new):
            yield Difference(file, place, f"{len(old)} entries", f"{len(new)} entries")
        for number, pair in enumerate(zip(old, new, strict=False)):
            yield from in_values(file, f"{place}[{number}]", *pair)
    elif not (close(old, new) if name.partition("[")[0] in ESTIMATED else same(old, new)):
        yield Difference(file, place, json.dumps(old), json.dumps(new))


def close(old: Any, new: Any) -> bool:
    """Whether two numbers are equal in their first digits."""
    return same(old, new) or (
        isinstance(old, float) and isclose(old, new, rel_tol=10.0**-DIGITS, abs_tol=0.0)
    )


def in_field(
    file: str, place: str, key: str, old: dict[str, Any], new: dict[str, Any]
) -> Iterator[Difference]:
    """The differences in one field of two objects."""
    if key not in new:
        yield Difference(file, place, json.dumps(old[key]), "no such field")
    elif key not in old:
        yield Difference(file, place, "no such field", json.dumps(new[key]))
    else:
        yield from in_values(file, place, old[key], new[key])


def in_wording(file: str, place: str, old: Any, new: Any) -> Iterator[Difference]:
    """Where texts for people differ in their number or in the numbers they state."""
    if shape(old) != shape(new):
        yield Difference(file, place, json.dumps(old), json.dumps(new))


def shape(value: Any) -> Any:
    """What must stay of a text for people: the numbers in it, in any order."""
    if isinstance(value, str):
        return sorted(NUMBER.findall(value))
    if isinstance(value, list):
        return [shape(entry) for entry in value]
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    return repr(value)


def same(old: Any, new: Any) -> bool:
    """Whether two values have the same type and bits; NaN equals NaN, and 0.0 is not -0.0."""
    return repr(old) == repr(new)
