"""A row that a task can't use is named, or dropped and counted where that is asked for."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tombola.base.errors import DataError
from tombola.tasks.data.rows import is_text
from tombola.tasks.data.sources import read, read_facts
from tombola.tasks.kinds.answers import answers_of
from tombola.tasks.task import Task, load_task

CLASSES = Task(
    name="mine", kind="classification", texts=("text",), labels=("no", "yes"), metric="accuracy"
)
VALUES = Task(name="mine", kind="regression", texts=("text",), metric="pearson")
NAN = float("nan")


def as_jsonl(rows: list[dict[str, Any]], path: Path) -> str:
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "line 3"


def as_json(rows: list[dict[str, Any]], path: Path) -> str:
    path.with_suffix(".json").write_text(json.dumps(rows))
    return "row 2, counted from 0"


def as_parquet(rows: list[dict[str, Any]], path: Path) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
    return "row 2, counted from 0"


def as_csv(rows: list[dict[str, Any]], path: Path) -> str:
    lines = [",".join("" if row[k] is None else str(row[k]) for k in row) for row in rows]
    path.with_suffix(".csv").write_text("\n".join(["text,label", *lines]))
    return "line 4"


LAYOUTS = (as_jsonl, as_json, as_parquet, as_csv)
Write = Callable[[list[dict[str, Any]], Path], str]


@pytest.mark.parametrize("write", LAYOUTS)
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("task", "label"), [(CLASSES, NAN), (CLASSES, None), (VALUES, NAN), (VALUES, float("inf"))]
)
def test_a_label_that_can_not_be_used_is_named_in_every_layout_and_split(
    tmp_path: Path, write: Write, split: str, task: Task, label: Any
) -> None:
    good: list[dict[str, Any]] = [{"text": f"a film {n}", "label": float(n % 2)} for n in range(4)]
    bad = [*good[:2], {"text": "a film", "label": label}, *good[2:]]
    places = {each: write(bad if each == split else good, tmp_path / each) for each in SPLITS}
    with pytest.raises(DataError) as caught:
        read_facts(task, str(tmp_path))
    said = str(caught.value)
    assert f"/{split}." in said
    assert f", {places[split]}, column 'label': the {split} split of task 'mine' needs " in said
    assert said.endswith("or leave such rows out with --drop-bad-rows.")
    facts = read_facts(replace(task, drop_bad_rows=True), str(tmp_path))
    assert {name: (c.rows, c.dropped) for name, c in facts.counts.items()} == {
        each: (4, {"label": 1} if each == split else {}) for each in SPLITS
    }
    assert facts.notes == (
        f"1 of 5 rows of {split} can't be used and were dropped: 1 for 'label'.",
    )


SPLITS = ("train", "test")


@pytest.mark.parametrize("write", LAYOUTS[:3])
def test_texts_and_answers_that_can_not_be_used_are_counted_apart(
    tmp_path: Path, write: Write
) -> None:
    task = Task(name="mine", kind="span", texts=("question", "context"), metric="f1")
    good: dict[str, Any] = {"question": "what?", "context": "a good film"}
    answers = {"text": ["good"], "answer_start": [2]}
    rows = [
        good | {"answers": answers},
        good | {"question": None, "answers": answers},
        good | {"answers": {"text": ["good"], "answer_start": [3]}},
        good | {"answers": {"text": [], "answer_start": []}},
        good | {"answers": None},
    ]
    write(rows, tmp_path / "train")
    write(rows[:1], tmp_path / "test")
    with pytest.raises(DataError, match=r"column 'question': .* needs a text, got nothing"):
        read(task, "train", tmp_path)
    found = read(replace(task, drop_bad_rows=True), "train", tmp_path)
    assert (len(found.rows), found.dropped) == (1, {"question": 1, "answers": 3})


def test_half_a_character_is_refused_with_its_row_or_dropped(tmp_path: Path) -> None:
    texts = ["a film", "a half \ud83d", "a good film"]
    rows = [{"text": text, "label": n % 2} for n, text in enumerate(texts)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = replace(CLASSES, labels=("0", "1"))
    with pytest.raises(DataError, match=r"line 2, .* needs a text of whole characters, got"):
        read_facts(task, str(tmp_path))
    facts = read_facts(replace(task, drop_bad_rows=True), str(tmp_path))
    assert facts.counts["train"].dropped == {"text": 1}
    assert not is_text(None)
    with pytest.raises(ValueError, match="answers as"):
        answers_of({"text": ["a", "\udc00"], "answer_start": [0, 0]}, "a film")


def test_dropped_rows_name_a_result_only_where_there_are_some(tmp_path: Path) -> None:
    rows = [{"text": f"a film {n}", "label": n % 2} for n in range(4)]
    worse = [*rows, {"text": "a film", "label": -1}]
    for folder, content in (("whole", rows), ("worse", worse)):
        (tmp_path / folder).mkdir()
        for split in SPLITS:
            as_jsonl(content, tmp_path / folder / split)
    dropping = replace(CLASSES, drop_bad_rows=True)
    assert dropping.identity == CLASSES.identity
    whole, same, left = (
        read_facts(task, str(tmp_path / folder)).fingerprint
        for task, folder in ((CLASSES, "whole"), (dropping, "whole"), (dropping, "worse"))
    )
    assert whole == same == left  # the same rows are one experiment


def test_nothing_but_bad_rows_is_reported(tmp_path: Path) -> None:
    for split in SPLITS:
        as_jsonl([{"text": "a film", "label": 7}] * 3, tmp_path / split)
    with pytest.raises(DataError, match="has no rows left: all 3 were dropped"):
        read(replace(CLASSES, drop_bad_rows=True), "train", tmp_path)


def test_labels_that_are_hidden_are_told_apart_from_one_bad_row(tmp_path: Path) -> None:
    rows = [{"text": f"a film {n}", "label": n % 2} for n in range(4)]
    as_jsonl(rows, tmp_path / "train")
    as_jsonl([row | {"label": -1} for row in rows], tmp_path / "test")
    with pytest.raises(DataError, match=r"labels of the test split .* Use another --eval-split"):
        read(CLASSES, "test", tmp_path)
    as_jsonl([*rows, {"text": "a film", "label": -1}], tmp_path / "test")
    with pytest.raises(DataError, match=r"line 5, column 'label': .* got '-1'"):
        read(CLASSES, "test", tmp_path)


def test_several_classes_in_a_row_are_refused_by_name(tmp_path: Path) -> None:
    as_jsonl([{"text": "a film", "label": [0, 1]}], tmp_path / "train")
    with pytest.raises(DataError, match="multi-label classification, is not supported yet"):
        read(CLASSES, "train", tmp_path)


def test_a_class_that_is_written_in_two_ways_is_reported(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": label} for label in ("1", "01", "yes", "no")]
    as_jsonl(rows, tmp_path / "train")
    as_jsonl(rows, tmp_path / "test")
    found = read(CLASSES, "train", tmp_path)
    assert [row["label"] for row in found.rows] == [1, 1, 1, 0]
    assert found.notes == ["the column 'label' writes the class yes as '01', '1', 'yes'."]


def test_columns_that_nobody_asked_for_never_break_the_reading(tmp_path: Path) -> None:
    row = {"text": "a film", "label": 1}
    others: list[Any] = [10**30, "x", [None, {}]]
    lines = [json.dumps(row | {"id": other}) for other in others]
    (tmp_path / "train-00000-of-00002.jsonl").write_text("\n".join(lines))
    (tmp_path / "train-00001-of-00002.jsonl").write_text(json.dumps(row | {"label": 1.0}))
    (tmp_path / "test.jsonl").write_text(json.dumps(row | {"label": "1"}))
    assert read(CLASSES, "train", tmp_path).rows == [row] * 4
    assert read(CLASSES, "test", tmp_path).rows == [row]


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.float32(), pa.float64(), pa.string(), pa.bool_(), pa.decimal128(25, 2)]
)
def test_shards_of_every_type_are_one_column(tmp_path: Path, kind: pa.DataType) -> None:
    for number, each in enumerate((pa.int64(), kind)):
        table = pa.table({"text": ["a", "b"], "label": pa.array([0, 1]).cast(each)})
        pq.write_table(table, tmp_path / f"train-{number:05}-of-00002.parquet")
    pq.write_table(table, tmp_path / "test.parquet")
    assert [row["label"] for row in read(CLASSES, "train", tmp_path).rows[2:]] == [0, 1]


def test_similarity_scores_have_one_fingerprint_from_floats_and_from_text(tmp_path: Path) -> None:
    scores = ["3.800", "0.2", "5.000", "4"]
    for folder in ("floats", "texts", "doubles"):
        (tmp_path / folder).mkdir()
    for split in SPLITS:
        texts = [f"a film {n}" for n in range(4)]
        numbers = pa.array(map(float, scores), pa.float32())
        table = pa.table({"text": texts, "label": numbers})
        pq.write_table(table, tmp_path / "floats" / f"{split}.parquet")
        as_jsonl(table.to_pylist(), tmp_path / "doubles" / split)
        rows = [{"text": t, "label": score} for t, score in zip(texts, scores, strict=True)]
        as_csv(rows, tmp_path / "texts" / split)
    places = ("floats", "texts", "doubles")
    assert len({read_facts(VALUES, str(tmp_path / each)).fingerprint for each in places}) == 1


def test_the_original_mrpc_is_divided_as_glue_does(tmp_path: Path) -> None:
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    lines = [f'{n % 2}\t{n}\t{n + 100}\t"he said {n}\tshe "said {n}\n' for n in range(40)]
    (tmp_path / "msr_paraphrase_train.txt").write_text(header + "".join(lines[:30]))
    (tmp_path / "msr_paraphrase_test.txt").write_text(header + "".join(lines[30:]))
    task = load_task("glue/mrpc")
    without = read(task, "validation", tmp_path)
    assert len(read(task, "train", tmp_path).rows) == 30
    assert [row["sentence1"] for row in without.rows] == [f'"he said {n}' for n in range(30, 40)]
    assert "msr_paraphrase_test.txt are the development set" in without.notes[0]
    (tmp_path / "dev_ids.tsv").write_text("".join(f"{n}\t{n + 100}\n" for n in range(0, 30, 3)))
    assert len(read(task, "train", tmp_path).rows) == 20
    drawn = read(task, "validation", tmp_path)
    assert [row["sentence2"] for row in drawn.rows] == [f'she "said {n}' for n in range(0, 30, 3)]
    assert drawn.notes == []


def test_classes_that_a_file_numbers_in_another_order_are_refused(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    for names, said in ((["no", "yes"], ""), (["yes", "no"], "expected the classes of 'label'")):
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        made = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
        for split in SPLITS:
            made.to_parquet(tmp_path / f"{split}.parquet")
        if said:
            with pytest.raises(DataError, match=said):
                read(CLASSES, "train", tmp_path)
        else:
            assert [row["label"] for row in read(CLASSES, "train", tmp_path).rows] == [0, 1]


def test_a_lone_dataset_on_disk_is_shared_out(tmp_path: Path) -> None:
    from datasets import Dataset

    texts, labels = [f"a film {n}" for n in range(40)], [n % 2 for n in range(40)]
    Dataset.from_dict({"text": texts, "label": labels}).save_to_disk(tmp_path / "mine")
    sizes = [
        len(read(CLASSES, split, tmp_path / "mine").rows) for split in ("train", "dev", "test")
    ]
    assert sizes == [28, 4, 8]
