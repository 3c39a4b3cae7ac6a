"""A plan file is read or refused with a line, and comes to the cells that it says."""

import dataclasses
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from stand_in_subject import subject
from tombola.base.errors import DataError, SpecError
from tombola.base.fields import field_help
from tombola.base.specs import CONTROLS, OPTIONAL_CONTROLS, CourseSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.lab.planfile.arm import Sparsities
from tombola.lab.planfile.arms import ARMS, FinderArm, kind_of_arm
from tombola.lab.planfile.plan_file import PlanFile, data_in, expand, plan_names, read_plan
from tombola.plan import plan as plans
from tombola.plan.job_spec import train_job
from tombola.plan.plan import Cell, Plan, Subject
from tombola.tasks.task import Task, load_task

Imp: Any = kind_of_arm("imp")

D = Decimal
PAGE = Path(__file__).parents[3] / "docs" / "plans.md"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Text of a plan -> what stands in it."""

    def read(text: str) -> PlanFile:
        file = tmp_path / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        return read_plan(file)

    return read


@pytest.fixture
def refusal(read: Any, tmp_path: Path) -> Any:
    """Text of a plan -> line and message, without the file's name."""

    def refusal(text: str) -> str:
        with pytest.raises(SpecError) as caught:
            expand(read(text), subject)
        said = str(caught.value)
        assert "\n" not in said
        assert said.startswith(f"{tmp_path / 'mine.yaml'}:")
        assert said.endswith((".", "?"))
        return said.removeprefix(f"{tmp_path / 'mine.yaml'}:")

    return refusal


def grown(text: str) -> str:
    """The arms of a plan of two tasks and two seeds, the first of them in line 5."""
    top = "version: 1\ntasks: [sentiment, mlm]\nseeds: [0, 1]\narms:\n"
    return top + "".join(f"  {line}\n" for line in text.split("\n"))


def cells(read: Any, text: str, arm: str) -> list[Cell]:
    return [cell for cell in expand(read(grown(text)), subject).cells if cell.arm == arm]


TICKETS = "tickets: {kind: imp, sparsity: 0.5, step: 0.25}"


def moves(found: list[Cell]) -> Counter[tuple[str, str]]:
    return Counter((cell.source, cell.target) for cell in found)


# --- the plans of the package ------------------------------------------------

PUBLISHED = ["table2", "table3", "figure2", "universality", "overlap"]
OFFLINE = ["quick", "pilot", "pilot-rates", "connectivity", *PUBLISHED]


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
    assert trainings == len(dense) * (1 + 7 + len(CONTROLS))


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
    assert {cell.what for cell in plan.cells} >= {*CONTROLS, *OPTIONAL_CONTROLS}
    assert sum(job.kind == "train" for job in plan.jobs) <= 40
    roles = {role for job in plan.jobs for role in job.parents}
    assert roles == {"mask", "start", "head", "body", "trained", "like", "left", "right"}
    specs = [train_job(job.spec).recipe for job in plan.jobs if job.kind == "train"]
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


def test_a_plan_is_scored_on_the_split_that_it_names(read: Any) -> None:
    plain = "version: 1\ntasks: [sentiment]\narms: {dense: {kind: dense}}\n"
    tasks: list[Task] = []

    def seen(task: Task, recipe: TrainSpec) -> Subject:
        tasks.append(task)
        return subject(task, recipe)

    for text in (plain, f"{plain}eval_split: dev\n"):
        expand(read(text), seen)
    assert [task.test_split for task in tasks] == ["test", "dev"]
    with pytest.raises(SpecError, match="eval_split is a split that is not trained on"):
        expand(read(f"{plain}eval_split: train\n"), seen)


# --- what the page says ------------------------------------------------------

SHOWN = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_a_plan_that_the_page_shows_is_read_and_planned(read: Any, number: int) -> None:
    assert expand(read(SHOWN[number]), subject).cells


