"""A plan file comes to the cells that it says."""

import dataclasses
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from plan_text import DENSE_ARM, TICKETS, grown
from stand_in_subject import subject
from tombola.base.errors import DataError, SpecError
from tombola.base.fields import field_help
from tombola.base.specs import DEFAULT_CONTROLS, CourseSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.kernel import native_bf16
from tombola.lab.planfile.arm import ARMS, Sparsities
from tombola.lab.planfile.arms import kind_of_arm
from tombola.lab.planfile.fields import IN_A_FILE
from tombola.lab.planfile.finder_arm import FinderArm
from tombola.lab.planfile.plan_data import data_in
from tombola.lab.planfile.plan_file import PlanFile, expand, read_plan
from tombola.plan.cell import Cell
from tombola.plan.job import dense
from tombola.plan.job_spec import as_training
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import Task, load_task

D = Decimal
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "plans.md"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Text of a plan -> what stands in it."""

    def read(text: str) -> PlanFile:
        file = tmp_path / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        return read_plan(file)

    return read


def cells(read: Any, text: str, arm: str) -> list[Cell]:
    return [cell for cell in expand(read(grown(text)), subject).cells if cell.arm == arm]


def moves(found: list[Cell]) -> Counter[tuple[str, str]]:
    return Counter((cell.source, cell.target) for cell in found)


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
        named = {IN_A_FILE.get(knob, knob) for knob in knobs}
        assert set(re.findall(r"`([a-z_]+)`", row.rsplit("|", 2)[1])) == named
    shown = {name for line in lines for name in re.findall(r"^\| `(\w+)` \|", line)}
    inner = {"where", "folder", "lines", "data"}
    fields = {field.name for field in dataclasses.fields(PlanFile)} - inner
    assert shown - {*ARMS, *FINDERS} == fields | {"version", "train"}


def test_learning_rates_that_differ_in_any_digit_have_names_of_their_own(read: Any) -> None:
    rates = "learning_rates: [1.0e-4, 1.00000001e-4]"
    arm = f"tickets: {{kind: one-shot, sparsity: 0.5, {rates}}}"
    control = f"\ncontrols: {{kind: control, of: once, names: [random], {rates}}}"
    text = f"{arm}\nonce: {{kind: one-shot, sparsity: 0.5}}{control}"
    for name, what in (("tickets", "one-shot"), ("controls", "random")):
        labels = {cell.label for cell in cells(read, text, name)}
        assert labels == {f"{what}, learning rate {rate}" for rate in ("0.0001", "0.000100000001")}


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
    trainings = [as_training(job.spec) for job in plan.jobs if job.kind == "train"]
    assert {spec.recipe.epochs for spec in trainings} == {1.0}
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


def test_an_automatic_precision_is_settled_before_jobs_are_named(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_bf16, "fast_precision", lambda: "bf16")
    text = (
        "version: 1\ntrain: {{precision: {}}}\ntasks: [sentiment]\n"
        "arms: {{tickets: {{kind: imp, sparsity: 0.6, step: 0.3}}}}"
    )
    auto, bf16 = (expand(read(text.format(name)), subject) for name in ("auto", "bf16"))
    assert [job.key for job in auto.jobs] == [job.key for job in bf16.jobs]
    assert {as_training(job.spec).recipe.precision for job in auto.jobs if job.kind == "train"} == {
        "bf16"
    }


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


def test_the_teacher_at_every_learning_rate_is_the_dense_network_that_is_compared_with(
    read: Any,
) -> None:
    arms = """
  imp: {kind: imp, sparsity: 0.3, learning_rates: [1.0e-3]}
  movement: {kind: movement, sparsity: 0.5, learning_rates: [1.0e-3]}
  controls: {kind: control, of: imp, names: [random, reinit], learning_rates: [1.0e-4]}
