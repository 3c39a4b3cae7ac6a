"""What a plan knows of a task's data: named by their rows, counted as they are trained on."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

from tombola.base.errors import DataError, ModelError, SpecError
from tombola.base.specs import TaskSpec, TrainSpec
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.lab.run.payload import payload_for
from tombola.lab.run.perform import perform
from tombola.lab.run.workspace import Workspace, WorkspaceCache
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory, damaged_fingerprints
from tombola.models.embedded import model_path
from tombola.plan.job import dense, one_shot
from tombola.plan.job_spec import as_training
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.own_task import named_task
from tombola.tasks.task import Task, load_task
from tombola.training.steps import ignore_step

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def known(tmp_path: Path) -> SubjectFactory:
    return SubjectFactory(tmp_path / "store")


def subject(
    known: SubjectFactory, tiny: Path, task: Task, folder: Path | None, **knobs: float
) -> Subject:
    recipe = replace(task.recipe, **knobs)  # type: ignore[arg-type]
    place = None if folder is None else str(folder)
    return known.subject(str(tiny), task, recipe, scope="encoder", folder=place)


def bench_of(made: Subject) -> Workspace:
    return Workspace.open(payload_for(dense(made, 0), keep_weights=False, threads=1, processes=1))


EMBEDDED = {
    "gloss-match": (2, "34ac71f7e1b258c6"),
    "gloss-span": (1, "a75760825e795345"),
    "mlm": (1, "d4229288e59fc76d"),
    "sentiment": (1, "256c5adc1a135db5"),
    "supersense": (1, "59e0facc7daff314"),
    "valence": (1, "be1e22026bfdcb2e"),
}
"""Version and fingerprint, pinned for ever: they name every result on the embedded data."""


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_data_keep_their_names(known: SubjectFactory, tiny: Path, name: str) -> None:
    made = subject(known, tiny, load_task(name), None)
    version, data = EMBEDDED[name]
    assert made.data.startswith(data)
    assert as_training(dense(made, 0).spec).task == [name, version]
    assert made.recipe == load_task(name).recipe


def test_steps_count_the_windows_that_are_trained_on(known: SubjectFactory, tiny: Path) -> None:
    task = load_task("squad")
    short = {"max_length": 120, "stride": 60, "query_length": 16, "epochs": 1.0, "batch_size": 4}
    made = subject(known, tiny, task, FIXTURES / "squad_json", **short)
    training = bench_of(made).training(made.recipe)
    assert made.examples == len(training) > 24 == len(training.rows)
    assert dense(made, 0).steps == made.recipe.steps(len(training))
    known.save()
    again = subject(
        SubjectFactory(known.place.parent), tiny, task, FIXTURES / "squad_json", **short
    )
    assert again == made
    longer = subject(known, tiny, task, FIXTURES / "squad_json", **{**short, "stride": 30})
    assert longer.examples > made.examples
    assert longer.data == made.data


def test_both_layouts_are_one_subject(known: SubjectFactory, tiny: Path) -> None:
    task = load_task("glue/qqp")
    original = subject(known, tiny, task, FIXTURES / "glue_tsv")
    theirs = subject(known, tiny, task, FIXTURES / "glue_parquet")
    assert dense(original, 0).key == dense(theirs, 0).key
    assert [len(original.notes), len(theirs.notes)] == [2, 0]


def test_a_link_to_nothing_that_is_no_file_of_a_network_changes_nothing(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(tiny, tmp_path / "model"))
    (place / "notes.md").symlink_to("gone")
    found = [
        subject(known, model, load_task("glue/qqp"), FIXTURES / "glue_tsv")
        for model in (tiny, place)
    ]
    assert found[0].fingerprint == found[1].fingerprint


def test_the_rows_that_are_scored_name_a_result(known: SubjectFactory, tiny: Path) -> None:
    keys = {
        dense(subject(known, tiny, named_task("glue/mnli", spec), FIXTURES / "glue_tsv"), 0).key
        for spec in (TaskSpec(eval_split=split) for split in ("", "dev", "validation"))
    }
    assert len(keys) == 3


def test_texts_of_one_s_own_are_read_in_blocks(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        lines = [f"a very long story of the actor {n}" for n in range(9)]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    made = subject(known, tiny, load_task("mlm"), tmp_path, max_length=12)
    assert made.recipe.blocks
    training = bench_of(made).training(made.recipe)
    assert made.examples == len(training) == 9 * 8 // 10
    assert set(training.lengths) == {12}


@pytest.mark.parametrize("tied", [True, False])
def test_a_checkpoint_without_its_pre_trained_head_is_noted(
    known: SubjectFactory, tiny: Path, tmp_path: Path, *, tied: bool
) -> None:
    lines = "\n".join(f"a very long story of the actor {n}" for n in range(9))
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text(lines)
    (tmp_path / "whole").mkdir()
    config = AutoConfig.from_pretrained(tiny, tie_word_embeddings=tied)
    AutoModelForMaskedLM.from_pretrained(tiny, config=config).save_pretrained(tmp_path / "whole")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "whole")
    bare, whole = (
        subject(known, model, load_task("mlm"), tmp_path, max_length=12)
        for model in (tiny, tmp_path / "whole")
    )
    assert bare.drawn_head
    assert bare.drawn_head[0] in bare.notes[-1]
    assert (whole.drawn_head, whole.notes) == ((), ())


def test_what_is_also_scored_is_a_fact_of_the_result(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results")
    for name, more in (("glue/mnli", "mismatched accuracy"), ("glue/mrpc", "binary-f1")):
        short = {"epochs": 1.0, "max_length": 16}
        made = subject(known, tiny, load_task(name), FIXTURES / "glue_tsv", **short)
        payload = payload_for(dense(made, 0), keep_weights=False, threads=1, processes=1)
        perform(payload, store, WorkspaceCache(), ignore_step)
        result = store.read(payload.key)
        assert result is not None
        assert list(result.facts["more"]) == [more]
        assert 0 <= result.facts["more"][more] <= 100


def test_a_recipe_with_knobs_of_another_kind_is_refused(known: SubjectFactory, tiny: Path) -> None:
    with pytest.raises(SpecError, match="stride is for tasks of kind span"):
        subject(known, tiny, load_task("sentiment"), None, stride=8)


def test_an_example_of_more_tokens_than_the_model_has_positions_is_reported(
    known: SubjectFactory, tiny: Path
) -> None:
    made = subject(known, tiny, load_task("squad"), FIXTURES / "squad_json", max_length=384)
    with pytest.raises(SpecError, match="reads at most 128 tokens at once"):
        bench_of(made).training(made.recipe)


@pytest.mark.parametrize("name", ["figure2", "overlap", "table2", "table3", "universality"])
def test_the_paper_s_plans_are_of_its_eleven_tasks(name: str) -> None:
    def made(task: Task, recipe: TrainSpec) -> Subject:
        return Subject(
            model="m",
            fingerprint="f",
            task=task,
            recipe=recipe,
            data="d",
            examples=99_999,
            folder=None,
        )

    plan: Plan = expand(read_plan(f"glue-{name}"), made)
    tasks = {job.subject.task.name for job in plan.jobs}
    assert len(tasks) == 11
    assert {"squad", "wikipedia-mlm", "glue/cola"} < tasks


def test_a_network_that_computes_otherwise_names_other_trainings(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    task, other = load_task("sentiment"), tmp_path / "other"
    shutil.copytree(tiny, other)
    same = subject(known, other, task, None)
    assert dense(same, 0).key == dense(subject(known, tiny, task, None), 0).key
    config = other / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_dropout_prob": 0.5}))
    changed = subject(known, other, task, None)
    assert changed.fingerprint == same.fingerprint
    assert dense(changed, 0).key != dense(same, 0).key
    half = Decimal("0.5")
    assert one_shot(changed, half).key == one_shot(same, half).key  # the largest weights are
    pooler = replace(changed, scope="encoder+pooler"), replace(same, scope="encoder+pooler")
    assert one_shot(pooler[0], half).key != one_shot(pooler[1], half).key
    with pytest.raises(ModelError, match=r"it has changed\. Run the same command again"):
        bench_of(same).check(dense(same, 0).spec)


def test_the_embedded_network_needs_no_further_name(known: SubjectFactory) -> None:
    made = subject(known, Path("mini"), load_task("sentiment"), None)
    assert made.fingerprint.startswith("27632a721687")
    assert "fittings" not in dense(made, 0).spec.to_json()
    folder = Path(model_path("mini"))
    contents = {name: (folder / name).read_text() for name in FITTINGS}
    advice = '  "fine_tuning_learning_rate": 0.0003,\n'  # which no result depends on
    assert contents["config.json"].count(advice) == 1
    contents["config.json"] = contents["config.json"].replace(advice, "")
    found = {n: hashlib.sha256(text.encode()).hexdigest()[:16] for n, text in contents.items()}
    assert found == FITTINGS


def test_the_rate_that_a_network_carries_names_no_result(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    task = load_task("sentiment")
    advised = tmp_path / "advised"
    shutil.copytree(tiny, advised)
    config = json.loads((advised / "config.json").read_text())
    config["fine_tuning_learning_rate"] = 1e-3
    (advised / "config.json").write_text(json.dumps(config))
    same, other = subject(known, tiny, task, None), subject(known, advised, task, None)
    assert dense(same, 0).key == dense(other, 0).key


FITTINGS = {
    "config.json": "5e01386ec4751cb3",
    "tokenizer.json": "d5c67eaea48ffd6b",
    "tokenizer_config.json": "cc21f3d5467039f7",
}
"""Beside the embedded weights, pinned for ever: another of them would be another model."""


def test_rows_that_have_changed_since_the_plan_are_refused(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\na good film,1\na bad film,0\n")
    task = named_task(f"csv:{tmp_path}", TaskSpec(text_columns=("text",)))
    made = subject(known, tiny, task, None)
    spec = dense(made, 0).spec
    bench_of(made).check(spec)
    (tmp_path / "test.csv").write_text("text,label\na good film,0\na bad film,1\n")
    with pytest.raises(DataError, match=r"they have changed\. Run the same command again"):
        bench_of(made).check(spec)


def test_only_the_trainings_with_a_limit_on_test_rows_have_a_later_version(
    known: SubjectFactory, tiny: Path
) -> None:
    task = load_task("sentiment")
    plain, limited = (subject(known, tiny, task, None, test_limit=n) for n in (0, 5))
    assert [dense(made, 0).named()["job_version"] for made in (plain, limited)] == [1, 2]


# fingerprints that are kept


def csv_task(folder: Path, text: str = "text,label\na good film,1\na bad film,0\n") -> Task:
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text(text)
    return named_task(f"csv:{folder}", TaskSpec(text_columns=("text",)))


def test_a_file_that_was_changed_and_given_its_old_time_back_is_read_again(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    task = csv_task(tmp_path)
    before = subject(known, tiny, task, None)
    file = tmp_path / "test.csv"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text("text,label\na good film,0\na bad film,1\n")
    os.utime(file, ns=times)
    assert subject(known, tiny, task, None).data != before.data


@pytest.mark.parametrize("change", ["found", "digest", "entry", "file"])
def test_a_kept_fingerprint_that_was_edited_is_noticed_and_taken_again(
    known: SubjectFactory, tiny: Path, tmp_path: Path, change: str
) -> None:
    task = csv_task(tmp_path)
    made = subject(known, tiny, task, None)
    known.save()
    entries = json.loads(known.place.read_text())
    kept = len(entries)
    for name in entries:
        if change == "entry":
            entries[name] = 3
        elif change == "found":
            entries[name]["found"]["fingerprint"] = "0" * 64
        else:
            entries[name]["digest"] = None
    known.place.write_text(json.dumps([] if change == "file" else entries))
    assert kept == 3  # network, data, and dev, which a csv task's margin goes by
    assert len(damaged_fingerprints(known.place.parent)) == (0 if change == "file" else kept)
    assert subject(SubjectFactory(known.place.parent), tiny, task, None) == made


def test_a_bad_row_of_the_dev_split_is_no_missing_split(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    task = csv_task(tmp_path)
    (tmp_path / "dev.csv").write_text("text,label\na good film,1\na bad film,perhaps\n")
    with pytest.raises(DataError, match=r"dev\.csv.*perhaps"):
        subject(known, tiny, task, None)
    (tmp_path / "dev.csv").unlink()
    assert subject(known, tiny, task, None).dev == ""


def test_a_refused_network_or_data_are_examined_again_the_next_time(
    known: SubjectFactory, tiny: Path, tmp_path: Path
) -> None:
    task = csv_task(tmp_path)
    wrong = replace(subject(known, tiny, task, None), data="0" * 64)
    store = Store(known.place.parent)
    known.save()
    payload = payload_for(dense(wrong, 0), keep_weights=False, threads=1, processes=1)
    with pytest.raises(DataError, match="they have changed"):
        perform(payload, store, WorkspaceCache(), ignore_step)
    assert not known.place.exists()