def test_the_page_names_every_kind_and_knob() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for kind in (*ARMS, "imp", "one-shot"):
        [row] = [line for line in lines if line.startswith(f"| `{kind}` ")]
        about = field_help(FinderArm if kind in FINDERS else ARMS[kind])
        assert set(about) == {
            field.name for field in dataclasses.fields(cast(Any, kind_of_arm(kind)))
        }
        of_finder = {*field_help(FINDERS[kind].spec)} if kind in FINDERS else set()
        knobs = set(about) - {"search"} | of_finder
        assert set(re.findall(r"`([a-z_]+)`", row.rsplit("|", 2)[1])) == knobs
    shown = {name for line in lines for name in re.findall(r"^\| `(\w+)` \|", line)}
    inner = {"where", "lines", "data"}
    fields = {field.name for field in dataclasses.fields(PlanFile)} - inner
    assert shown - {*ARMS, *FINDERS} == fields | {"version", "train"}


# --- what a plan comes to ----------------------------------------------------

TEN_LINES = """\
version: 1
about: Do tickets of sentiment survive on supersense?
model: mini
tasks: [sentiment, supersense]
seeds: [0, 1, 2]
train: {epochs: 1}           # changes every task's recipe
arms:
  tickets: {kind: imp, sparsity: 0.7, step: 0.1}
  controls: {kind: control, of: tickets, names: [random, reinit], sparsity: [0.5, 0.7]}
  moved: {kind: transfer, of: tickets, sparsity: [0.7]}
"""


def test_ten_lines_are_a_plan(read: Any) -> None:
    plan = expand(read(TEN_LINES), subject)
    count = Counter(cell.arm for cell in plan.cells)
    assert count == {"tickets": 2 * 3 * 7, "controls": 2 * 3 * 2 * 2, "moved": 2 * 2 * 3}
    assert {train_job(job.spec).recipe.epochs for job in plan.jobs if job.kind == "train"} == {1.0}
    diagonal = [cell for cell in plan.cells if cell.arm == "moved" and cell.source == cell.target]
    tickets = {cell.key for cell in plan.cells if cell.arm == "tickets"}
    assert {cell.key for cell in diagonal} <= tickets


def test_recipes_are_changed_by_the_plan_and_then_by_the_task(read: Any) -> None:
    text = (
        "version: 1\ntrain: {epochs: 1, batch_size: 8}\ntasks:\n  mlm:\n"
        "  sentiment: {train: {epochs: 2, learning_rate: 1e-5}}\narms: {dense: {kind: dense}}"
    )
    mlm, sentiment = expand(read(text), subject).cells
    assert mlm.training.subject.recipe == dataclasses.replace(
        load_task("mlm").recipe, epochs=1, batch_size=8
    )
    assert sentiment.training.subject.recipe == dataclasses.replace(
        load_task("sentiment").recipe, epochs=2, batch_size=8, learning_rate=1e-5
    )


def test_every_knob_of_a_search_is_a_knob_of_an_imp_arm(read: Any) -> None:
    text = (
        "tickets: {kind: imp, sparsity: 0.6, schedule: geometric, step: 0.3, rewind_step: 2, "
        "keep_head: true, long_horizon: true, prune_first: true}"
    )
    found = cells(read, text, "tickets")
    spec = ImpSpec(
        sparsity=D("0.6"),
        schedule="geometric",
        step=D("0.3"),
        rewind_step=2,
        keep_head=True,
        long_horizon=True,
        prune_first=True,
    )
    task = load_task("sentiment")
    search = FINDERS["imp"].search(subject(task, task.recipe), spec, 0)
    first = [cell.key for cell in found if (cell.target, cell.seed) == ("sentiment", 0)]
    assert first == [training.key for training in search.trainings.values()]