"""
    text = f"version: 1\ntasks: [sentiment]\ntrain: {{distill: 0.5}}\narms:{arms}"
    plan = expand(read(text), subject)
    [baseline] = {cell.dense for cell in plan.cells}
    teachers = [job.parents["teacher"].key for job in plan.jobs if "teacher" in job.parents]
    assert {*teachers} == {baseline}
    assert len(teachers) == 3 + 2 + 2
    labels = [job.label for job in plan.jobs if job.kind == "train"]
    assert len({*labels}) == len(labels)


def test_each_ticket_has_its_controls(read: Any) -> None:
    text = f"{TICKETS}\ncontrols: {{kind: control, of: tickets}}"
    found = cells(read, text, "controls")
    assert Counter(cell.what for cell in found) == dict.fromkeys(DEFAULT_CONTROLS, 2 * 2)
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
    assert [as_training(cell.training.spec).recipe.learning_rate for cell in (low, high)] == [
        1e-4,
        1e-3,
    ]
    task = load_task("mlm")
    assert low.dense == high.dense == dense(subject(task, task.recipe), 1).key


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
        assert as_training(cell.training.spec).init == "shuffle"
        assert cell.dense == dense(subject(task, task.recipe), cell.seed).key


def test_arms_may_stand_before_those_they_are_of(read: Any) -> None:
    text = f"controls: {{kind: control, of: moved}}\nmoved: {{kind: transfer, of: t}}\n{TICKETS}"
    plan = expand(read(grown(text.replace("tickets:", "t:"))), subject)
    assert list(dict.fromkeys(cell.arm for cell in plan.cells)) == ["controls", "moved", "t"]


def test_an_alias_stands_for_what_it_names(read: Any) -> None:
    text = "a: {kind: imp, sparsity: &s {mlm: 0.5}}\nb: {kind: imp, sparsity: *s, no_rewind: true}"
    plan = read(grown(text))
    assert plan.arms["a"].sparsity == plan.arms["b"].sparsity


def test_a_plan_is_scored_on_the_split_that_it_names(read: Any) -> None:
    plain = "version: 1\ntasks: [sentiment]\narms: {dense: {kind: dense}}\n"
    tasks: list[Task] = []

    def seen(task: Task, recipe: TrainSpec) -> Subject:
        tasks.append(task)
        return subject(task, recipe)

    for text in (plain, f"{plain}eval_split: dev\n"):
        expand(read(text), seen)
    assert [task.test_split for task in tasks] == ["test", "dev"]
    with pytest.raises(SpecError, match="eval_split must be a split that is not trained on"):
        expand(read(f"{plain}eval_split: train\n"), seen)


MOVED = """\
early: {kind: imp, rounds: [0.3, 0.5], rewind_step: 7, tasks: [mlm]}
moved: {kind: transfer, of: early, start: rewound}
plain: {kind: transfer, of: early}"""


def test_a_ticket_moves_with_the_weights_that_its_search_rewinds_to(read: Any) -> None:
    moved, plain = cells(read, MOVED, "moved"), cells(read, MOVED, "plain")
    assert moves(moved) == {("mlm", "sentiment"): 2, ("mlm", "mlm"): 2}
    for cell, unmoved in zip(moved, plain, strict=True):
        body = cell.training.parents["body"]
        assert body.subject.task.name == "mlm"
        assert as_training(body.spec).course == CourseSpec(last=7)
        assert as_training(body.spec).recipe.seed == cell.seed
        assert "start" not in cell.training.parents
        assert (cell.mask, cell.dense) == (unmoved.mask, unmoved.dense)
        assert unmoved.training.parents.keys() == {"mask"}
        assert body in cell.training.reads_weights


OWN_DATA = """\
version: 1
tasks:
  sentiment: {data: rows/mine, train: {epochs: 2}}
  mlm: {data: /far/away}
  valence:
