"""A user's own task: a CSV folder with flags, or a YAML file."""

import json
from pathlib import Path
from typing import Any

import pytest

from tombola.base.errors import DataError, SpecError
from tombola.base.specs import TaskSpec
from tombola.tasks.data.sources import read_split
from tombola.tasks.own_task import named_task
from tombola.tasks.task import Task, load_task


def csv_folder(folder: Path, rows: str, header: str = "title,body,stars") -> Path:
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text(f"{header}\n{rows}", encoding="utf-8")
    return folder


ROWS = '"a, b",first,good\n"c ""d""\ne",second,bad\n'
NUMBERS = "a,b,0\nc,d,2\ne,f,10\n"
OWN = TaskSpec(text_columns=("title", "body"), label_column="stars")


def test_a_folder_of_csv_files_is_a_task_by_its_flags(tmp_path: Path) -> None:
    task = named_task(f"csv:{csv_folder(tmp_path, ROWS)}", OWN)
    assert (task.kind, task.metric, task.labels) == ("classification", "accuracy", ("bad", "good"))
    assert read_split(task, "train") == [
        {"title": "a, b", "body": "first", "label": 1},
        {"title": 'c "d"\ne', "body": "second", "label": 0},
    ]
    assert task.identity[:2] == ["csv", 1]
    assert str(tmp_path) not in json.dumps(task.identity)


def test_a_blank_class_is_reported_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.csv', line 3, column 'stars': .* got ' '\."):
        named_task(f"csv:{csv_folder(tmp_path, 'a,b,good' + chr(10) + 'c,d, ' + chr(10))}", OWN)


def test_numbers_in_a_csv_file_are_classes_or_values_as_the_kind_says(tmp_path: Path) -> None:
    place = f"csv:{csv_folder(tmp_path, NUMBERS)}"
    classes = named_task(place, OWN)
    assert classes.labels == ("0", "2", "10")
    assert [row["label"] for row in read_split(classes, "train")] == [0, 1, 2]
    (tmp_path / "test.csv").write_text("title,body,stars\na,b,1\n")
    with pytest.raises(DataError, match=r"test.csv', line 2, .* '0', '2', '10', got '1'\."):
        read_split(classes, "test")
    (tmp_path / "test.csv").write_text("title,body,stars\na,b,2.0\nc,d,+010\n")
    assert [row["label"] for row in read_split(classes, "test")] == [1, 2]
    spec = TaskSpec(
        text_columns=("title",), label_column="stars", kind="regression", metric="spearman"
    )
    values = named_task(place, spec)
    assert (values.metric, values.labels) == ("spearman", ())
    assert [row["label"] for row in read_split(values, "train")] == [0.0, 2.0, 10.0]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (TaskSpec(), "needs --text-columns: .*; found 'title', 'body', 'stars'"),
        (TaskSpec(text_columns=("titel",)), "expected the column 'titel' of --text-columns"),
        (TaskSpec(text_columns=("title",)), "expected the column 'label' of --label-column"),
        (TaskSpec(kind="span"), "no kind of csv:DIR or csv:FILE 'span'"),
        (
            TaskSpec(kind="multi-label"),
            r"multi-label classification\) is not supported yet",
        ),
        (TaskSpec(kind="token-classification"), r"not supported yet. The kinds are [a-z, ]*\.$"),
        (TaskSpec(kind="clm"), "causal language modelling"),
        (
            TaskSpec(text_columns=("title",), label_column="stars", metric="macro-f1"),
            r"F1 averaged over classes\) is not supported yet\. Metrics for classification: "
            r"accuracy, matthews, binary-f1\.$",
        ),
        (
            TaskSpec(text_columns=("title",), label_column="stars", metric="pearson"),
            "no metric of kind classification 'pearson'",
        ),
        (
            TaskSpec(text_columns=("title", "body", "stars"), label_column="stars"),
            "needs 1 or 2 columns with text",
        ),
    ],
)
def test_flags_that_do_not_fit_a_csv_folder_are_reported(
    tmp_path: Path, spec: TaskSpec, said: str
) -> None:
    with pytest.raises((SpecError, DataError), match=said):
        named_task(f"csv:{csv_folder(tmp_path, ROWS)}", spec)


def test_a_file_with_a_column_twice_is_refused_without_a_word_of_flags(tmp_path: Path) -> None:
    (tmp_path / "dup.csv").write_text("text,text,label\na film,a day,good\n")
    with pytest.raises(DataError) as caught:
        named_task(f"csv:{tmp_path / 'dup.csv'}", TaskSpec())
    assert str(caught.value) == (
        f"{str(tmp_path / 'dup.csv')!r} has two columns 'text'. Give each a name of its own."
    )
    (tmp_path / "dup.csv").write_text(",,text\n1,2,a film\n")
    assert named_task(f"csv:{tmp_path / 'dup.csv'}", TaskSpec(kind="mlm")).texts == ("text",)


def labelled(folder: Path, labels: list[str]) -> str:
    """A task over one file with these labels."""
    lines = [f"a film of the year {label},{label}" for label in labels]
    (folder / "many.csv").write_text("\n".join(["text,label", *lines]))
    return f"csv:{folder / 'many.csv'}"


