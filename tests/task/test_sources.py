"""The same rows come out of every layout, and whatever is amiss is told in one line."""

import json
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tombola.errors import DataError, SpecError
from tombola.specs import TaskSpec
from tombola.task import hub
from tombola.task.glue_tsv import GlueTsv
from tombola.task.own import named_task
from tombola.task.sources import data_fingerprint, open_source, read_split
from tombola.task.tasks import Task, load_task, task_names

FIXTURES = Path(__file__).parents[1] / "fixtures"
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


def test_lines_of_qqp_that_are_no_rows_are_passed_over_counted_and_told() -> None:
    notes: list[str] = []
    place = FIXTURES / "glue_tsv/QQP"
    rows = read_split(load_task("glue/qqp"), "train", place, notes=notes)
    lines = (place / "train.tsv").read_text(encoding="utf-8").splitlines()
    assert (len(lines), len(rows)) == (51, 48)
    assert notes == ["2 of 50 lines of train.tsv have other than 6 fields and were passed over."]


def tsv(folder: Path, text: str, **columns: str | int) -> list[dict[str, Any]]:
    (folder / "train.tsv").write_bytes(text.encode())
    rows: list[dict[str, Any]] = GlueTsv(folder, columns).table("train", 0).to_pylist()
    return rows


def test_quotes_and_odd_line_ends_inside_a_text_mean_nothing(tmp_path: Path) -> None:
    text = 'a "b\x85c\u2028d\te\r\n"f" g\th\r\n'.encode().decode("unicode_escape")
    assert tsv(tmp_path, text, first=0, second=1) == [
        {"first": 'a "b\x85c\u2028d'.encode().decode("unicode_escape"), "second": "e"},
        {"first": '"f" g', "second": "h"},
    ]


def test_a_byte_order_mark_is_no_part_of_a_column_s_name(tmp_path: Path) -> None:
    assert tsv(tmp_path, "\ufeffQuality\tx\n1\ty\n", label="Quality") == [{"label": "1"}]


def test_a_file_of_another_release_is_told_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the column 'label', found a, b\.$"):
        tsv(tmp_path, "a\tb\n1\t2\n", label="label")
    with pytest.raises(DataError, match="expected 4 fields or more in each line, got 2"):
        tsv(tmp_path, "a\tb\n", sentence=3)


def test_other_people_s_json_in_the_place_of_squad_is_told(tmp_path: Path) -> None:
    for text in ("[]", "{", '{"data": [{"paragraphs": [{}]}]}'):
        (tmp_path / "train-v1.1.json").write_text(text)
        with pytest.raises(DataError, match=r"train-v1.1.json' is not laid out as SQuAD 1.1"):
            read_split(load_task("squad"), "train", tmp_path)


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
    from tombola.task.sources import _half

    return _half({"sentence": text, "label": 1}, task)


HALVES = {
    "John ate.": "dev",
    "Ate John.": "dev",
    "The cat sleeps.": "test",
    "Sleeps cat the.": "dev",
}
"""Pinned: another rule would change what every score of GLUE is taken from."""


def test_mnli_is_scored_on_the_mismatched_genres_besides() -> None:
    task = load_task("glue/mnli")
    for split, size in (("validation", 24), ("test", 15)):
        beside = named_task("glue/mnli", TaskSpec(eval_split=split)).scored_beside()
        assert list(beside) == ["mismatched"]
        rows = read_split(beside["mismatched"], split, FIXTURES / "glue_parquet")
        assert len(rows) == size
    assert not named_task("glue/mnli", TaskSpec(eval_split="validation_mismatched")).scored_beside()
    assert task.scored_beside()["mismatched"].divided == "validation_mismatched"


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


def test_too_few_texts_to_hold_some_out_are_told(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("one line\nand another\n")
    with pytest.raises(DataError, match="three texts or more to hold some out, got 2"):
        read_split(load_task("mlm"), "train", tmp_path)


def test_a_limit_on_training_rows_takes_the_first(tmp_path: Path) -> None:
    task = Task(name="mine", kind="mlm", texts=("text",), metric="masked-accuracy", train_rows=2)
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("a\nb\nc\n")
    assert [row["text"] for row in read_split(task, "train", tmp_path)] == ["a", "b"]
    assert [row["text"] for row in read_split(task, "test", tmp_path)] == ["a", "b", "c"]


# the hub


class Answer:
    """What `datasets` gives."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def with_format(self, name: str) -> pa.Table:
        assert name == "arrow"
        return self.table


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub with one data set, and what it was asked for."""
    asked: list[dict[str, Any]] = []

    def load(name: str, configuration: str | None, **more: Any) -> Answer:
        asked.append({"name": name, "configuration": configuration, **more})
        split = more["split"].split("[")[0]
        return Answer(pq.read_table(FIXTURES / f"glue_parquet/cola/{split}-00000-of-00001.parquet"))

    class Info:
        sha = "abc123"

    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr(
        "datasets.get_dataset_split_names", lambda *_, **__: ["train", "validation"]
    )
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_: Info())
    monkeypatch.setattr(hub, "_answers", lambda: True)
    return asked


