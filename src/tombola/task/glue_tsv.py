"""GLUE as its authors released it: a folder of TSV files whose quotes mean nothing."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from tombola.errors import DataError
from tombola.task.plain import read_text

__all__ = ["GlueTsv"]


class GlueTsv:
    """The TSV files of one task, under the names that the hub gives its columns."""

    def __init__(self, folder: Path, columns: Mapping[str, str | int]) -> None:
        """Files and columns.

        Args:
            folder: with `train.tsv`, `dev.tsv` and the like.
            columns: our name -> that in the files' header, or its number from 0 where they have
                no header.
        """
        self.folder, self.columns = folder, columns
        self.notes: list[str] = []

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return sorted(path.stem for path in self.folder.glob("*.tsv"))

    def table(self, split: str, limit: int) -> pa.Table:
        """The rows of a split as text, the first `limit` of them unless that is 0.

        A line with more or fewer fields than the first is no row: in QQP, questions with a line
        break are spread over several. They are passed over, counted, and told in `notes`.
        """
        path = self.folder / f"{split}.tsv"
        lines = [line.removesuffix("\r").split("\t") for line in read_text(path).split("\n")]
        if lines[-1] == [""]:
            del lines[-1]
        places = self._places(lines[0] if lines else [], path)
        width = len(lines[0]) if lines else 0
        rows = lines if any(isinstance(name, int) for name in self.columns.values()) else lines[1:]
        whole = [fields for fields in rows if len(fields) == width]
        if skipped := len(rows) - len(whole):
            self.notes.append(
                f"{skipped} of {len(rows)} lines of {path.name} have other than {width} fields and "
                "were passed over."
            )
        whole = whole[: limit or None]
        columns = {name: [fields[at] for fields in whole] for name, at in places.items()}
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})

    def _places(self, first: list[str], path: Path) -> dict[str, int]:
        """Our name of a column -> its number, for those that there are."""
        header = [name.strip() for name in first]
        places = {}
        for name, theirs in self.columns.items():
            if isinstance(theirs, int):
                if theirs >= len(first):
                    raise DataError(
                        f"{str(path)!r}: expected {theirs + 1} fields or more in each line, got "
                        f"{len(first)}. Name the original release's files."
                    )
                places[name] = theirs
            elif theirs in header:
                places[name] = header.index(theirs)
            else:
                raise DataError(
                    f"{str(path)!r}: expected the column {theirs!r}, found {', '.join(header)}."
                )
        return places
