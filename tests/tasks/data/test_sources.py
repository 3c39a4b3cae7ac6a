"""The same rows come out of every layout, and whatever is wrong is reported in one line."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tombola.base.errors import DataError
from tombola.base.specs import TaskSpec
from tombola.tasks.data.glue_tsv import GlueTsv
from tombola.tasks.data.sources import data_fingerprint, open_source, read, read_split
from tombola.tasks.data.splits import half
from tombola.tasks.own_task import named_task
from tombola.tasks.task import Task, load_task, task_names

FIXTURES = Path(__file__).parents[2] / "fixtures"
GLUE = [name for name in task_names() if name.startswith("glue/")]
SPLITS = ("train", "dev", "test", "validation")


# the published layouts


def stripped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the spaces that SST-2 has at the end of its sentences."""
    return [{k: v.strip() if isinstance(v, str) else v for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("name", [*GLUE, "squad"])
def test_both_layouts_of_a_task_have_the_same_rows(name: str) -> None:
    task = load_task(name)
    first, second = (
        ("squad_json", "squad_parquet") if name == "squad" else ("glue_tsv", "glue_parquet")
    )
    for split in SPLITS:
        original, theirs = (read_split(task, split, FIXTURES / each) for each in (first, second))
        assert stripped(original) == stripped(theirs)
        assert all(set(row) == set(task.columns) for row in original)
        if name != "glue/sst2":
            assert data_fingerprint(original) == data_fingerprint(theirs)


@pytest.mark.parametrize(
    "place", ["glue_tsv", "glue_tsv/MNLI", "glue_parquet", "glue_parquet/mnli"]
)
def test_a_task_finds_its_own_folder_in_that_of_all(place: str) -> None:
    task = load_task("glue/mnli")
    assert len(read_split(task, "train", FIXTURES / place)) == 48
    assert len(read_split(task, "validation", FIXTURES / place)) == 24
    assert len(read_split(task, "validation_mismatched", FIXTURES / place)) == 24


def test_lines_of_qqp_that_are_not_rows_are_skipped_counted_and_reported() -> None:
    place = FIXTURES / "glue_tsv/QQP"
    found = read(load_task("glue/qqp"), "train", place)
    rows, notes = found.rows, found.notes
    lines = (place / "train.tsv").read_text(encoding="utf-8").splitlines()
    assert (len(lines), len(rows)) == (51, 48)
    assert notes == ["2 of 50 lines of train.tsv don't have 6 fields and were skipped."]


def tsv(folder: Path, text: str, **columns: str | int) -> list[dict[str, Any]]:
    (folder / "train.tsv").write_bytes(text.encode())
    (part,) = GlueTsv(folder, columns).parts("train", tuple(columns), 0)
    return [dict(row) for row in part.rows]


def test_quotes_and_odd_line_ends_inside_a_text_mean_nothing(tmp_path: Path) -> None:
    text = 'a "b\x85c\u2028d\te\r\n"f" g\th\r\n'.encode().decode("unicode_escape")
    assert tsv(tmp_path, text, first=0, second=1) == [
        {"first": 'a "b\x85c\u2028d'.encode().decode("unicode_escape"), "second": "e"},
        {"first": '"f" g', "second": "h"},
    ]


def test_a_byte_order_mark_is_no_part_of_a_column_s_name(tmp_path: Path) -> None:
    assert tsv(tmp_path, "\ufeffQuality\tx\n1\ty\n", label="Quality") == [{"label": "1"}]


def test_a_file_of_another_release_is_reported_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the column 'label', found 'a', 'b'\.$"):
        tsv(tmp_path, "a\tb\n1\t2\n", label="label")
    with pytest.raises(DataError, match="expected 4 fields or more in each line, got 2"):
        tsv(tmp_path, "a\tb\n", sentence=3)


def test_other_people_s_json_in_the_place_of_squad_is_reported(tmp_path: Path) -> None:
    for text in ("[]", "{", '{"data": [{"paragraphs": [{}]}]}'):
        (tmp_path / "train-v1.1.json").write_text(text)
        with pytest.raises(DataError, match=r"train-v1.1.json' is not laid out as SQuAD 1.1"):
            read_split(load_task("squad"), "train", tmp_path)


def test_of_two_versions_of_squad_the_one_with_answers_is_read(tmp_path: Path) -> None:
    answered = {"text": ["yes"], "answer_start": [0]}
    for version, question in (("v1.1", "one?"), ("v2.0", "two?")):
        answers = [{"text": "yes", "answer_start": 0}]
        paragraph = {"context": "yes", "qas": [{"question": question, "answers": answers}]}
        for split in ("train", "dev"):
            path = tmp_path / f"{split}-{version}.json"
            path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    [row] = read_split(load_task("squad"), "validation", tmp_path)
    assert row == {"question": "one?", "context": "yes", "answers": answered}
    for path in tmp_path.glob("*-v1.1.json"):
        path.unlink()
    with pytest.raises(DataError, match=r"another version of SQuAD.* Use version 1\.1\."):
        open_source(load_task("squad"), tmp_path)


# dev and test of one split


@pytest.mark.parametrize("name", [*GLUE, "squad"])
def test_dev_and_test_share_out_the_development_set(name: str) -> None:
    task = load_task(name)
    place = FIXTURES / ("squad_parquet" if name == "squad" else "glue_parquet")
    dev, test, whole = (read_split(task, split, place) for split in ("dev", "test", "validation"))
    assert min(len(dev), len(test)) > 0
    assert len(dev) + len(test) == len(whole)
    assert [row for row in whole if row in test] == test
    key = task.texts[-1] if name == "squad" else task.texts[0]
    if name in ("squad", "glue/sst2", "glue/cola"):
        assert not {row[key] for row in dev} & {row[key] for row in test}


def test_the_half_of_a_row_is_fixed_and_does_not_see_spaces() -> None:
    task = load_task("glue/cola")
    halves = {
        text: [read_split_of(task, f"{pad}{text}{pad}") for pad in ("", " ", "  ")]
        for text in ("John ate.", "Ate John.", "The cat sleeps.", "Sleeps cat the.")
    }
    assert all(len(set(each)) == 1 for each in halves.values())
    assert {text: each[0] for text, each in halves.items()} == HALVES


def read_split_of(task: Task, text: str) -> str:
    return half({"sentence": text, "label": 1}, task)


HALVES = {
    "John ate.": "dev",
    "Ate John.": "dev",
    "The cat sleeps.": "test",
    "Sleeps cat the.": "dev",
}
"""Pinned: another rule would change what every score of GLUE is taken from."""


def test_mnli_is_also_scored_on_the_mismatched_genres() -> None:
    task = load_task("glue/mnli")
    for split, size in (("validation", 24), ("test", 15)):
        beside = named_task("glue/mnli", TaskSpec(eval_split=split)).also_scored()
        assert list(beside) == ["mismatched"]
        rows = read_split(beside["mismatched"], split, FIXTURES / "glue_parquet")
        assert len(rows) == size
    assert not named_task("glue/mnli", TaskSpec(eval_split="validation_mismatched")).also_scored()
    assert task.also_scored()["mismatched"].divided == "validation_mismatched"


# texts of any kind


TEXTS = [f"text number {n} of a book" for n in range(300)]


def text_folder(folder: Path, suffix: str) -> Path:
    folder.mkdir()
    if suffix == ".txt":
        (folder / "one.txt").write_text("\n\n".join(TEXTS[:100]) + "\n", encoding="utf-8")
        (folder / "two.txt").write_text("\r\n".join(TEXTS[100:]), encoding="utf-8")
    elif suffix == ".jsonl":
        lines = (json.dumps({"text": text, "more": 1}) for text in TEXTS)
        (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    elif suffix == ".json":
        (folder / "train.json").write_text(json.dumps([{"text": text} for text in TEXTS]))
    elif suffix == ".arrow":
        (folder / "train").mkdir()
        (folder / "dataset_dict.json").write_text("{}")
        (folder / "train" / "state.json").write_text("{}")
        table = pa.table({"text": TEXTS})
        with pa.ipc.new_stream(folder / "train" / "data-00000-of-00001.arrow", table.schema) as out:
            out.write_table(table)
    else:
        (folder / "data").mkdir()
        pq.write_table(pa.table({"text": TEXTS}), folder / "data" / "train-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json", ".arrow", ".parquet"])
def test_texts_without_a_test_split_are_shared_out_whatever_their_format(
    tmp_path: Path, suffix: str
) -> None:
    place = text_folder(tmp_path / "texts", suffix)
    parts = {
        split: [row["text"] for row in read_split(load_task("mlm"), split, place)]
        for split in ("train", "dev", "test")
    }
    assert {split: len(texts) for split, texts in parts.items()} == {
        "train": 294,
        "dev": 3,
        "test": 3,
    }
    assert sorted(chain.from_iterable(parts.values())) == sorted(TEXTS)
    again = text_folder(tmp_path / "again", ".txt")
    assert parts["test"] == [row["text"] for row in read_split(load_task("mlm"), "test", again)]


def test_too_few_texts_to_hold_some_out_are_reported(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("one line\nand another\n")
    with pytest.raises(DataError, match="three texts or more to hold some out, got 2"):
        read_split(load_task("mlm"), "train", tmp_path)


def test_a_limit_on_training_rows_takes_the_first(tmp_path: Path) -> None:
    task = Task(name="mine", kind="mlm", texts=("text",), metric="masked-accuracy", train_rows=2)
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("a\nb\nc\n")
    assert [row["text"] for row in read_split(task, "train", tmp_path)] == ["a", "b"]
    assert [row["text"] for row in read_split(task, "test", tmp_path)] == ["a", "b", "c"]
