"""The plans of the package are read, come to cells, and are the published designs."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from stand_in_subject import subject
from tombola.base.specs import DEFAULT_CONTROLS, OPTIONAL_CONTROLS
from tombola.lab.planfile.arm import ARMS
from tombola.lab.planfile.arms import kind_of_arm
from tombola.lab.planfile.plan_file import expand, plan_names, read_plan
from tombola.plan.job_spec import as_training

Imp: Any = kind_of_arm("imp")

D = Decimal
PUBLISHED = ["table2", "table3", "figure2", "universality", "overlap"]
BOARD = ["leaderboard", "leaderboard-rates"]
OFFLINE = ["quick", "pilot", "pilot-rates", "connectivity", *BOARD, *PUBLISHED]


def test_every_plan_of_the_package_is_known() -> None:
    assert set(plan_names()) == {
        *OFFLINE,
        *(f"glue-{name}" for name in ("connectivity", *PUBLISHED)),
    }


@pytest.mark.parametrize("name", plan_names())
def test_every_plan_of_the_package_is_read(name: str) -> None:
    plan = read_plan(name)
    assert plan.about.endswith(("?", "."))
    assert plan.where == f"{name}.yaml"
    assert plan.arms


@pytest.mark.parametrize("name", OFFLINE)
def test_the_offline_plans_come_to_cells(name: str) -> None:
    file = read_plan(name)
    plan = expand(file, subject)
    assert file.model == "mini"
    assert {cell.arm for cell in plan.cells} == set(file.arms)
    assert {cell.target for cell in plan.cells} == set(file.tasks)
    keys = {job.key for job in plan.jobs}
    for cell in plan.cells:
        assert {cell.key, cell.dense, cell.mask or cell.key} <= keys


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_offline_and_the_published_plan_are_one_design(name: str) -> None:
    ours, theirs = read_plan(name), read_plan(f"glue-{name}")
    assert (ours.about, ours.seeds, list(ours.arms)) == (
        theirs.about,
        theirs.seeds,
        list(theirs.arms),
    )
    assert list(map(type, ours.arms.values())) == list(map(type, theirs.arms.values()))
    assert len(theirs.tasks) == 11


def test_table_2_has_the_published_sparsities() -> None:
    tickets = read_plan("glue-table2").arms["tickets"]
    assert isinstance(tickets, Imp)
    assert {task: tickets.sparsity.of(task) for task in read_plan("glue-table2").tasks} == {
        "glue/mnli": (D("0.7"),),
        "glue/qqp": (D("0.9"),),
        "glue/stsb": (D("0.5"),),
        "glue/wnli": (D("0.9"),),
        "glue/qnli": (D("0.7"),),
        "glue/mrpc": (D("0.5"),),
        "glue/rte": (D("0.6"),),
        "glue/sst2": (D("0.6"),),
        "glue/cola": (D("0.5"),),
        "squad": (D("0.4"),),
        "wikipedia-mlm": (D("0.7"),),
    }


def test_table_2_trains_the_dense_network_once_a_task_and_seed() -> None:
    file = read_plan("table2")
    plan = expand(file, subject)
    dense = [job for job in plan.jobs if job.kind == "train" and not job.parents]
    assert len(dense) == len(file.tasks) * len(file.seeds)
    assert len({(job.subject.task.name, job.label) for job in dense}) == len(dense)
    trainings = sum(job.kind == "train" for job in plan.jobs)
    assert trainings == len(dense) * (1 + 7 + len(DEFAULT_CONTROLS))


def test_plans_share_what_they_have_in_common() -> None:
    table2, figure2 = (
        {job.key for job in expand(read_plan(name), subject).jobs} for name in ("table2", "figure2")
    )
    file = read_plan("figure2")
    rounds = len(file.tasks) * len(file.seeds) * 7
    assert len(table2 & figure2) >= 2 * rounds


def test_quick_has_every_kind_of_arm_and_control_and_few_trainings() -> None:
    file = read_plan("quick")
    plan = expand(file, subject)
    assert {type(arm) for arm in file.arms.values()} >= {ARMS[kind] for kind in ARMS} | {
        kind_of_arm("imp"),
        kind_of_arm("one-shot"),
    }
    assert {cell.what for cell in plan.cells} >= {*DEFAULT_CONTROLS, *OPTIONAL_CONTROLS}
    assert sum(job.kind == "train" for job in plan.jobs) <= 40
    roles = {role for job in plan.jobs for role in job.parents}
    assert roles == {"mask", "start", "head", "body", "trained", "like", "left", "right"}
    specs = [as_training(job.spec).recipe for job in plan.jobs if job.kind == "train"]
    assert all(spec.train_limit <= 64 and 0 < spec.test_limit <= 64 for spec in specs)


def test_the_pilot_trains_each_network_once_whatever_it_stands_for() -> None:
    plan = expand(read_plan("pilot"), subject)
    counted = Counter(cell.arm for cell in plan.cells)
    assert counted == {
        "dense": 20,
        "tickets": 18,
        "controls": 12,
        "fast-reinit": 6,
        "span-controls": 6,
        "slow-random": 6,
        "fast-one-shot": 6,
        "moved": 12,
        "one-shot": 6,
        "mlm-tickets": 6,
        "moved-mlm": 6,
        "research-code": 9,
    }
    trained = Counter(job.subject.task.name for job in plan.jobs if job.kind == "train")
    assert trained == {"sentiment": 55, "gloss-span": 46, "mlm": 9}
