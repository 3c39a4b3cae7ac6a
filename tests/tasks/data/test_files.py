"""What is wrong with a folder of files is reported in one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tombola.base.errors import DataError
from tombola.tasks.data.sources import data_fingerprint, read_split
from tombola.tasks.task import load_task

FIXTURES = Path(__file__).parents[2] / "fixtures"


def not_utf8(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"sentence,label\ncaf\xe9,1\n")
    return path


@pytest.mark.parametrize("name", ["train.csv", "train.txt", "train.jsonl", "train.tsv"])
def test_a_file_that_is_not_utf8_is_reported_with_the_byte(tmp_path: Path, name: str) -> None:
    not_utf8(tmp_path, name)
    with pytest.raises(DataError, match=rf"{name}' is not UTF-8: byte 18 is 0xe9\."):
        read_split(load_task("sentiment"), "train", tmp_path)


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[1, 2]", '{"a": 1}\n{'):
        (tmp_path / "train.json").write_text(text)
        with pytest.raises(DataError, match=r"train.json'"):
            read_split(load_task("sentiment"), "train", tmp_path)


def test_of_several_formats_of_a_split_one_is_read(tmp_path: Path) -> None:
    write(tmp_path, "train", [ROW])
    shutil.copy(FIXTURES / "squad_json/train-v1.1.json", tmp_path / "train.json")
    assert len(read_split(load_task("sentiment"), "train", tmp_path)) == 1


def test_labels_that_are_written_out_are_classes(tmp_path: Path) -> None:
    rows = [{"sentence": "a", "label": each} for each in ("positive", "negative", " 1 ", "fine")]
    write(tmp_path, "train", rows[:3])
    labels = [row["label"] for row in read_split(load_task("sentiment"), "train", tmp_path)]
    assert labels == [1, 0, 1]
    write(tmp_path, "train", rows)
    said = refusal(tmp_path)
    assert (
        "row 3, counted from 0, column 'label': the train split of task 'sentiment' needs" in said
    )
    assert "one of the 2 classes 'negative', 'positive', got 'fine'." in said


def write(folder: Path, split: str, rows: list[dict[str, Any]], part: int = 0) -> Path:
    path = folder / f"{split}-{part:05}-of-00002.parquet"
    schema = None if rows else pa.schema({"sentence": pa.string(), "label": pa.int64()})
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


ROW = {"sentence": "a film", "label": 1, "more": 3}


def refusal(folder: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        read_split(load_task("sentiment"), split, folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def test_the_files_of_a_split_are_read_in_order_and_without_other_columns(tmp_path: Path) -> None:
    write(tmp_path, "train", [ROW | {"label": 0}], part=1)
    write(tmp_path, "train", [ROW], part=0)
    assert read_split(load_task("sentiment"), "train", tmp_path) == [
        {"sentence": "a film", "label": 1},
        {"sentence": "a film", "label": 0},
    ]


def test_a_missing_split_is_reported_with_those_that_are_there(tmp_path: Path) -> None:
    assert "found no data files" in refusal(tmp_path)
    assert "found no data files" in refusal(tmp_path / "nowhere")
    write(tmp_path, "train", [ROW])
    write(tmp_path, "validation", [ROW])
    said = refusal(tmp_path, "test")
    assert said.startswith("task 'sentiment' needs the split 'test' in ")
    assert "found train, validation. Add it, or use another --eval-split" in said


def test_a_missing_column_is_reported_with_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path, "train", [{"text": "a film", "label": 1}])
    assert refusal(tmp_path) == (
        f"{str(path)!r}: the train split of task 'sentiment' needs the column 'sentence', found "
        "'text', 'label'. Add it."
    )


def test_an_empty_split_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "train", [])
    assert "has no rows" in refusal(tmp_path)


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, "train", [ROW] * 50)
    whole = path.read_bytes()
    damages = [b"", b"no parquet at all", whole[: len(whole) // 2], b"X" * 40 + whole[40:]]
    for damaged in damages:
        path.write_bytes(damaged)
        assert "can't read the train split" in refusal(tmp_path)


def test_files_of_unlike_types_are_read_row_by_row(tmp_path: Path) -> None:
    write(tmp_path, "train", [ROW | {"more": None}], part=0)
    path = write(tmp_path, "train", [{"sentence": "a film", "label": "negative"}], part=1)
    labels = [row["label"] for row in read_split(load_task("sentiment"), "train", tmp_path)]
    assert labels == [1, 0]
    write(tmp_path, "train", [{"sentence": "a film", "label": "good"}], part=1)
    assert refusal(tmp_path).startswith(f"{str(path)!r}, row 0, counted from 0, column 'label': ")


def test_the_fingerprint_of_data_sees_rows_and_not_files(tmp_path: Path) -> None:
    rows = [{"sentence": f"film {n}", "label": n % 2} for n in range(4)]
    expected = data_fingerprint(rows, rows[:1])
    assert data_fingerprint([dict(reversed(row.items())) for row in rows], rows[:1]) == expected
    others = [
        data_fingerprint(rows[:3], rows[:1]),
        data_fingerprint(rows[::-1], rows[:1]),
        data_fingerprint(rows + rows[:1], []),
        data_fingerprint([rows[0] | {"label": 1}, *rows[1:]], rows[:1]),
    ]
    assert len({expected, *others}) == 5


def test_what_datasets_caches_next_to_a_split_is_not_part_of_it(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict, load_from_disk

    rows = Dataset.from_dict({"sentence": ["A Film", "A Plot"], "label": [1, 0]})
    DatasetDict({"train": rows}).save_to_disk(tmp_path)
    load_from_disk(tmp_path)["train"].map(lambda row: {"sentence": row["sentence"].lower()})
    assert len(list((tmp_path / "train").glob("cache-*.arrow"))) == 1
    found = read_split(load_task("sentiment"), "train", tmp_path)
    assert [row["sentence"] for row in found] == ["A Film", "A Plot"]


def test_a_list_may_be_the_data_of_an_object_and_one_line_is_a_row(tmp_path: Path) -> None:
    row = {"sentence": "a film", "label": 1}
    for content in (json.dumps({"version": 1, "data": [row]}, indent=1), json.dumps(row)):
        (tmp_path / "train.json").write_text(content)
        assert read_split(load_task("sentiment"), "train", tmp_path) == [row]


def test_json_that_is_damaged_is_reported_with_its_line(tmp_path: Path) -> None:
    row = json.dumps(ROW)
    for damage in ("{", "[" * 100_000, f'{{"label": {"1" * 5000}}}'):
        (tmp_path / "train.jsonl").write_text(f"{row}\n\n{damage}\n{row}\n")
        assert "train.jsonl' is neither a JSON list nor JSON lines: line 3: " in refusal(tmp_path)
