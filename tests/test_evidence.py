"""The plans of the study are what its page says, and come in an order that can be cut."""

import importlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from math import log2
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tombola.base.errors import SpecError
from tombola.lab.planfile.plan_file import PlanFile
from tombola.plan.subject import Subject
from tombola.study.table.reading import read_rows
from tombola.study.table.row import Row, row

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "evidence"


@pytest.fixture(scope="module")
def order() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("evidence_order")


@pytest.fixture(scope="module")
def files(order: ModuleType) -> dict[str, PlanFile]:
    every = [name for stages in order.STUDIES.values() for name in order.names(stages)]
    return {name: order.read(name) for name in every}


@pytest.fixture(scope="module")
def study(order: ModuleType, files: dict[str, PlanFile]) -> Any:
    """Every job in order, and what each plan adds."""
    return order.study(files, order.counted_subject)


def source_of(file: PlanFile, order: ModuleType) -> Subject:
    cells = order.planned(file, [0], order.counted_subject).cells
    found: list[Subject] = [cell.training.subject for cell in cells if cell.arm == "source"]
    assert all(subject == found[0] for subject in found)
    return found[0]


def test_every_plan_of_the_folder_is_done_with_all_its_seeds(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    assert {path.stem for path in EVIDENCE.glob("*.yaml")} == set(files)
    done = {
        name: tuple(seed for plans, seeds in stages if name in plans for seed in seeds)
        for stages in order.STUDIES.values()
        for name in order.names(stages)
    }
    assert done == {name: file.seeds for name, file in files.items()}


def test_the_page_has_the_trainings_and_steps_of_the_plans(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    page = (EVIDENCE / "README.md").read_text(encoding="utf-8")
    for stages in order.STUDIES.values():
        _, shares = order.study(files, order.counted_subject, stages)
        assert order.markdown(shares) in page


def test_the_page_has_the_recipe_of_each_source(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    page = (EVIDENCE / "README.md").read_text(encoding="utf-8")
    for name in files.keys() - {"table2", "figure2", "winning"}:
        [line] = [line for line in page.splitlines() if line.startswith(f"| `{name}` | ")][:1]
        source = source_of(files[name], order)
        said = f"`{source.task.name}`, {source.recipe.epochs:g} ({source.steps})"
        assert said in line


def test_a_dose_is_the_summed_learning_rate_of_its_source(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    for name in (*order.DOSES, *order.SPANS, *order.SMALL_DOSES):
        source = source_of(files[name], order)
        assert source.recipe.learning_rate == 3e-4
        assert source.steps * 3e-4 / 2 == pytest.approx(float(name.partition("-")[2]), rel=0.08)


def test_targets_have_their_full_recipes(order: ModuleType, files: dict[str, PlanFile]) -> None:
    for name in files.keys() - {*order.SMALL_DOSES, *order.SMALL_SOURCES}:
        plan = order.planned(files[name], [0], order.counted_subject)
        moved = [cell for cell in plan.cells if cell.role == "transfer"]
        assert moved or name in {"table2", "winning"}
        for cell in moved:
            assert cell.training.subject.recipe == cell.training.subject.task.recipe


def test_targets_of_the_small_study_have_the_pilot_s_recipes(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    for name in (*order.SMALL_DOSES, *order.SMALL_SOURCES):
        plan = order.planned(files[name], [0], order.counted_subject)
        moved = [cell.training.subject for cell in plan.cells if cell.role == "transfer"]
        epochs = {each.task.name: each.recipe.epochs for each in moved}
        assert epochs == {"sentiment": 2, "gloss-span": 2, "supersense": 2}
        assert {each.recipe.precision for each in moved} == {"bf16"}


def test_other_sources_of_the_small_study_are_compared_on_its_trainings(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    def targets(name: str) -> tuple[set[str], set[int]]:
        plan = order.planned(files[name], [0], order.counted_subject)
        moved = [cell for cell in plan.cells if cell.role == "transfer"]
        steps = {cell.training.subject.steps for cell in plan.cells if cell.arm == "source"}
        return {cell.dense for cell in moved}, steps

    dense, [steps] = targets("small-0.04")
    for name in order.SMALL_SOURCES:
        theirs, [taken] = targets(name)
        assert theirs == dense
        assert (taken == pytest.approx(steps, rel=0.01)) == (name != "small-quarter-epochs")


def test_each_job_comes_once_and_after_what_it_needs(study: Any) -> None:
    plan, shares = study
    seen: set[str] = set()
    for job in plan.jobs:
        assert job.key not in seen
        assert {parent.key for parent in job.parents.values()} <= seen
        seen.add(job.key)
    trainings = [job for job in plan.jobs if job.kind == "train"]
    assert sum(share.trainings for share in shares) == len(trainings)
    assert sum(share.steps for share in shares) == sum(job.steps for job in trainings)


def test_a_cut_leaves_whole_seeds_of_the_first_stage(
    order: ModuleType, files: dict[str, PlanFile], study: Any
) -> None:
    plan, _ = study
    place = {job.key: number for number, job in enumerate(plan.jobs)}
    end = 0
    for seed in (0, 1, 2):
        parts = [order.planned(files[name], [seed], order.counted_subject) for name in order.DOSES]
        wanted = {place[job.key] for part in parts for job in part.jobs}
        assert all(number in wanted for number in range(end, max(wanted) + 1))
        end = max(wanted) + 1
    tasks = {job.subject.task.name for job in plan.jobs[:end]}
    assert tasks == {"mlm", "sentiment", "gloss-span", "supersense"}


def test_the_longest_chain_of_a_seed_begins_first(study: Any) -> None:
    first = study[0].jobs[0]
    assert (first.subject.task.name, first.steps) == ("mlm", 2679)


def test_the_end_of_the_time_stops_like_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from gpu_evidence import time_limit

    before = signal.getsignal(signal.SIGALRM)
    reached = False
    with time_limit(0.1):
        time.sleep(30)
        reached = True
    assert not reached
    assert "finished trainings stay" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_texts_without_wordnet_have_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import build_brown

    monkeypatch.setattr(build_brown, "HERE", tmp_path)
    build_brown.main()
    texts = (tmp_path / "brown" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(texts) == 5407
    assert not any(": " in text.removeprefix('{"text": ') for text in texts)
    sys.modules.pop("build_brown")


def study_rows(
    order: ModuleType, files: dict[str, PlanFile], gain: float, names: Sequence[str] = ()
) -> list[Row]:
    """Rows of the doses in which transfer gains that much over one-shot a doubling."""
    made = []
    for name in names or order.DOSES:
        plan = order.planned(files[name], files[name].seeds, order.counted_subject)
        dose = float(name.partition("-")[2])
        for cell in plan.cells:
            noise = int(cell.training.key[:4], 16) / 0x10000
            score = 80 + noise + (gain * log2(dose) if cell.role == "transfer" else 0)
            made.append(
                replace(
                    row(name, cell, None, None, plan_rows=len(plan.cells)),
                    state="done",
                    score=score,
                    dense=85.0,
                    numerics={"digest": "0"},
                    margin=1.5,
                    trivial=50.0,
                    resolution=0.05,
                    dense_numerics={"digest": "0"},
                    summed_learning_rate=cell.training.steps * 1.5e-4,
                )
            )
    return made


@pytest.mark.parametrize("gain", [0.0, 2.0])
def test_a_trend_is_found_where_there_is_one(
    order: ModuleType, files: dict[str, PlanFile], gain: float
) -> None:
    from estimates import trend

    rows = study_rows(order, files, gain)
    tables = [[row for row in rows if row.plan == name] for name in reversed(order.DOSES)]
    found = trend(tables, Decimal("0.7"))
    assert found
    assert found.slope.seeds == 4
    assert found.slope.mean == pytest.approx(gain, abs=0.2)
    assert (found.p < 0.05) == (gain > 0)


def test_the_picture_of_the_doses_shows_transfer_minus_one_shot(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    from build_pictures import MEAN, dose_marks

    rows = [row for row in study_rows(order, files, 2.0) if row.plan == "dose-0.13"]
    [mean] = [mark for mark in dose_marks([rows], Decimal("0.7")) if mark["target"] == MEAN]
    assert mean["dose"] == pytest.approx(846 * 1.5e-4)
    assert mean["low"] < mean["mean"] < mean["high"]
    assert mean["mean"] == pytest.approx(2 * log2(0.13), abs=1)


def test_other_sources_are_set_against_the_one_shot_pruning_of_the_first(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    from build_pictures import SMALL, SMALL_SOURCES, report, source_marks

    rows = study_rows(order, files, 0.0, ["small-0.04"])
    moved = [row for row in rows if row.arm == "moved" and row.score is not None]
    better = [replace(row, plan="small-lineage", score=(row.score or 0) + 3) for row in moved]
    plans = {"small-0.04": rows, "small-lineage": better}
    one_epoch, brown = source_marks(plans, SMALL_SOURCES, SMALL)
    assert (one_epoch["source"], brown["source"]) == ("one epoch", "Brown alone")
    assert brown["mean"] == pytest.approx(one_epoch["mean"] + 3)
    assert "small-lineage - small-0.04: +3.0" in report(plans)
    other = [replace(row, numerics={"digest": "1"}) for row in better]
    with pytest.raises(SpecError, match="numerics"):
        report({**plans, "small-lineage": other})


def test_the_tables_of_the_doses_show_what_their_rows_say(
    order: ModuleType, files: dict[str, PlanFile]
) -> None:
    import build_dose

    rows = study_rows(order, files, 2.0, order.SMALL_DOSES)
    tables = build_dose.tables_of(rows)
    made = {name: table(tables) for name, table in build_dose.TABLES.items()}
    first = made["trends"].splitlines()[2]
    assert first.startswith("| **mean of the three, 70 %** | +2.")
    assert [line.split(" | ")[0] for line in made["minus one-shot"].splitlines()[2:5]] == [
        "| 0.010",
        "| 0.042",
        "| 0.127",
    ]
    moved = [
        row.score - 85
        for row in rows
        if (row.plan, row.arm, row.target, row.sparsity)
        == ("small-0.13", "moved", "gloss-span", Decimal("0.7"))
        and row.score
    ]
    last = made["minus dense"].splitlines()[-1]
    assert last.split(" | ")[2] == f"{sum(moved) / 3:+.1f}, not matching"


def test_the_page_of_the_doses_is_what_its_rows_make() -> None:
    import build_dose

    kept = build_dose.PAGE.read_text(encoding="utf-8")
    made = build_dose.page(kept, read_rows(build_dose.ROWS))
    assert made == kept, "run `python tools/build_dose.py`"
    assert set(re.findall("<!-- table: (.+?) -->", kept)) == set(build_dose.TABLES)


def test_the_headline_of_the_doses_is_in_the_tables() -> None:
    import build_dose
    from estimates import against

    tables = build_dose.tables_of(read_rows(build_dose.ROWS))
    page, readme = (
        " ".join(path.read_text(encoding="utf-8").split())
        for path in (build_dose.PAGE, ROOT / "README.md")
    )
    slope, p = build_dose.trends(tables).splitlines()[2].split(" | ")[1:3]
    gain, ends = slope.removeprefix("+").split(" (")
    assert f"gains {gain} points over one-shot pruning" in page
    assert f"(90 % interval {ends.removesuffix(')')}, P {p})" in page
    for second, *sentences in (
        ("one-shot", "is {} points above", "and {} above one-shot pruning"),
        ("own", "still {} below", "{} points below a task's own"),
    ):
        found = against(tables[-1], "moved", second, Decimal("0.7"))
        assert found
        for text, sentence in zip((page, readme), sentences, strict=True):
            assert sentence.format(f"{abs(found.mean):.1f}") in text
