"""GLUE as its authors released it: a folder of TSV files whose quotes mean nothing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tombola.base.errors import DataError
from tombola.tasks.data.rows import FileRows, listed
from tombola.tasks.data.utf8 import read_text

__all__ = ["GlueTsv", "MsrParaphrase"]


class GlueTsv:
    """The TSV files of one task, under the names that the hub gives its columns."""

    def __init__(self, folder: Path, columns: Mapping[str, str | int]) -> None:
        """Files and columns.

        Args:
            folder: the folder with `train.tsv`, `dev.tsv` and the like.
            columns: our name -> that in the files' header, or its number from 0 where they have
                no header.
        """
        self.folder, self.columns = folder, columns
        self.notes: list[str] = []

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return sorted(path.stem for path in self.folder.glob("*.tsv"))

    def parts(self, split: str, wanted: Sequence[str], limit: int) -> Iterator[FileRows]:
        """The rows of a split as text, which is one file.

        A line with more or fewer fields than the first is not a row: in QQP, questions with a line
        break are spread over several. Such lines are skipped, and counted in `notes`.
        """
        yield self._part(self.folder / f"{split}.tsv")

    def _part(self, path: Path) -> FileRows:
        lines = [line.removesuffix("\r").split("\t") for line in read_text(path).split("\n")]
        if lines[-1] == [""]:
            del lines[-1]
        places = self._places(lines[0] if lines else [], path)
        width = len(lines[0]) if lines else 0
        headed = not any(isinstance(name, int) for name in self.columns.values())
        rows = [(number, fields) for number, fields in enumerate(lines, 1) if number > headed]
        whole = [(number, fields) for number, fields in rows if len(fields) == width]
        if skipped := len(rows) - len(whole):
            self.notes.append(
                f"{skipped} of {len(rows)} lines of {path.name} don't have {width} fields and "
                "were skipped."
            )
        return FileRows(
            file=str(path),
            columns=tuple(places),
            rows=[{name: fields[at] for name, at in places.items()} for _, fields in whole],
            place=lambda row: f"line {whole[row][0]}",
        )

    def _places(self, first: list[str], path: Path) -> dict[str, int]:
        """Our name of a column -> its number, for those that there are."""
        header = [name.strip() for name in first]
        places = {}
        for name, theirs in self.columns.items():
            if isinstance(theirs, int):
                if theirs >= len(first):
                    raise DataError(
                        f"{str(path)!r}: expected {theirs + 1} fields or more in each line, got "
                        f"{len(first)}. Use the original release's files."
                    )
                places[name] = theirs
            elif theirs in header:
                places[name] = header.index(theirs)
            else:
                raise DataError(
                    f"{str(path)!r}: expected the column {theirs!r}, found {listed(header)}."
                )
        return places


class MsrParaphrase(GlueTsv):
    """MRPC as Microsoft Research released it: GLUE drew its development set from the training file.

    `dev_ids.tsv`, which comes with GLUE, names the pairs of it; without that file the test set,
    whose labels are public, stands for the development set.
    """

    TRAIN, TEST, DEV = "msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "dev_ids.tsv"
    PAIR: Mapping[str, str | int] = {"first": "#1 ID", "second": "#2 ID"}

    def __init__(self, folder: Path, columns: Mapping[str, str | int]) -> None:
        super().__init__(folder, {**columns, **self.PAIR})
        self.drawn = self._drawn()

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Whether a folder has this release, and not GLUE's own files."""
        return (folder / cls.TRAIN).is_file() and not (folder / "train.tsv").is_file()

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return ["dev", "test", "train"] if (self.folder / self.TEST).is_file() else ["dev", "train"]

    def _drawn(self) -> set[tuple[str, ...]]:
        if not (self.folder / self.DEV).is_file():
            return set()
        lines = read_text(self.folder / self.DEV).splitlines()
        return {tuple(field.strip() for field in line.split("\t")) for line in lines}

    def parts(self, split: str, wanted: Sequence[str], limit: int) -> Iterator[FileRows]:
        """The rows of a split as text."""
        if split == "test" or (split == "dev" and not self.drawn):
            if split == "dev":
                self.notes.append(
                    f"no {self.DEV} in {self.folder.name}: the rows of {self.TEST} are the "
                    "development set."
                )
            yield self._part(self.folder / self.TEST)
            return
        whole = self._part(self.folder / self.TRAIN)
        chosen = [
            number
            for number, row in enumerate(whole.rows)
            if ((row["first"], row["second"]) in self.drawn) == (split == "dev")
        ]
        if whole.rows and not chosen:
            raise DataError(
                f"{whole.file!r}: expected pairs for {split}, got {len(whole.rows)} of which "
                f"{self.DEV} names {'all' if split == 'train' else 'none'}. Use the {self.DEV} of "
                "GLUE, or leave it out."
            )
        yield FileRows(
            file=whole.file,
            columns=whole.columns,
            rows=[whole.rows[number] for number in chosen],
            place=lambda row: whole.place(chosen[row]),
        )
