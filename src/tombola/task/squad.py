"""SQuAD 1.1 as its authors released it: one JSON file a split."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from tombola.errors import DataError
from tombola.task.plain import read_text

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
                "version of SQuAD, with questions that have no answer. Give version 1.1."
            )
        self.notes: list[str] = []

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        return sorted(self.files)

    def table(self, split: str, limit: int) -> pa.Table:
        """Question, context and answers of a split, the first `limit` unless that is 0."""
        path = self.files[split]
        try:
            rows = [
                _row(question, paragraph["context"])
                for article in json.loads(read_text(path))["data"]
                for paragraph in article["paragraphs"]
                for question in paragraph["qas"]
            ]
            return pa.Table.from_pylist(rows[: limit or None])
        except (json.JSONDecodeError, KeyError, TypeError, pa.ArrowException) as error:
            reason = " ".join(f"{type(error).__name__} {error}".split()).rstrip(".")
            raise DataError(f"{str(path)!r} is not laid out as SQuAD 1.1: {reason}.") from None


def _row(question: dict[str, Any], context: str) -> dict[str, Any]:
    answers = question["answers"]
    return {
        "question": question["question"],
        "context": context,
        "answers": {
            "text": [answer["text"] for answer in answers],
            "answer_start": [answer["answer_start"] for answer in answers],
        },
    }