arms: {dense: {kind: dense}}
"""


def test_a_task_may_name_the_folder_of_its_data_next_to_the_plan(read: Any, tmp_path: Path) -> None:
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
    one = read("version: 1\ntasks: [mlm]\n" + DENSE_ARM)
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
    text = f"version: 1\ntasks: {{{name}: {{data: %s}}, mlm: }}\n{DENSE_ARM}"
    seen: list[str] = []

    def made(task: Task, recipe: TrainSpec) -> Subject:
        seen.append(task.data)
        return subject(task, recipe)

    expand(read(text % "other"), made)
    expand(read(text % "hub:a/b"), made)
    (tmp_path / "all" / "mine").mkdir(parents=True)
    expand(data_in(tmp_path / "all", read(text % "other")), made)
    assert seen == [str(tmp_path / "other"), "", "hub:a/b", "", str(tmp_path / "all/mine"), ""]


def test_task_files_data_and_network_may_stand_next_to_the_plan(read: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("a text\n")
    (tmp_path / "network").mkdir()
    definition = "kind: mlm\ntexts: [text]\nmetric: masked-accuracy\ndata: rows.txt\n"
    (tmp_path / "texts.yaml").write_text(definition)
    plan = read(f"version: 1\nmodel: network\ntasks: [texts.yaml, mlm]\n{DENSE_ARM}")
    assert plan.model == str(tmp_path / "network")
    seen: list[str] = []

    def made(task: Task, recipe: TrainSpec) -> Subject:
        seen.append(task.data)
        return subject(task, recipe)

    (tmp_path / "network" / "config.json").write_text("{}")
    expand(plan, made)
    assert seen == [str(tmp_path / "rows.txt"), ""]
    assert read(f"version: 1\nmodel: elsewhere\ntasks: [mlm]\n{DENSE_ARM}").model == "elsewhere"


def test_a_budget_is_for_every_search_that_names_no_other(read: Any) -> None:
    arms = """
  rounds: {kind: imp, sparsity: [0.3, 0.5], step: 0.1}
  longer: {kind: gradual, sparsity: 0.5, budget: 3}
  before: {kind: imp, sparsity: 0.5, budget: 0}
  moved: {kind: transfer, of: longer}
  chance: {kind: control, of: longer, names: [reinit]}
"""
    file = read(f"version: 1\ntasks: [sentiment]\nbudget: 2\narms:{arms}")
    cells = expand(file, subject).cells
    found = {(c.arm, c.label, c.sparsity and f"{c.sparsity:f}", c.budget) for c in cells}
    assert found == {
        ("rounds", "imp, budget 2", "0.3", 2.0),
        ("rounds", "imp, budget 2", "0.5", 2.0),
        ("longer", "gradual, budget 3", "0.5", 3.0),
        *(("before", "imp", f"0.{each}", 0.0) for each in range(1, 6)),
        ("moved", "transfer", "0.5", 3.0),
        ("chance", "reinit", "0.5", 3.0),
    }
    last = next(cell for cell in cells if (cell.arm, cell.sparsity) == ("rounds", D("0.5")))
    assert last.ticket is not None
    spent = sum(job.steps for job in Plan.of([last.ticket]).jobs)
    assert 0 <= 2 * last.baseline.steps - spent < 5  # of five rounds


def test_a_finder_may_have_learning_rates_of_its_own_next_to_dense_at_the_recipes(
    read: Any,
) -> None:
    arms = """
  swept: {kind: snip, sparsity: 0.5, learning_rates: [1.0e-4, 1.0e-3]}
  one: {kind: imp, sparsity: 0.2, learning_rates: [1.0e-3]}
  plain: {kind: snip, sparsity: 0.5}
  moved: {kind: transfer, of: one}
"""
    cells = expand(read(f"version: 1\ntasks: [sentiment]\narms:{arms}"), subject).cells
    swept = {c.label: c for c in cells if c.arm == "swept"}
    assert [*swept] == ["snip, learning rate 0.0001", "snip, learning rate 0.001"]
    plain = next(c for c in cells if c.arm == "plain")
    for rate, cell in zip((1e-4, 1e-3), swept.values(), strict=True):
        assert as_training(cell.training.spec).recipe.learning_rate == rate
        assert cell.baseline.key == plain.baseline.key
        assert cell.key != plain.key
    one = [c for c in cells if c.arm == "one"]
    searched = {
        as_training(j.spec).recipe.learning_rate
        for j in Plan.of([one[-1].training]).jobs
        if j.kind == "train"
    }
    assert searched == {1e-3}
    with pytest.raises(SpecError, match="an arm with one learning rate, got 2 in 'swept'"):
        expand(
            read(f"version: 1\ntasks: [sentiment]\narms:{arms.replace('of: one', 'of: swept')}"),
            subject,
        )