def test_a_data_set_of_the_hub_is_read_at_the_revision_that_is_recorded(
    fake_hub: list[dict[str, Any]],
) -> None:
    task = load_task("glue/cola")
    assert task.place == "hub:nyu-mll/glue/cola"
    place = hub.pinned(task.place)
    assert place == "hub:nyu-mll/glue/cola@abc123"
    assert hub.pinned(place) == place
    rows = read_split(task, "train", place)
    assert rows == read_split(task, "train", FIXTURES / "glue_parquet")
    (asked,) = fake_hub
    assert (asked["name"], asked["configuration"]) == ("nyu-mll/glue", "cola")
    assert (asked["revision"], asked["split"]) == ("abc123", "train")
    assert "trust_remote_code" not in asked


def test_only_the_rows_that_are_used_are_asked_of_the_hub(fake_hub: list[dict[str, Any]]) -> None:
    open_source(load_task("glue/cola"), "hub:a/b").table("train", 7)
    assert fake_hub[0]["split"] == "train[:7]"


@pytest.mark.parametrize("revision", ["main", "refs/convert/parquet", "refs/pr/7"])
def test_a_revision_of_the_hub_may_have_slashes(revision: str) -> None:
    name = hub.HubName.parse(f"hub:a/b/c@{revision}")
    assert (name.dataset, name.configuration, name.revision) == ("a/b", "c", revision)
    assert str(name) == f"hub:a/b/c@{revision}"