def test_a_sparsity_may_differ_from_task_to_task(read: Any) -> None:
    text = "tickets: {kind: imp, step: 0.25, sparsity: {mlm: 0.5}}"
    last: dict[str, Decimal] = {}
    for cell in cells(read, text, "tickets"):
        assert cell.sparsity
        last[cell.target] = max(cell.sparsity, last.get(cell.target, D(0)))
    assert last == {"mlm": D("0.5"), "sentiment": ImpSpec.sparsity}
    arms = f"{TICKETS}\nmoved: {{kind: transfer, of: tickets, sparsity: {{mlm: [0.25, 0.5]}}}}"
    moved = Counter((cell.source, cell.sparsity) for cell in cells(read, arms, "moved"))
    assert moved == {("sentiment", D("0.5")): 4, ("mlm", D("0.25")): 4, ("mlm", D("0.5")): 4}


def test_sparsities_are_the_decimals_that_were_written(read: Any) -> None:
    plan = read(grown("a: {kind: one-shot, sparsity: [0.70, 0.1000000000000000055]}"))
    assert plan.arms["a"].sparsity == Sparsities((D("0.7"), D("0.1000000000000000055")))


def test_controls_stand_beside_each_ticket(read: Any) -> None:
    text = f"{TICKETS}\ncontrols: {{kind: control, of: tickets}}"
    found = cells(read, text, "controls")
    assert Counter(cell.what for cell in found) == dict.fromkeys(CONTROLS, 2 * 2)
    tickets = {(c.source, c.seed, c.sparsity): c for c in cells(read, text, "tickets")}
    for cell in found:
        ticket = tickets[cell.source, cell.seed, D("0.5")]
        assert (cell.compared_arm, cell.sparsity, cell.dense) == ("tickets", D("0.5"), ticket.dense)
        assert cell.key != ticket.key
        assert cell.mask == cell.training.parents["mask"].key


def test_a_sweep_of_rates_keeps_the_baseline(read: Any) -> None:
    text = (
        f"{TICKETS}\nswept: {{kind: control, of: tickets, names: [reinit], "
        "learning_rates: [1e-4, 0.001], tasks: [mlm], seeds: [1]}"
    )
    low, high = cells(read, text, "swept")
    assert low.label == "reinit, learning rate 0.0001"
    assert low.training.label == "mlm, seed 1, reinit at 0.5, learning rate 0.0001"
    assert [train_job(cell.training.spec).recipe.learning_rate for cell in (low, high)] == [
        1e-4,
        1e-3,
    ]
    task = load_task("mlm")
    assert low.dense == high.dense == plans.dense(subject(task, task.recipe), 1).key


def test_transfer_goes_from_sources_to_targets_with_the_seed_of_the_search(read: Any) -> None:
    text = f"{TICKETS}\nmoved: {{kind: transfer, of: tickets, sources: [mlm], seeds: [1]}}"
    found = cells(read, text, "moved")
    assert moves(found) == {("mlm", "sentiment"): 1, ("mlm", "mlm"): 1}
    assert {cell.seed for cell in found} == {1}
    only = text.replace("sources: [mlm]", "targets: [mlm]")
    assert moves(cells(read, only, "moved")) == {("mlm", "mlm"): 1, ("sentiment", "mlm"): 1}


def test_a_moved_ticket_has_controls_on_the_task_it_was_moved_to(read: Any) -> None:
    text = (
        f"{TICKETS}\nmoved: {{kind: transfer, of: tickets, sources: [mlm], targets: [sentiment]}}\n"
        "chance: {kind: control, of: moved, names: [layer-random]}"
    )
    found = cells(read, text, "chance")
    assert moves(found) == {("mlm", "sentiment"): 2}
    for cell, ticket in zip(found, cells(read, text, "moved"), strict=True):
        mask = cell.training.parents["mask"]
        assert mask.parents["like"].key == ticket.mask
        assert cell.training.subject.task.name == "sentiment"