def test_a_column_of_ids_is_no_column_of_classes(tmp_path: Path) -> None:
    place = labelled(tmp_path, [f"id{number}" for number in range(200)])
    with pytest.raises(DataError) as caught:
        named_task(place, TaskSpec())
    assert str(caught.value) == (
        f"{str(tmp_path / 'many.csv')!r}, column 'label': 200 classes in 200 rows; is it an id? "
        "Pass another --label-column, or --labels."
    )
    named = tuple(f"id{number}" for number in range(200))
    assert named_task(place, TaskSpec(labels=named)).labels == named
    place = labelled(tmp_path, [str(number) for number in range(200)])
    with pytest.raises(DataError, match=r"an id, or a value to predict\?.* --kind regression,"):
        named_task(place, TaskSpec())
    assert named_task(place, TaskSpec(kind="regression")).labels == ()


@pytest.mark.parametrize(("classes", "rows"), [(20, 20), (100, 200)])
def test_few_classes_or_classes_that_repeat_are_no_ids(
    classes: int, rows: int, tmp_path: Path
) -> None:
    place = labelled(tmp_path, [f"class {number % classes}" for number in range(rows)])
    assert len(named_task(place, TaskSpec()).labels) == classes


def test_a_csv_line_with_too_many_fields_is_reported_with_its_number(tmp_path: Path) -> None:
    csv_folder(tmp_path, "a,b,good\na,b,c,good\n")
    with pytest.raises(DataError, match=r"train.csv': line 3 has 4 fields, the header 3\."):
        named_task(f"csv:{tmp_path}", OWN)
    with pytest.raises(DataError, match=r"expected train.csv and test.csv .*, found nothing"):
        named_task(f"csv:{tmp_path / 'nowhere'}", OWN)


def test_flags_describe_no_task_that_is_described_already() -> None:
    for spec in (OWN, TaskSpec(metric="matthews"), TaskSpec(kind="span")):
        with pytest.raises(SpecError, match="describes csv:DIR or csv:FILE, got it for the ta"):
            named_task("glue/cola", spec)
    assert named_task("mlm", TaskSpec(text_columns=("body",))).texts == ("body",)
    with pytest.raises(SpecError, match="not trained on, got 'train'"):
        named_task("sentiment", TaskSpec(eval_split="train"))


YAML = """\
kind: classification
texts: [sentence]
label: stars
labels: [bad, good]
metric: matthews
data: files
recipe: {epochs: 1}
"""


def test_a_task_of_one_s_own_is_a_yaml_file_next_to_its_data(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    csv_folder(tmp_path / "files", "a film,good\n", header="sentence,stars")
    file = tmp_path / "mine.yaml"
    file.write_text(YAML)
    task = named_task(str(file), TaskSpec())
    assert (task.name, task.version, task.recipe.epochs) == ("mine", 1, 1.0)
    assert read_split(task, "train") == [{"sentence": "a film", "label": 1}]
    assert Task.from_json(task.to_json()) == task


def test_a_task_of_one_s_own_is_named_by_what_it_defines_in_results(tmp_path: Path) -> None:
    names: list[list[Any]] = []
    for change in (
        "",
        "about: Is it?\nmargin: 2\nrecipe: {epochs: 9}",
        "metric: accuracy",
        "name: sentiment",
    ):
        file = tmp_path / f"{len(names)}" / "mine.yaml"
        file.parent.mkdir()
        kept = [line for line in YAML.split("\n") if not change or line.split(":")[0] not in change]
        file.write_text("\n".join([*kept, change]))
        names.append(named_task(str(file), TaskSpec()).identity)
    assert names[0] == names[1] == ["mine", 1, names[0][2]]
    assert names[2] != names[0]
    assert names[3] != load_task("sentiment").identity == ["sentiment", 1]


def test_a_task_without_data_says_how_to_name_them(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(YAML.replace("data: files\n", ""))
    with pytest.raises(DataError, match=r"'mine' names no data.* Pass their folder as --data"):
        read_split(load_task(str(tmp_path / "mine.yaml")), "train")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "expected a task as YAML in .*No such file"),
        ("a: [", "expected a task as YAML in"),
        ("- a", "expected `field: value` lines"),
        (
            YAML.replace("[sentence]", "sentence"),
            r"a list as 'texts' in .*, got 'sentence'\. Write \[sentence\]",
        ),
        (
            YAML.replace("[bad, good]", "[no, yes]"),
            r"text as 'labels\.0' in .*, got false\. Put it in quotes",
        ),
        (YAML.replace("matthews", "mathews"), "'mathews'. Did you mean 'matthews'"),
        (YAML.replace("classification", "clasification"), "Did you mean 'classification'"),
        (YAML.replace("epochs: 1", "epoch: 1"), "mine.yaml: .*epoch"),
    ],
)
def test_a_yaml_file_that_is_not_a_task_is_refused(
    tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises((SpecError, DataError), match=said) as caught:
        load_task(str(file))
    assert "\n" not in str(caught.value)


def test_labels_that_are_one_number_are_refused(tmp_path: Path) -> None:
    place = f"csv:{csv_folder(tmp_path, NUMBERS)}"
    for labels in (("1", "1.0", "2"), ("a", "a")):
        with pytest.raises(SpecError, match="needs labels that differ, got"):
            named_task(
                place, TaskSpec(text_columns=("title",), label_column="stars", labels=labels)
            )