def test_a_name_with_script_in_it_is_no_script(
    fake_hub: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError("Dataset 'a/transcripts' doesn't exist on the Hub")

    monkeypatch.setattr("datasets.load_dataset", absent)
    with pytest.raises(DataError, match="expected the data set 'hub:a/transcripts' on the hub"):
        read_split(load_task("glue/cola"), "train", "hub:a/transcripts")


def test_what_datasets_caches_beside_a_split_is_no_part_of_it(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict, load_from_disk

    rows = Dataset.from_dict({"sentence": ["A Film", "A Plot"], "label": [1, 0]})
    DatasetDict({"train": rows}).save_to_disk(tmp_path)
    load_from_disk(tmp_path)["train"].map(lambda row: {"sentence": row["sentence"].lower()})
    assert len(list((tmp_path / "train").glob("cache-*.arrow"))) == 1
    found = read_split(load_task("sentiment"), "train", tmp_path)
    assert [row["sentence"] for row in found] == ["A Film", "A Plot"]


def test_of_two_versions_of_squad_the_one_with_answers_is_read(tmp_path: Path) -> None:
    answered = {"text": ["yes"], "answer_start": [0]}
    for version, question in (("v1.1", "one?"), ("v2.0", "two?")):
        answers = [{"text": "yes", "answer_start": 0}]
        paragraph = {"context": "yes", "qas": [{"question": question, "answers": answers}]}
        for split in ("train", "dev"):
            path = tmp_path / f"{split}-{version}.json"
            path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    [row] = open_source(load_task("squad"), tmp_path).table("dev", 0).to_pylist()
    assert row == {"question": "one?", "context": "yes", "answers": answered}
    for path in tmp_path.glob("*-v1.1.json"):
        path.unlink()
    with pytest.raises(DataError, match=r"another version of SQuAD.* Give version 1\.1\."):
        open_source(load_task("squad"), tmp_path)


@pytest.mark.parametrize("name", ["hub:", "hub:one", "hub:a/b/c/d", "hub:a/b@"])
def test_a_data_set_that_is_misspelled_is_told(name: str) -> None:
    with pytest.raises(DataError, match=f"expected hub:OWNER/NAME.*got {name!r}"):
        hub.HubName.parse(name)


def test_a_data_set_script_is_refused(
    tmp_path: Path, fake_hub: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('this code has run')")
    with pytest.raises(DataError, match=r"mine.py, a script, which .*: refused"):
        read_split(load_task("glue/cola"), "train", tmp_path)

    def script(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Dataset scripts are no longer supported, but found glue.py")

    monkeypatch.setattr("datasets.load_dataset", script)
    with pytest.raises(DataError, match=r"'hub:a/b' is a script, .*: refused"):
        read_split(load_task("glue/cola"), "train", "hub:a/b")


def test_the_library_itself_runs_no_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import load_dataset

    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text("raise SystemExit('this code has run')")
    with pytest.raises((RuntimeError, ValueError, FileNotFoundError), match=r"script|code|data"):
        load_dataset(str(folder))


# a user's own


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


def test_a_blank_class_is_told_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a class in every training row, got none in row"):
        named_task(f"csv:{csv_folder(tmp_path, 'a,b,good' + chr(10) + 'c,d, ' + chr(10))}", OWN)


def test_numbers_in_a_csv_file_are_classes_or_values_as_the_kind_says(tmp_path: Path) -> None:
    place = f"csv:{csv_folder(tmp_path, NUMBERS)}"
    classes = named_task(place, OWN)
    assert classes.labels == ("0", "2", "10")
    assert [row["label"] for row in read_split(classes, "train")] == [0, 1, 2]
    (tmp_path / "test.csv").write_text("title,body,stars\na,b,1\n")
    assert read_split(classes, "test")[0]["label"] == "1"  # no class, which encoding refuses
    spec = TaskSpec(
        text_columns=("title",), label_column="stars", kind="regression", metric="spearman"
    )
    values = named_task(place, spec)
    assert (values.metric, values.labels) == ("spearman", ())
    assert [row["label"] for row in read_split(values, "train")] == [0.0, 2.0, 10.0]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (TaskSpec(), "needs --text-columns: .*; found title, body, stars"),
        (TaskSpec(text_columns=("titel",)), "expected the column 'titel' of --text-columns"),
        (TaskSpec(text_columns=("title",)), "expected the column 'label' of --label-column"),
        (TaskSpec(kind="span"), "no kind of csv:DIR 'span'"),
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
def test_flags_that_do_not_fit_a_csv_folder_are_told(
    tmp_path: Path, spec: TaskSpec, said: str
) -> None:
    with pytest.raises((SpecError, DataError), match=said):
        named_task(f"csv:{csv_folder(tmp_path, ROWS)}", spec)


def test_a_csv_line_with_too_many_fields_is_told_with_its_number(tmp_path: Path) -> None:
    csv_folder(tmp_path, "a,b,good\na,b,c,good\n")
    with pytest.raises(DataError, match=r"train.csv': line 3 has 4 fields, the header 3\."):
        named_task(f"csv:{tmp_path}", OWN)
    with pytest.raises(DataError, match=r"expected train.csv or train.tsv in .*, found nothing"):
        named_task(f"csv:{tmp_path / 'nowhere'}", OWN)


def test_flags_describe_no_task_that_is_described_already() -> None:
    for spec in (OWN, TaskSpec(metric="matthews"), TaskSpec(kind="span")):
        with pytest.raises(SpecError, match="describes csv:DIR, got it for the task 'glue/cola'"):
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


def test_a_task_of_one_s_own_is_a_yaml_file_beside_its_data(tmp_path: Path) -> None:
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
    with pytest.raises(DataError, match=r"'mine' names no data.* Name their folder with --data"):
        read_split(load_task(str(tmp_path / "mine.yaml")), "train")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "expected a task as YAML in .*No such file"),
        ("a: [", "expected a task as YAML in"),
        ("- a", "expected `field: value` lines"),
        (YAML.replace("[sentence]", "sentence"), "texts are a list, got 'sentence'"),
        (
            YAML.replace("[bad, good]", "[no, yes]"),
            "labels are text, got False. Put text in quotes",
        ),
        (YAML.replace("matthews", "mathews"), "'mathews'. Did you mean 'matthews'"),
        (YAML.replace("classification", "clasification"), "Did you mean 'classification'"),
        (YAML.replace("epochs: 1", "epoch: 1"), "mine.yaml: .*epoch"),
    ],
)
def test_a_yaml_file_that_is_no_task_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises((SpecError, DataError), match=said) as caught:
        load_task(str(file))
    assert "\n" not in str(caught.value)


# files


def not_utf8(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"sentence,label\ncaf\xe9,1\n")
    return path


@pytest.mark.parametrize("name", ["train.csv", "train.txt", "train.jsonl", "train.tsv"])
def test_a_file_that_is_no_utf8_is_told_with_the_byte(tmp_path: Path, name: str) -> None:
    not_utf8(tmp_path, name)
    with pytest.raises(DataError, match=rf"{name}' is no UTF-8: byte 18 is 0xe9\."):
        read_split(load_task("sentiment"), "train", tmp_path)


def test_json_that_is_none_is_told(tmp_path: Path) -> None:
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
    write(tmp_path, "train", rows)
    labels = [row["label"] for row in read_split(load_task("sentiment"), "train", tmp_path)]
    assert labels == [1, 0, 1, "fine"]


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


def test_a_missing_split_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    assert "found no data files" in refusal(tmp_path)
    assert "found no data files" in refusal(tmp_path / "nowhere")
    write(tmp_path, "train", [ROW])
    write(tmp_path, "validation", [ROW])
    said = refusal(tmp_path, "test")
    assert said.startswith("task 'sentiment' needs the split 'test' in ")
    assert "found train, validation. Name another with --eval-split" in said


def test_a_missing_column_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, "train", [{"text": "a film", "label": 1}])
    assert refusal(tmp_path) == (
        "task 'sentiment' needs the column 'sentence' in the train split, found text, label."
    )


def test_an_empty_split_is_told(tmp_path: Path) -> None:
    write(tmp_path, "train", [])
    assert "has no rows" in refusal(tmp_path)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "train", [ROW] * 50)
    whole = path.read_bytes()
    damages = [b"", b"no parquet at all", whole[: len(whole) // 2], b"X" * 40 + whole[40:]]
    for damaged in damages:
        path.write_bytes(damaged)
        assert "can't read the train split" in refusal(tmp_path)


def test_files_that_do_not_fit_together_are_told_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, "train", [ROW], part=0)
    write(tmp_path, "train", [{"sentence": "a film", "label": "good"}], part=1)
    assert "can't read the train split" in refusal(tmp_path)


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
