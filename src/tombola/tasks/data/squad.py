"""SQuAD 1.1 as its authors released it: one JSON file a split."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tombola.base.errors import DataError
from tombola.tasks.data.rows import FileRows
from tombola.tasks.data.utf8 import read_text

__all__ = ["SquadJson", "is_squad"]


def is_squad(folder: Path) -> bool:
    """Whether a folder has files in SQuAD's layout, by their names."""
    return folder.is_dir() and any(folder.glob("*-v[12].[0-9].json"))


class SquadJson:
    """`train-v1.1.json` and `dev-v1.1.json`, a row for each question."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name.split("-")[0]: path for path in folder.glob("*-v1.[0-9].json")}
        if not self.files:
            raise DataError(
                f"expected train-v1.1.json and dev-v1.1.json in {str(folder)!r}, found another "
                "version of SQuAD, with questions that have no answer. Use version 1.1."
            )
        self.notes: list[str] = []

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return sorted(self.files)

    def parts(self, split: str, wanted: Sequence[str], limit: int) -> Iterator[FileRows]:
        """Question, context and answers of a split, which is one file."""
        path = self.files[split]
        try:
            rows = [
                {
                    "id": question.get("id"),
                    "question": question.get("question"),
                    "context": paragraph.get("context"),
                    "answers": question.get("answers"),
                }
                for article in json.loads(read_text(path))["data"]
                for paragraph in article["paragraphs"]
                for question in paragraph["qas"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(f"{type(error).__name__} {error}".split()).rstrip(".")
            raise DataError(f"{str(path)!r} is not laid out as SQuAD 1.1: {reason}.") from None

        def place(number: int) -> str:
            row: dict[str, Any] = rows[number]
            return f"question {number}, counted from 0, id {row['id']!r}"

        yield FileRows(
            file=str(path), columns=tuple(rows[0]) if rows else (), rows=rows, place=place
        )