def test_a_fixed_ticket_is_evaluated_on_fresh_seeds(read: Any) -> None:
    text = (
        f"{TICKETS}\nfresh: {{kind: evaluate, of: tickets, search_seed: 1, seeds: [100, 101], "
        "init: shuffle, tasks: [mlm]}"
    )
    found = cells(read, text, "fresh")
    [ticket] = [
        cell
        for cell in cells(read, text, "tickets")
        if (cell.target, cell.seed, cell.sparsity) == ("mlm", 1, D("0.5"))
    ]
    assert [cell.seed for cell in found] == [100, 101]
    task = load_task("mlm")
    for cell in found:
        assert cell.mask == ticket.mask
        assert train_job(cell.training.spec).init == "shuffle"
        assert cell.dense == plans.dense(subject(task, task.recipe), cell.seed).key


def test_arms_may_stand_before_those_they_are_of(read: Any) -> None:
    text = f"controls: {{kind: control, of: moved}}\nmoved: {{kind: transfer, of: t}}\n{TICKETS}"
    plan = expand(read(grown(text.replace("tickets:", "t:"))), subject)
    assert list(dict.fromkeys(cell.arm for cell in plan.cells)) == ["controls", "moved", "t"]


def test_an_alias_stands_for_what_it_names(read: Any) -> None:
    text = "a: {kind: imp, sparsity: &s {mlm: 0.5}}\nb: {kind: imp, sparsity: *s, no_rewind: true}"
    plan = read(grown(text))
    assert plan.arms["a"].sparsity == plan.arms["b"].sparsity


# --- what is refused ---------------------------------------------------------

