"""Every shipped task can be read, and what it holds out is nowhere in training."""

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from tombola.base.errors import SpecError
from tombola.base.specs import TrainSpec
from tombola.tasks import task as tasks
from tombola.tasks.data.sources import read_split, split_sizes
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.metrics import METRICS
from tombola.tasks.task import CATALOG, Task, load_task, parse_task, task_names

SPLITS = ("train", "dev", "test")
NAMES = ["gloss-match", "gloss-span", "mlm", "sentiment", "supersense", "valence"]
"""The tasks whose data the package has."""
PAPER = [
    *(f"glue/{name}" for name in "mnli qqp stsb wnli qnli mrpc rte sst2 cola".split()),
    *("squad", "wikipedia-mlm"),
]

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def data() -> dict[tuple[str, str], Rows]:
    """Every row of the package, all columns."""
    return {
        (name, split): pq.read_table(sorted(load_task(name).folder.glob(f"{split}-*"))).to_pylist()
        for name in NAMES
        for split in SPLITS
    }


# the catalog


@pytest.mark.parametrize("name", NAMES + PAPER)
def test_a_shipped_task_is_whole(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert task.version >= 1
    assert task.about.endswith("?")
    assert task.source
    assert task.kind in TASK_KINDS
    assert task.metric in METRICS
    assert task.metric == ("matthews" if name == "glue/cola" else TASK_KINDS[task.kind].metrics[0])
    assert set(task.more) < set(METRICS)
    assert task.identity == [name, task.version]
    assert Task.from_json(task.to_json()) == task
    assert 0 < task.margin < 10
    assert task.test_split in SPLITS
    assert isinstance(task.recipe, TrainSpec)
    assert task.recipe.seed == 0
    assert len(set(task.labels)) == len(task.labels)


def test_every_file_of_the_catalog_is_a_task_with_data() -> None:
    assert set(task_names()) == {*NAMES, *PAPER}
    assert {path.suffix for path in CATALOG.rglob("*") if path.is_file()} == {".yaml"}
    assert {path.name for path in tasks.SUITE.iterdir()} == set(NAMES)
    assert [name for name in task_names() if load_task(name).embedded] == NAMES
    assert all(load_task(name).place == f"hub:{load_task(name).hub}" for name in PAPER)


def test_every_metric_is_of_some_kind_of_task() -> None:
    assert set(METRICS) == {metric for kind in TASK_KINDS for metric in TASK_KINDS[kind].metrics}


PUBLISHED = {
    "glue/mnli": (392702, 36816, 2e-5, 128),
    "glue/qqp": (363846, 34113, 2e-5, 128),
    "glue/stsb": (5749, 540, 2e-5, 128),
    "glue/wnli": (635, 60, 2e-5, 128),
    "glue/qnli": (104743, 9822, 2e-5, 128),
    "glue/mrpc": (3668, 345, 2e-5, 128),
    "glue/rte": (2490, 234, 2e-5, 128),
    "glue/sst2": (67349, 6315, 2e-5, 128),
    "glue/cola": (8551, 804, 2e-5, 128),
    "squad": (88656, 11082, 3e-5, 384),
    "wikipedia-mlm": (1600000, 10000, 5e-5, 512),
}
"""Task -> training examples, steps, peak learning rate and length of Chen et al. 2020."""


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_s_tasks_have_its_recipes(name: str) -> None:
    examples, steps, rate, length = PUBLISHED[name]
    recipe = load_task(name).recipe
    assert recipe.steps(examples) == steps
    assert (recipe.learning_rate, recipe.max_length) == (rate, length)
    assert (recipe.warmup, recipe.weight_decay, recipe.clip_norm) == (0.0, 0.0, 1.0)
    assert recipe.batch_size == (32 if name.startswith("glue/") else 16)


@pytest.mark.parametrize("name", NAMES)
def test_the_package_holds_the_splits_that_it_counts(name: str) -> None:
    task = load_task(name)
    read = [read_split(task, split) for split in SPLITS]
    assert split_sizes(task) == tuple(map(len, read))
    assert min(map(len, read)) > 300
    assert all(set(row) == set(task.columns) for rows in read for row in rows)


def test_a_mistyped_task_is_met_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"there is no task 'sentimnt'. Did you mean 'sentiment'\?"):
        load_task("sentimnt")
    with pytest.raises(SpecError, match="There are: gloss-match, gloss-span, glue/cola"):
        load_task("../tasks/mlm")


