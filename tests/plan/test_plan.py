"""What two experiments have in common has one name, and every job comes after what it needs."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise, permutations
from typing import Any

import pytest

from processes import loaded_after
from tombola.base import specs
from tombola.base.errors import SpecError
from tombola.base.specs import CourseSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.plan.cell import Cell
from tombola.plan.controls import CONTROLS, control
from tombola.plan.job import Job, dense, given, one_shot, reordered, train
from tombola.plan.job_spec import PruneJobSpec, as_training, read_spec
from tombola.plan.plan import Plan, Search, evaluate, transfer
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task

D = Decimal
LOW, MIDDLE, HIGH = D("0.25"), D("0.5"), D("0.7")
SPEC = ImpSpec(step=LOW)


def subject(name: str = "sentiment", **changes: Any) -> Subject:
    made = Subject(
        model="mini",
        fingerprint="0" * 64,
        task=replace(load_task(name), version=1),
        recipe=TrainSpec(epochs=3, batch_size=10, learning_rate=3e-4),
        data=name.ljust(64, "1"),
        examples=100,
        folder=None,
    )
    return replace(made, **changes)


def imp(**options: Any) -> Search:
    return FINDERS["imp"].search(subject(), replace(SPEC, **options), 0)


def course(job: Job) -> dict[str, Any]:
    made: dict[str, Any] = job.spec.to_json().get("course", {})
    return made


def roles(job: Job) -> dict[str, str]:
    return {role: parent.key for role, parent in job.parents.items()}


# --- names -------------------------------------------------------------------

MASK = one_shot(subject(), HIGH)
SEARCH = FINDERS["imp"].search(subject(), SPEC, 1)
POOLED = replace(subject(), scope="encoder+pooler")
PINNED: dict[str, tuple[Job, str]] = {
    "train dense": (
        dense(subject(), 0),
        "17419623f4cf49bd08821fa673cc72abfbb2c6bf4a95359e1e847fd183fdf4f0",
    ),
    "train dense, seed 1": (
        dense(subject(), 1),
        "783e8320450c73fa42bbe094b544cca7efe45be3625ed6393aa1048cad62dcd1",
    ),
    "prune one-shot": (MASK, "5d73dc6e009e8fd0378436527b03bbc2e13d5b5d93281e2cc5993da58c847232"),
    "train one-shot": (
        control("one-shot", subject(), MASK, HIGH, 0),
        "e63e9f102bf0ef1bf593dbd7efb0f0d907f1b7fc49ba41de9ed17f0e8e6d10bd",
    ),
    "prune trained": (
        SEARCH.masks[LOW],
        "b600becdf5fcc1abd98f32117f03aaa414f8bb30c1a9ce6041e2bf73123498bd",
    ),
    "train masked": (
        SEARCH.trainings[HIGH],
        "8eb0854d778be3b526b4c2476a447067da1629b8319bab6a320991dbc4b447f7",
    ),
    "train rewound": (
        FINDERS["imp"].search(subject(), replace(SPEC, rewind_step=3), 0).trainings[HIGH],
        "e0d091868532f08cd749d4f767dfec13c44c4bbcf67ff27e2a13db2da7c5f577",
    ),
    "train further": (
        FINDERS["imp"].search(subject(), replace(SPEC, no_rewind=True), 0).trainings[HIGH],
        "4c691ab0a53f04e3ab7fcaabee3d7f880faea5dd824afbd14ca98f196ca6c577",
    ),
    "prune random": (
        control("random", subject(), MASK, HIGH, 1).parents["mask"],
        "4722de9816d90a534b0ad9b7bb149853e203bd792124dd6c1ed93c6094ae259b",
    ),
    "prune like": (
        control("layer-random", subject(), MASK, HIGH, 1).parents["mask"],
        "567d1b42e7f936af9ea84a00da0063ba71851b8179590aebbd3a59e2518b8e55",
    ),
    "prune units": (
        control("small-dense", subject(), MASK, HIGH, 1).parents["mask"],
        "6b310dd7462a261df79eef0ec4f1f7e8d3c34eb6ca23129197c0b9a39cad4c6c",
    ),
    "prune random-init": (
        control("random-init", subject(), MASK, HIGH, 1).parents["mask"],
        "cd629edf42e7ea8a1de64964c7e57b016b9c6e3cf0beb7f17ee108c2bb42e6d6",
    ),
    "train reinit": (
        control("reinit", subject(), MASK, HIGH, 0),
        "d82e59a7f1ac49c1229ce15419f14d5faf25f7cf73ebb186a750f25cea5db3fa",
    ),
    "prune given": (
        given(subject(), "2" * 64, HIGH),
        "7eeb8f7322861d595a2dea00a8dc24cc40f8d1bc9880405d4ca484703b545b0f",
    ),
    "evaluate": (
        evaluate(subject(), MASK, [100], "shuffle")[0],
        "50be03e2699300e4be06db479b4ef13930b97bafc259471b864988e84a9d88af",
    ),
    "train on another task": (
        evaluate(subject("mlm"), MASK, [100])[0],
        "0ea64184f0bd00ea3d3f47ce206655292c25a9247adc8ddb7be7b159fe886ae3",
    ),
    "prune with the pooler": (
        FINDERS["imp"].search(POOLED, SPEC, 0).masks[HIGH],
        "e3b245fe8d61b3e9dc994d646dc32883b335a713795115fa4978be9059d08836",
    ),
}
"""Job, and its key: people have results of these names for ever."""


@pytest.mark.parametrize("name", PINNED)
def test_old_results_keep_their_names(name: str) -> None:
    job, expected = PINNED[name]
    assert job.key == expected


def test_no_two_of_them_share_a_name() -> None:
    assert len({job.key for job, _ in PINNED.values()}) == len(PINNED)


def test_a_name_has_no_place_in_it_and_only_knobs_that_were_changed() -> None:
    here = FINDERS["imp"].search(subject(), SPEC, 0)
    there = FINDERS["imp"].search(subject(model="/elsewhere/mini", folder="/data"), SPEC, 0)
    for ours, theirs in zip(here.trainings.values(), there.trainings.values(), strict=True):
        assert ours.key == theirs.key
    assert here.dense.spec.to_json() == {
        "model": "0" * 64,
        "data": "sentiment".ljust(64, "1"),
        "task": ["sentiment", 1],
        "train": {"batch_size": 10, "learning_rate": 3e-4},
    }
    assert here.masks[LOW].spec.to_json() == {"scores": "magnitude", "sparsity": "0.25"}
    assert MASK.spec.to_json() == {
        "scores": "magnitude",
        "sparsity": "0.7",
        "of": "pretrained",
        "model": "0" * 64,
    }


def test_a_spec_is_the_same_after_it_was_written_as_json() -> None:
    for job, _ in PINNED.values():
        again = read_spec(job.kind, json.loads(json.dumps(job.spec.to_json())))
        assert again == job.spec
        assert json.dumps(again.to_json()) == json.dumps(job.spec.to_json())
        assert replace(job, spec=again).key == job.key


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "f" * 64},
        {"data": "f" * 64},
        {"task": replace(load_task("sentiment"), version=2)},
        {"recipe": TrainSpec(epochs=2, batch_size=10, learning_rate=3e-4)},
    ],
)
def test_network_data_task_and_recipe_name_a_training(change: dict[str, Any]) -> None:
    assert dense(subject(**change), 0).key != dense(subject(), 0).key


def test_the_dense_network_is_the_same_for_every_scope_and_a_mask_is_not() -> None:
    assert dense(POOLED, 0).key == dense(subject(), 0).key
    ours, theirs = FINDERS["imp"].search(subject(), SPEC, 0), FINDERS["imp"].search(POOLED, SPEC, 0)
    assert ours.masks[LOW].key != theirs.masks[LOW].key
    assert ours.trainings[LOW].key != theirs.trainings[LOW].key


def test_a_mask_s_name_holds_nothing_of_the_task_it_is_moved_to() -> None:
    search = FINDERS["imp"].search(subject(), SPEC, 0)
    [moved] = evaluate(subject("supersense"), search.masks[HIGH], [0])
    assert moved.parents["mask"].key == search.masks[HIGH].key
    assert moved.key != search.trainings[HIGH].key
    needed = Plan.of([search.masks[HIGH]]).jobs
    assert {job.subject.task.name for job in needed} == {"sentiment"}
    assert not any("supersense" in json.dumps(job.spec.to_json()) for job in needed)


def test_one_shot_and_random_masks_are_shared_by_all_tasks() -> None:
    for name in ("one-shot", "random", "random-init", "small-dense"):
        jobs = [control(name, subject(task), MASK, HIGH, 3) for task in ("sentiment", "mlm")]
        assert len({job.key for job in jobs}) == 2
        assert len({job.parents["mask"].key for job in jobs}) == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (subject(scope="encoder+pooler"), r"scope 'encoder\+pooler', got one of 'encoder'"),
        (
            subject(fingerprint="f" * 64),
            r"expected a mask of the network f{12} \(mini\), got one of 0{12}",
        ),
    ],
)
def test_a_mask_of_another_scope_or_network_is_refused(other: Subject, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        evaluate(other, MASK, [0])
    with pytest.raises(SpecError, match=message):
        transfer({"a": {0: {HIGH: MASK}}}, {"b": other}, [HIGH], [0])


def test_an_unknown_start_is_met_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"no initialisation 'shufle'\. Did you mean 'shuffle'"):
        evaluate(subject(), MASK, [0], "shufle")


# --- searches ----------------------------------------------------------------


def test_each_round_prunes_the_last_training_and_trains_from_the_start() -> None:
    search = imp()
    assert list(search.masks) == list(search.trainings) == [LOW, MIDDLE, HIGH]
    assert roles(search.masks[LOW]) == {"trained": search.dense.key}
    assert search.dense.key == dense(subject(), 0).key
    for before, after in pairwise(search.trainings):
        assert roles(search.masks[after]) == {"trained": search.trainings[before].key}
    for sparsity, training in search.trainings.items():
        assert roles(training) == {"mask": search.masks[sparsity].key}
        assert not course(training)
        assert as_training(training.spec).recipe == as_training(search.dense.spec).recipe


def test_a_search_to_a_higher_sparsity_goes_on_with_a_lower_one() -> None:
    short, long = imp(sparsity=MIDDLE), imp(sparsity=D("0.75"))
    for sparsity in (LOW, MIDDLE):
        assert short.trainings[sparsity].key == long.trainings[sparsity].key


def test_rewinding_returns_to_a_step_of_the_dense_training() -> None:
    search, plain = imp(rewind_step=3), imp()
    assert search.dense.key == plain.dense.key
    assert search.masks[LOW].key == plain.masks[LOW].key
    early = search.trainings[LOW].parents["start"]
    assert course(early) == {"last": 3}
    assert not early.parents
    for sparsity, training in search.trainings.items():
        assert roles(training) == {"mask": search.masks[sparsity].key, "start": early.key}
        assert course(training) == {"first": 3}


def test_a_fraction_is_a_step_and_never_the_start() -> None:
    assert subject().steps == 30
    for fraction, step in (("0.1", 3), ("0.5", 15), ("0.001", 1), ("0.95", 28)):
        ours = imp(rewind_fraction=D(fraction))
        theirs = imp(rewind_step=step)
        assert ours.trainings[HIGH].key == theirs.trainings[HIGH].key


@pytest.mark.parametrize("options", [{"rewind_step": 30}, {"rewind_fraction": D("0.99")}])
def test_a_step_that_training_does_not_leave_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="a step before the end, got step 30 of the 30 steps"):
        imp(**options)


def test_standard_pruning_trains_the_last_weights_further() -> None:
    search = imp(no_rewind=True)
    assert search.masks[LOW].key == imp().masks[LOW].key
    chain = [search.dense, *search.trainings.values()]
    for before, after in pairwise(chain):
        assert after.parents["start"].key == before.key
        assert after.parents["mask"].parents["trained"].key == before.key
        assert not course(after)


def test_a_head_is_kept_from_training_to_training() -> None:
    search = imp(keep_head=True)
    chain = [search.dense, *search.trainings.values()]
    for before, after in pairwise(chain):
        assert after.parents["head"].key == before.key
        assert "start" not in after.parents


def test_a_head_is_kept_while_the_encoder_is_rewound_to_a_step() -> None:
    search = imp(keep_head=True, rewind_step=3)
    for training in search.trainings.values():
        assert course(training.parents["start"]) == {"last": 3}
        assert training.parents["head"].key != training.parents["start"].key


def test_the_long_horizon_is_that_of_all_trainings_and_spares_the_baseline() -> None:
    search = imp(long_horizon=True)
    assert search.dense.key == imp().dense.key
    first = search.masks[LOW].parents["trained"]
    assert all(course(job) == {"horizon": 4} for job in (first, *search.trainings.values()))
    early = imp(long_horizon=True, rewind_step=3).trainings[HIGH].parents["start"]
    assert course(early) == {"last": 3, "horizon": 4}


def test_pruning_first_needs_no_dense_training() -> None:
    search = imp(prune_first=True, long_horizon=True)
    assert search.masks[LOW].key == one_shot(subject(), LOW).key
    assert roles(search.masks[MIDDLE]) == {"trained": search.trainings[LOW].key}
    assert search.dense.key not in {job.key for job in Plan.of(search.trainings.values()).jobs}
    assert course(search.trainings[LOW]) == {"horizon": 3}
    for option in ("no_rewind", "keep_head"):
        first = imp(prune_first=True, **{option: True}).trainings[LOW]
        assert roles(first) == {"mask": search.masks[LOW].key}


def test_rounds_that_a_schedule_makes_too_are_the_same_jobs() -> None:
    listed = FINDERS["imp"].search(subject(), ImpSpec(rounds=(LOW, MIDDLE, HIGH)), 0)
    assert [job.key for job in listed.trainings.values()] == [
        job.key for job in imp().trainings.values()
    ]


def test_every_option_makes_another_search() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"rewind_step": 3},
        {"rewind_fraction": D("0.5")},
        {"no_rewind": True},
        {"keep_head": True},
        {"long_horizon": True},
        {"prune_first": True},
        {"schedule": "geometric"},
        {"structure": "rows"},
        {"allocation": "erk"},
        {"rounds": (D("0.4"), HIGH), "step": ImpSpec.step},
    ]
    assert len({imp(**each).trainings[HIGH].key for each in options}) == len(options)
    knobs = {name for each in options for name in each} | {"sparsity", "step", "structure"}
    assert knobs == {field.name for field in dataclasses.fields(ImpSpec)}


def test_only_jobs_that_read_weights_say_so() -> None:
    search = imp(keep_head=True, rewind_step=3)
    assert [job.key for job in search.masks[LOW].reads_weights] == [search.dense.key]
    training = search.trainings[LOW]
    read = {job.key for job in training.reads_weights}
    assert read == {training.parents["start"].key, training.parents["head"].key}
    assert not control("layer-random", subject(), MASK, HIGH, 0).reads_weights


# --- controls ----------------------------------------------------------------


def test_every_control_that_a_spec_names_exists() -> None:
    assert tuple(CONTROLS) == specs.DEFAULT_CONTROLS + specs.OPTIONAL_CONTROLS


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_differs_from_the_ticket_in_mask_or_start_alone(name: str) -> None:
    search = FINDERS["imp"].search(subject(), SPEC, 4)
    ticket = search.trainings[HIGH]
    job = control(name, subject(), search.masks[HIGH], HIGH, 4)
    start = as_training(job.spec).init
    assert start in specs.INIT_NAMES
    assert (job.parents["mask"].key != search.masks[HIGH].key) == (start == "pretrained")
    assert replace(as_training(job.spec), init="") == replace(as_training(ticket.spec), init="")
    assert job.parents["mask"].spec.to_json()["sparsity"] == "0.7"


@pytest.mark.parametrize("structure", ["2:4", "rows", "heads-and-neurons"])
def test_controls_prune_in_the_units_of_the_ticket(structure: str) -> None:
    spec = specs.PruneSpec(sparsity=D("0.5"), structure=structure)
    ticket = FINDERS["one-shot"].search(subject(), spec, 4).masks[D("0.5")]
    for name in ("random", "layer-random", "one-shot", "random-init"):
        mask = control(name, subject(), ticket, D("0.5"), 4).parents["mask"]
        assert isinstance(mask.spec, PruneJobSpec)
        assert mask.spec.prune.structure == structure
    same = control("one-shot", subject(), ticket, D("0.5"), 4).parents["mask"]
    assert same.key == ticket.key
    with pytest.raises(SpecError, match=f"would not have the structure {structure}"):
        control("permuted-mask", subject(), ticket, D("0.5"), 4)


def test_controls_differ_from_each_other() -> None:
    jobs = [control(name, subject(), MASK, HIGH, 4) for name in CONTROLS]
    shared = 1  # the ticket here is the one-shot mask itself
    assert len({job.key for job in jobs}) == len(CONTROLS)
    assert sum(job.parents["mask"].key == MASK.key for job in jobs) == shared + 4


DRAWN = ("random", "layer-random", "random-init", "permuted-mask")


def test_what_is_drawn_is_drawn_from_the_seed() -> None:
    for name in CONTROLS:
        masks = {
            control(name, subject(), MASK, HIGH, seed).parents["mask"].key for seed in range(3)
        }
        assert len(masks) == (3 if name in DRAWN else 1)


def test_an_unknown_control_is_met_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"no control 'small-dens'\. Did you mean 'small-dense'"):
        control("small-dens", subject(), MASK, HIGH, 0)


# --- transfer ----------------------------------------------------------------

TASKS = ("sentiment", "mlm")


def moved(seeds: Iterable[int] = (0, 1)) -> list[Cell]:
    sources = {
        task: {seed: FINDERS["imp"].search(subject(task), SPEC, seed).masks for seed in (0, 1)}
        for task in TASKS
    }
    return transfer(sources, {task: subject(task) for task in TASKS}, [MIDDLE, HIGH], seeds)


def test_transfer_is_every_source_target_sparsity_and_seed() -> None:
    cells = moved()
    what = {(cell.source, cell.target, cell.sparsity, cell.seed) for cell in cells}
    assert len(what) == len(cells) == 2 * 2 * 2 * 2
    for cell in cells:
        assert cell.ticket is not None
        assert cell.ticket.label.startswith(f"{cell.source}, seed {cell.seed}")
        assert cell.mask == cell.ticket.key == cell.training.parents["mask"].key
        assert cell.dense == dense(subject(cell.target), cell.seed).key
        assert cell.key == cell.training.key


def test_a_ticket_on_its_own_task_is_trained_once() -> None:
    for cell in moved():
        assert cell.sparsity is not None
        own = FINDERS["imp"].search(subject(cell.target), SPEC, cell.seed).trainings[cell.sparsity]
        assert (cell.key == own.key) == (cell.source == cell.target)


def test_a_ticket_that_was_not_found_cannot_be_moved() -> None:
    with pytest.raises(SpecError, match=r"'sentiment' at 0.5 with seed 7, got none\. Use"):
        moved(seeds=[7])


# --- plans -------------------------------------------------------------------


def test_a_plan_holds_each_job_once_after_all_that_it_needs() -> None:
    jobs = [job for job, _ in PINNED.values()]
    plan = Plan.of([*jobs, *reversed(jobs), *moved()])
    keys = [job.key for job in plan.jobs]
    assert len(set(keys)) == len(keys)
    for number, job in enumerate(plan.jobs):
        assert {parent.key for parent in job.parents.values()} <= set(keys[:number])
    assert {job.key for job in jobs} <= set(keys)
    assert len(plan.cells) == len(moved())


def test_a_cell_brings_its_ancestors_and_its_baseline() -> None:
    cell = moved()[1]
    plan = Plan.of([cell])
    keys = {job.key for job in plan.jobs}
    assert {cell.key, cell.dense, cell.mask} <= keys
    assert Plan.of(plan.jobs).jobs == plan.jobs


def test_a_chain_longer_than_the_stack_is_planned() -> None:
    deep = ImpSpec(sparsity=D("0.999"), step=D("0.001"))
    assert (
        len(Plan.of([FINDERS["imp"].search(subject(), deep, 0).trainings[D("0.999")]]).jobs) == 1999
    )


def test_every_job_comes_after_its_parents() -> None:
    done: set[str] = set()
    for job in Plan.of(imp(rewind_step=3).trainings.values()).jobs:
        assert all(parent.key in done for parent in job.parents.values())
        assert job.key not in done
        done.add(job.key)


def test_a_job_knows_who_needs_it_and_who_reads_its_weights() -> None:
    search = imp(no_rewind=True)
    plan = Plan.of(search.trainings.values())
    after = {search.masks[LOW].key, search.trainings[LOW].key}
    assert {job.key for job in plan.children(search.dense)} == after
    assert {job.key for job in plan.readers(search.dense)} == after
    mask = search.masks[LOW]
    assert [job.key for job in plan.children(mask)] == [search.trainings[LOW].key]
    assert not plan.readers(mask)
    assert not plan.children(search.trainings[HIGH])


def test_a_plan_does_not_depend_on_which_experiment_comes_first() -> None:
    parts: list[list[Job | Cell]] = [list(imp().trainings.values()), [*moved()], [MASK]]
    made = [Plan.of(each for part in order for each in part) for order in permutations(parts)]
    assert len({frozenset(job.key for job in plan.jobs) for plan in made}) == 1


def test_a_thousand_experiments_share_their_dense_runs() -> None:
    cells = moved()
    untaught = [job for job in Plan.of(cells).jobs if job.kind == "train" and not job.parents]
    assert Counter(job.subject.task.name for job in untaught) == {"sentiment": 2, "mlm": 2}


def test_planning_loads_no_torch() -> None:
    code = "import tombola.plan.plan, tombola.lab.planfile.plan_file as p\np.read_plan('quick')"
    assert not {"torch", "numpy", "transformers"} & loaded_after(code)


def test_a_course_of_the_whole_training_is_no_part_of_a_name() -> None:
    job = train(subject(), 0, "dense", course=CourseSpec())
    assert job.key == dense(subject(), 0).key


# --- teachers ------------------------------------------------------------------

TAUGHT = subject(recipe=replace(subject().recipe, distill=0.5))


def test_the_teacher_is_the_dense_network_that_every_plan_has() -> None:
    teacher = dense(TAUGHT, 1)
    assert teacher.key == dense(subject(), 1).key
    search = FINDERS["imp"].search(TAUGHT, SPEC, 1)
    assert search.dense.key == teacher.key
    for training in search.trainings.values():
        assert training.parents["teacher"].key == teacher.key
        assert teacher.key in {job.key for job in training.reads_weights}
    random = control("random", TAUGHT, search.masks[HIGH], HIGH, 1)
    assert random.parents["teacher"].key == teacher.key
    keys = [job.key for job in Plan.of([*search.trainings.values(), random]).jobs]
    assert keys.count(teacher.key) == 1


def test_a_teacher_changes_the_names_of_what_it_teaches() -> None:
    for finder, taught in (("snip", False), ("one-shot", False), ("gradual", True)):
        found = FINDERS[finder]
        spec = found.spec(sparsity=HIGH)
        with_teacher, without = (found.search(one, spec, 1) for one in (TAUGHT, subject()))
        assert (with_teacher.masks[HIGH].key != without.masks[HIGH].key) == taught
        assert ("teacher" in with_teacher.masks[HIGH].parents) == taught
        assert with_teacher.trainings[HIGH].key != without.trainings[HIGH].key


def test_the_seed_of_the_data_order_has_the_same_teacher() -> None:
    training = train(TAUGHT, 1, "ticket", mask=one_shot(TAUGHT, HIGH))
    other = reordered(training, 9)
    assert other.parents["teacher"].key == training.parents["teacher"].key
    assert other.key != training.key