CIRCLE = "a: {kind: control, of: b}\nb: {kind: control, of: c}\nc: {kind: control, of: b}"
LATER = f"{TICKETS}\nmoved: {{kind: transfer, of: tickets}}\nx: "


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ("a: {kind: impp}", "5: there is no kind of arm 'impp'. Did you mean 'imp'?"),
        (
            "a: {of: b}",
            "5: arm 'a' needs a `kind`, got none. There are: connectivity, control, ",
        ),
        ("a: {kind: imp, sparsty: 0.5}", "5: there is no field of arm 'a' of kind imp 'sparsty'"),
        ("a: {kind: dense, of: a}", "5: there is no field of arm 'a' of kind dense 'of'"),
        (
            "a: {kind: transfer, of: a, start: rewund}",
            "5: there is no start of a transfer 'rewund'",
        ),
        ("a: {kind: imp, search: 1}", "5: there is no field of arm 'a' of kind imp 'search'"),
        ("a: {kind: control}", "5: arm 'a' of kind control needs `of`, got none. Add it."),
        ("a: {kind: control,\n\n of: tikets}\n" + TICKETS, "7: there is no arm 'tikets'. Did you"),
        ("a: {kind: dense, tasks: [sentimnt]}", "5: there is no task of the plan 'sentimnt'. Did"),
        ("a: {kind: imp, sparsity: {mln: 0.5}}", "5: there is no task of the plan 'mln'. Did you"),
        ("a: {kind: imp, sparsity: 70}", "5: sparsity is a fraction in [0, 1), got 70. For 70 %"),
        ("a: {kind: imp, sparsity: 0}", "5: sparsity is above 0 in a search, got 0."),
        ("a: {kind: imp, sparsity: [0.5, 0.7]}", "5: sparsity is one number in an imp arm, got 2."),
        ("a: {kind: imp, sparsity: {mlm: [0.5, 0.7]}}", "5: sparsity is one number in an imp arm"),
        ("a: {kind: imp, sparsity: []}", "5: sparsity is a list with something in it, got a list."),
        ("a: {kind: imp, step: 0}", "5: step is a fraction in (0, 1), got 0."),
        ("a: {kind: imp, schedule: linar}", "5: there is no schedule 'linar'. Did you mean"),
        ("a: {kind: imp, rounds: [0.7, 0.5]}", "5: rounds are sparsities that rise from above 0, "),
        ("a: {kind: imp, rounds: 0.7}", "5: rounds is a list, got '0.7'. Write [0.7]."),
        ("a: {kind: imp, rounds: [0.3, 0.5], step: 0.1, sparsity: 0.7}", "5: the last of the"),
        ("a: {kind: imp, rounds: [0.3, 0.5], sparsity: {mlm: 0.7}}", "5: the last of the"),
        ("a: {kind: imp, keep_head: 1}", "5: keep_head is true or false, got '1'."),
        ("a: {kind: imp, rewind_step: soon}", "5: rewind_step is a whole number, got 'soon'."),
        ("a: {kind: imp, rewind_step: 1, no_rewind: true}", "5: no_rewind trains all weights"),
        ("a: {kind: imp, rewind_step: 500}", "5: weights are rewound to a step before the end"),
        ("a: {kind: dense, seeds: 3}", "5: seeds is a list, got '3'. Write [3]."),
        ("a: {kind: dense, seeds: [0, 0]}", "5: seeds has different entries, got 0 twice."),
        ("a: {kind: dense, seeds: [-1]}", "5: seeds are different whole numbers from 0"),
        ("a: {kind: dense, seeds: {0: 1}}", "5: seeds is a list, got fields."),
        ("a: {kind: dense, tasks: [1]}", "5: tasks is a name, got '1'. Put it into quotes."),
        ("a: {kind: dense, tasks: }", "5: tasks is a list, got nothing."),
        ("a: dense", "5: arm 'a' is `field: value` lines, got 'dense'."),
        ("a: {kind: [imp]}", "5: kind is a name, got a list."),
        (
            "a: {kind: dense}\na: {kind: dense}",
            "6: expected YAML: 'a' appears twice.",
        ),
        ("a: {kind: dense, kind: imp}", "5: expected YAML: 'kind' appears twice. Fix the file."),
        ("? [a]\n: {kind: dense}", "5: expected a name, got a list. Write `name: value`."),
        ("a: {kind: control, of: a}", "5: arms are of each other: a -> a. Let one be of an imp"),
        (CIRCLE, "5: arms are of each other: b -> c -> b. Let one be of an imp arm."),
        (LATER + "{kind: control, of: y}\ny: {kind: dense}", "7: arm 'x' is of an arm of kind imp"),
        (LATER + "{kind: transfer, of: moved}", "7: arm 'x' is of an arm of kind imp"),
        (LATER + "{kind: control, of: moved, names: [radnom]}", "7: there is no control 'radnom'."),
        (LATER + "{kind: control, of: moved, learning_rates: [0]}", "7: learning_rate is a posi"),
        (
            LATER + "{kind: control, of: tickets, sparsity: 0.3}",
            "7: expected a sparsity of the arm",
        ),
        (LATER + "{kind: control, of: tickets, seeds: [7]}", "7: expected a seed of the arm 'tick"),
        (LATER + "{kind: evaluate, of: moved, seeds: [0]}", "7: a ticket is evaluated on seeds ot"),
        (LATER + "{kind: evaluate, of: moved, search_seed: 7}", "7: expected a seed of the arm"),
        (LATER + "{kind: evaluate, of: moved, init: shufle}", "7: there is no initialisation"),
        (
            "a: {kind: imp, tasks: [mlm]}\nb: {kind: transfer, of: a, sources: [sentiment]}",
            "6: expected a task of the arm 'a', got sentiment. It has: mlm.",
        ),
    ],
)
def test_a_mistake_in_an_arm_is_told_with_its_line(refusal: Any, arms: str, message: str) -> None:
    assert refusal(grown(arms)).startswith(message)


