"""A data set of the hub is read at one revision, and never runs code."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tombola.base.errors import DataError
from tombola.tasks.data import hub
from tombola.tasks.data.sources import open_source, read_split
from tombola.tasks.task import load_task

FIXTURES = Path(__file__).parents[2] / "fixtures"


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
    list(open_source(load_task("glue/cola"), "hub:a/b").parts("train", ("sentence",), 7))
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


@pytest.mark.parametrize("name", ["hub:", "hub:one", "hub:a/b/c/d", "hub:a/b@"])
def test_a_data_set_that_is_misspelled_is_reported(name: str) -> None:
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