def parse(**changes: Any) -> Task:
    fields = yaml.safe_load((CATALOG / "sentiment.yaml").read_text(encoding="utf-8")) | changes
    return parse_task({k: v for k, v in fields.items() if v is not None}, "mine.yaml")


def test_a_field_that_does_not_exist_is_reported_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"mine.yaml: .*'metrics'. Did you mean 'metric'\?"):
        parse(metrics="accuracy")


@pytest.mark.parametrize("field", ["metric", "kind", "texts"])
def test_a_field_that_is_missing_is_reported(field: str) -> None:
    with pytest.raises(SpecError, match=f"as '{field}' in mine.yaml, got nothing. Add it."):
        parse(**{field: None})


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("margin", "1,5", "expected a number as 'margin' in mine.yaml, got '1,5'"),
        ("margin", -2, "mine.yaml: margin must be 0 or more points, got -2"),
        ("margin", float("nan"), "mine.yaml: margin must be 0 or more points, got nan"),
        ("margin", True, "expected a number as 'margin' in mine.yaml, got true"),
        ("data", 2024, "expected text as 'data' in mine.yaml, got 2024. Put it in quotes"),
        ("train_rows", 1.0, "a whole number as 'train_rows' in mine.yaml, got 1.0"),
        ("recipe", {"epochs": "abc"}, "a number as 'recipe.epochs' in mine.yaml, got 'abc'"),
        ("recipe", {"epochs": -1.0}, "mine.yaml: epochs must be above 0, got -1.0"),
        ("recipe", {"batch_size": 16.0}, "a whole number as 'recipe.batch_size' in mine.yaml"),
        ("recipe", {"blocks": "no"}, "true or false as 'recipe.blocks' in mine.yaml, got 'no'"),
        ("recipe", [1], "expected an object as 'recipe' in mine.yaml"),
    ],
)
def test_a_value_of_the_wrong_type_is_reported(field: str, value: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        parse(**{field: value})


def test_a_value_that_is_not_of_its_tag_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("about: !!int soon\n", encoding="utf-8")
    with pytest.raises(SpecError, match="expected a task as YAML in"):
        load_task(str(path))


def test_a_file_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for metric in ("accuracy", "matthews"):
        path.write_text(
            f"kind: classification\ntexts: [text]\nlabels: [a, b]\nmetric: {metric}\n",
            encoding="utf-8",
        )
        assert load_task(str(path)).metric == metric


def test_a_kind_of_task_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'clasification'. Did you mean 'classification'\?"):
        parse(kind="clasification")
    with pytest.raises(SpecError, match="two labels or more"):
        parse(labels=["only"])


def test_a_task_is_never_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_task("mlm").margin = 9.0  # type: ignore[misc]
    assert load_task("mlm") is load_task("mlm")


# the data


def words(text: str) -> str:
    """A text without case, marks and spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("name", NAMES)
def test_no_text_stands_in_two_splits(name: str, data: dict[tuple[str, str], Rows]) -> None:
    for column in load_task(name).texts:
        texts = [{words(row[column]) for row in data[name, split]} for split in SPLITS]
        assert "" not in set().union(*texts)
        assert len(set().union(*texts)) == sum(map(len, texts))


@pytest.mark.parametrize("name", ["sentiment", "supersense", "gloss-match"])
def test_every_class_is_there_and_no_other(name: str, data: dict[tuple[str, str], Rows]) -> None:
    for split in SPLITS:
        counts = Counter(row["label"] for row in data[name, split])
        assert set(counts) == set(range(len(load_task(name).labels)))
        assert max(counts.values()) < 1.5 * min(counts.values())


def test_valences_are_in_the_range_of_the_question(data: dict[tuple[str, str], Rows]) -> None:
    for split in SPLITS:
        values = [row["label"] for row in data["valence", split]]
        assert min(values) >= -4
        assert max(values) <= 4
        assert len(set(values)) > 50


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("column", ["sentence1", "sentence2"])
def test_each_example_and_definition_is_as_often_right_as_wrong(
    column: str, split: str, data: dict[tuple[str, str], Rows]
) -> None:
    balance: Counter[str] = Counter()
    for row in data["gloss-match", split]:
        balance[row[column]] += 1 if row["label"] else -1
    assert set(balance.values()) == {0}


@pytest.mark.parametrize("split", SPLITS)
def test_no_example_is_in_a_sense_and_not_in_it(
    split: str, data: dict[tuple[str, str], Rows]
) -> None:
    pairs = [(row["sentence1"], row["sentence2"]) for row in data["gloss-match", split]]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("split", SPLITS)
def test_answers_stand_where_they_are_said_to(
    split: str, data: dict[tuple[str, str], Rows]
) -> None:
    for row in data["gloss-span", split]:
        (answer,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert answer
        assert row["context"][start : start + len(answer)] == answer


def synsets(rows: Rows) -> set[str]:
    return {row[column] for row in rows for column in ("synset", "synset2", "id") if column in row}


def test_a_synset_held_out_by_one_task_trains_none(data: dict[tuple[str, str], Rows]) -> None:
    used = {split: set().union(*(synsets(data[name, split]) for name in NAMES)) for split in SPLITS}
    assert all(len(ids) > 1000 for ids in used.values())
    assert not used["train"] & (used["dev"] | used["test"])
    assert not used["dev"] & used["test"]


def test_no_gloss_held_out_by_a_task_is_read_in_language_modelling(
    data: dict[tuple[str, str], Rows],
) -> None:
    glosses: set[str] = set()
    examples: set[str] = set()
    for split in ("dev", "test"):
        match = data["gloss-match", split]
        glosses |= {words(row["sentence"]) for row in data["supersense", split]}
        glosses |= {words(row["question"]) for row in data["gloss-span", split]}
        glosses |= {words(row["sentence2"]) for row in match}
        examples |= {words(row["sentence1"]) for row in match}
    assert min(len(glosses), len(examples)) > 1000
    for row in data["mlm", "train"]:
        parts = row["text"].partition(": ")[2].split("; ")
        starts = {words("; ".join(parts[:end])) for end in range(1, len(parts) + 1)}
        assert not glosses & starts
        assert not examples & set(map(words, parts[1:]))


@pytest.mark.parametrize("name", NAMES)
def test_the_files_hold_nothing_but_the_task(name: str) -> None:
    files = sorted(load_task(name).folder.iterdir())
    assert [path.name for path in files] == [f"{s}-00000-of-00001.parquet" for s in sorted(SPLITS)]
    assert sum(path.stat().st_size for path in files) < 3 << 20
    assert all(b"/home/" not in Path(path).read_bytes() for path in files)


def test_the_task_that_the_page_shows_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "tasks.md").read_text(
        encoding="utf-8"
    )
    how_to = (Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md").read_text(
        encoding="utf-8"
    )
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", how_to, re.S | re.M)
    task = parse_task({"name": "mine", **yaml.safe_load(shown)}, "own-data.md")
    assert (task.labels, task.metric, task.more) == (("no", "yes"), "matthews", ("accuracy",))
    for kind in TASK_KINDS:
        metrics = TASK_KINDS[kind].metrics
        if TASK_KINDS[kind].by_flags:
            assert f"| `{kind}` | {', '.join(f'`{metric}`' for metric in metrics)} |" in page


def test_the_page_tells_of_every_task_of_the_paper() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "tasks.md").read_text(
        encoding="utf-8"
    )
    assert [name for name in PAPER if name not in page] == []