ARMS_LINE = "arms: {a: {kind: dense}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2\nnew: 1\n", "1: this tombola reads plans of version 1, got version 2. Update"),
        ("version: 0\ntasks: [mlm]\n", "1: version is 1, got 0."),
        ("version: one\ntasks: [mlm]\n", "1: version is a whole number, got 'one'."),
        ("tasks: [mlm]\n", " a plan needs `version: 1`, got none. Add it."),
        ("version: 1\n", " a plan needs `tasks`, got none. Add some."),
        (
            "version: 1\ntask: [mlm]\n",
            "2: there is no field of a plan 'task'. Did you mean 'tasks'",
        ),
        ("version: 1\ntasks: [mlm,\n sentimnt]\n", "3: there is no task 'sentimnt'. Did you mean"),
        ("version: 1\ntasks: {mlm: {trian: {}}}\n", "2: there is no field of a task 'trian'. Did"),
        ("version: 1\ntasks: {mlm: {data: [x]}}\n", "2: data is a name, got a list."),
        ("version: 1\ntasks: {mlm: 3}\n", "2: task 'mlm' is `field: value` lines, got '3'."),
        ("version: 1\ntasks: mlm\n", "2: tasks is a list, got 'mlm'. Write [mlm]."),
        ("version: 1\ntasks: {}\n", " a plan needs `tasks`, got none. Add some."),
        ("version: 1\ntasks: [mlm]\ntrain: {epochs: many}\n", "3: epochs is a number, got 'many'."),
        ("version: 1\ntasks: [mlm]\ntrain: {epochs: -1}\n", "3: epochs is a positive number, got"),
        ("version: 1\ntasks: [mlm]\ntrain: {epoch: 1}\n", "3: there is no field of a recipe 'epo"),
        ("version: 1\ntasks: [mlm]\ntrain: {seed: 1}\n", "3: there is no field of a recipe 'seed'"),
        ("version: 1\ntasks: [mlm]\nscope: encodr\n", "3: there is no scope 'encodr'. Did you"),
        ("version: 1\ntasks: [mlm]\nseeds: [x]\n", "3: seeds is a whole number, got 'x'."),
        ("version: 1\ntasks: [mlm]\nmodel: [x]\n", "3: model is a name, got a list."),
    ],
)
def test_a_mistake_at_the_top_is_told_with_its_line(refusal: Any, text: str, message: str) -> None:
    assert refusal(text + ARMS_LINE).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " expected `field: value` lines, got nothing."),
        ("- a\n", " expected `field: value` lines, got a list."),
        ("plan", " expected `field: value` lines, got 'plan'."),
        ("a" * 999, f" expected `field: value` lines, got '{'a' * 80}…'."),
        ("version: 1\narms: [1\ntasks: x", "3: expected YAML: "),
        ("version: 1\n---\nversion: 1\n", "2: expected YAML: "),
        ("version: \x00", " expected YAML: "),
        ("version: 1\ntasks: [mlm]\n", " a plan needs `arms`, got none. Add some."),
        ("version: 1\ntasks: [mlm]\narms: {}\n", " a plan needs `arms`, got none. Add some."),
        ("a: " + "[" * 5000, "1: expected YAML: it is nested"),
        ("version: &a [*a]", "1: expected YAML: 'a' is part of itself"),
        ("version: *a", "1: expected YAML: "),
    ],
)
def test_what_is_no_plan_is_told(refusal: Any, text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_a_plan_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^there is no plan 'tabel2'\. Did you mean 'table2'\?$"):
        read_plan("tabel2")
    (tmp_path / "bits.yaml").write_bytes(b"\xff\xfe\x00")
    for place in (tmp_path / "none.yaml", str(tmp_path / "none"), "none.yaml", tmp_path):
        with pytest.raises(SpecError, match="expected a plan file, got '"):
            read_plan(place)
    with pytest.raises(SpecError, match="expected a plan file, got '"):
        read_plan(tmp_path / "bits.yaml")


MOVED = """\
early: {kind: imp, rounds: [0.3, 0.5], rewind_step: 7, tasks: [mlm]}
moved: {kind: transfer, of: early, start: rewound}
beside: {kind: transfer, of: early}"""


def test_a_ticket_moves_with_the_weights_that_its_search_rewinds_to(read: Any) -> None:
    moved, beside = cells(read, MOVED, "moved"), cells(read, MOVED, "beside")
    assert moves(moved) == {("mlm", "sentiment"): 2, ("mlm", "mlm"): 2}
    for cell, plain in zip(moved, beside, strict=True):
        body = cell.training.parents["body"]
        assert body.subject.task.name == "mlm"
        assert train_job(body.spec).course == CourseSpec(last=7)
        assert train_job(body.spec).recipe.seed == cell.seed
        assert "start" not in cell.training.parents
        assert (cell.mask, cell.dense) == (plain.mask, plain.dense)
        assert plain.training.parents.keys() == {"mask"}
        assert body in cell.training.reads_weights


@pytest.mark.parametrize("search", ["", ", no_rewind: true", ", keep_head: true"])
def test_only_a_search_that_rewinds_later_has_weights_to_move_with(
    refusal: Any, search: str
) -> None:
    text = f"a: {{kind: transfer, of: b, start: rewound}}\nb: {{kind: imp, step: 0.5{search}}}"
    assert refusal(grown(text)).startswith("5: start: rewound needs a search that rewinds to a ")


OWN_DATA = """\
version: 1
tasks:
  sentiment: {data: rows/mine, train: {epochs: 2}}
  mlm: {data: /far/away}
  valence:
arms: {dense: {kind: dense}}
"""


def test_a_task_may_name_the_folder_of_its_data_beside_the_plan(read: Any, tmp_path: Path) -> None:
    plan = read(OWN_DATA)
    assert plan.data == {"sentiment": tmp_path / "rows" / "mine", "mlm": Path("/far/away")}
    assert plan.tasks["sentiment"] == {"epochs": 2}


def test_a_folder_of_data_has_one_for_each_task_that_it_concerns(read: Any, tmp_path: Path) -> None:
    plan, data = read(OWN_DATA), tmp_path / "data"
    (data / "mlm").mkdir(parents=True)
    (data / "else").mkdir()
    assert data_in(data, plan).data == {**plan.data, "mlm": data / "mlm"}
    for place in (data / "else", data / "none"):
        with pytest.raises(SpecError, match=r"for each task in '.*' \(sentiment, mlm, valence\)"):
            data_in(place, plan)
    one = read("version: 1\ntasks: [mlm]\n" + ARMS_LINE)
    assert data_in(data / "else", one).data == {"mlm": data / "else"}
    assert data_in(data, one).data == {"mlm": data / "mlm"}


def test_an_error_that_is_not_the_plan_s_stays_as_it_is(read: Any) -> None:
    def missing(task: Task, recipe: TrainSpec) -> Subject:
        raise DataError("no rows.")

    with pytest.raises(DataError, match=r"^no rows\.$"):
        expand(read(TEN_LINES), missing)


def test_a_plan_of_cells_is_the_plan_of_a_file(read: Any) -> None:
    plan = expand(read(TEN_LINES), subject)
    assert [job.key for job in Plan.of(plan.cells).jobs] == [job.key for job in plan.jobs]


def test_data_that_are_given_for_a_task_in_a_file_are_used(read: Any, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    definition = "kind: mlm\ntexts: [text]\nmetric: masked-accuracy\ndata: first\n"
    (tmp_path / "own" / "mine.yaml").write_text(definition)
    name = str(tmp_path / "own" / "mine.yaml")
    text = f"version: 1\ntasks: {{{name}: {{data: %s}}, mlm: }}\n{ARMS_LINE}"
    seen: list[str] = []

    def made(task: Task, recipe: TrainSpec) -> Subject:
        seen.append(task.data)
        return subject(task, recipe)

    expand(read(text % "other"), made)
    expand(read(text % "hub:a/b"), made)
    (tmp_path / "all" / "mine").mkdir(parents=True)
    expand(data_in(tmp_path / "all", read(text % "other")), made)
    assert seen == [str(tmp_path / "other"), "", "hub:a/b", "", str(tmp_path / "all/mine"), ""]
