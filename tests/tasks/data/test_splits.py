"""A file without a test split is shared out by its texts, whatever their order and format."""

from pathlib import Path
from typing import Any

import pytest

from tombola.base.errors import DataError
from tombola.base.specs import TaskSpec
from tombola.tasks.data.sources import read
from tombola.tasks.data.splits import share
from tombola.tasks.own_task import named_task
from tombola.tasks.task import Task

TASK = Task(
    name="mine", kind="classification", texts=("text",), labels=("0", "1"), metric="accuracy"
)
ROWS: list[dict[str, Any]] = [{"text": f"a film {n}", "label": n % 2} for n in range(200)]
SPLITS = ("train", "dev", "test")


def test_a_tenth_is_dev_and_a_fifth_test_whatever_the_order() -> None:
    parts = {split: share(ROWS, split, TASK)[0] for split in SPLITS}
    assert {split: len(rows) for split, rows in parts.items()} == {
        "train": 140,
        "dev": 20,
        "test": 40,
    }
    assert sorted(row["text"] for rows in parts.values() for row in rows) == sorted(
        row["text"] for row in ROWS
    )
    again = share(ROWS[::-1], "test", TASK)[0]
    assert again[::-1] == parts["test"]
    assert "40 with the smallest SHA-256" in share(ROWS, "test", TASK)[1]


def test_rows_of_one_text_stay_together() -> None:
    rows = [{"text": f"a  film {n % 9}", "label": 1} for n in range(100)]
    texts = [{row["text"] for row in share(rows, split, TASK)[0]} for split in SPLITS]
    assert min(map(len, texts)) > 0
    assert sum(map(len, texts)) == 9


def test_three_texts_are_the_least() -> None:
    rows = [{"text": text, "label": 0} for text in "abc"]
    assert [len(share(rows, split, TASK)[0]) for split in SPLITS] == [1, 1, 1]
    with pytest.raises(DataError, match="three texts or more to hold some out, got 2"):
        share([*rows[:2], rows[0]], "train", TASK)


LINES = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)


@pytest.mark.parametrize("name", ["reviews.csv", "train.csv", "data/reviews.csv"])
@pytest.mark.parametrize("whole", [True, False])
def test_one_file_is_a_task_by_its_folder_or_by_itself(
    tmp_path: Path, name: str, whole: bool
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(LINES)
    (path.parent / "README.txt").write_text("about the data")
    task = named_task(f"csv:{tmp_path if whole else path}", TaskSpec())
    assert task.labels == ("0", "1")
    found = {split: read(task, split) for split in SPLITS}
    assert [len(each.rows) for each in found.values()] == [140, 20, 40]
    assert found["test"].notes[0].startswith("there is no test split: of 200 rows, 40 ")


def test_two_files_that_are_no_splits_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("reviews.csv", "others.csv"):
        (tmp_path / name).write_text(LINES)
    with pytest.raises(DataError, match=r"found others.csv, reviews.csv\. .* pass one file"):
        named_task(f"csv:{tmp_path}", TaskSpec())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "test.csv").write_text(LINES)
    task = named_task(f"csv:{tmp_path / 'reviews.csv'}", TaskSpec())
    with pytest.raises(DataError, match=r"needs the split 'train' in .*found test"):
        read(task, "train", tmp_path / "more")
