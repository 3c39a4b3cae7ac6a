"""Within a budget every search that trains takes as many steps, and its ticket is trained alike."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from stand_in_subject import subject as stand_in
from tombola.base.errors import SpecError
from tombola.base.specs import FindSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.plan.job import Job
from tombola.plan.job_spec import PruneJobSpec, as_training
from tombola.plan.plan import Plan, Search
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task

HALF = Decimal("0.5")
RECIPE = TrainSpec(epochs=3.0, batch_size=10, learning_rate=1e-3)
"""300 steps on a thousand examples."""


@pytest.fixture
def subject() -> Subject:
    return stand_in(load_task("sentiment"), RECIPE)


def search(subject: Subject, finder: str, budget: float, **knobs: Any) -> Search:
    found = FINDERS[finder]
    return found.search(subject, found.spec(sparsity=HALF, **knobs), 0, budget=budget)


def trainings(found: Search) -> list[Job]:
    """What is trained on the way to the mask."""
    return [job for job in Plan.of([found.masks[HALF]]).jobs if job.steps]


@pytest.mark.parametrize(
    ("finder", "knobs", "budget", "steps"),
    [
        ("imp", {"step": "0.1"}, 5, [300] * 5),
        ("imp", {"step": "0.1"}, 1, [60] * 5),
        ("imp", {"step": "0.1"}, 8, [480] * 5),
        ("imp", {"rounds": ("0.2", "0.4", "0.5")}, 1.5, [150] * 3),
        ("imp", {"step": "0.1", "prune_first": True}, 1, [75] * 4),
        ("gradual", {}, 1, [300]),
        ("gradual", {}, 3, [900]),
        ("movement", {}, 8, [2400]),
        ("platon", {}, 0.5, [150]),
    ],
)
def test_a_budget_is_spread_over_the_trainings_of_a_search(
    subject: Subject, finder: str, knobs: dict[str, Any], budget: float, steps: list[int]
) -> None:
    found = search(subject, finder, budget, **knobs)
    assert [job.steps for job in trainings(found)] == steps
    (ticket,) = found.trainings.values()
    assert as_training(ticket.spec).recipe == RECIPE
    assert found.dense.key == search(subject, finder, 0, **knobs).dense.key


@pytest.mark.parametrize(("finder", "steps"), [("imp", [60] * 5), ("gradual", [300])])
def test_a_teacher_is_the_same_under_every_budget_and_takes_none_of_it(
    finder: str, steps: list[int]
) -> None:
    subject = stand_in(load_task("sentiment"), replace(RECIPE, distill=0.5))
    found = search(subject, finder, 1)
    jobs = trainings(found)
    taught = [job for job in jobs if "teacher" in job.parents]
    assert {job.parents["teacher"].key for job in taught} == {found.dense.key}
    assert [job.steps for job in jobs if job.key != found.dense.key] == steps


def test_steps_that_cannot_be_shared_are_left(subject: Subject) -> None:
    found = search(subject, "imp", 1, rounds=("0.1", "0.2", "0.3", "0.4", "0.45", "0.48", "0.5"))
    assert [job.steps for job in trainings(found)] == [42] * 7  # of 300


@pytest.mark.parametrize(("finder", "budget"), [("imp", 5), ("gradual", 1)])
def test_what_a_search_takes_by_itself_is_the_same_search(
    subject: Subject, finder: str, budget: float
) -> None:
    plain, found = search(subject, finder, 0), search(subject, finder, budget)
    assert found.masks[HALF].key == plain.masks[HALF].key
    assert found.trainings[HALF].key == plain.trainings[HALF].key


@pytest.mark.parametrize("finder", ["one-shot", "synflow", "snip", "obs"])
def test_a_search_that_trains_nothing_has_nothing_to_spread(subject: Subject, finder: str) -> None:
    knobs: dict[str, Any] = {"examples": 100} if finder == "obs" else {}
    plain, found = (search(subject, finder, budget, **knobs) for budget in (0, 3))
    assert found.trainings[HALF].key == plain.trainings[HALF].key


def test_the_mask_of_a_longer_training_has_another_name(subject: Subject) -> None:
    masks = [search(subject, "gradual", budget).masks[HALF] for budget in (1, 3)]
    assert masks[0].key != masks[1].key
    specs = [mask.spec for mask in masks]
    assert [s.data.recipe.epochs for s in specs if isinstance(s, PruneJobSpec) and s.data] == [3, 9]


def test_a_least_number_of_steps_is_shared_too() -> None:
    recipe = TrainSpec(epochs=1.0, batch_size=10, min_steps=300)
    subject = stand_in(load_task("sentiment"), recipe)
    assert [job.steps for job in trainings(search(subject, "imp", 1))] == [60] * 5


def test_labels_tell_short_trainings_from_those_of_the_recipe(subject: Subject) -> None:
    labels = [job.label for job in trainings(search(subject, "imp", 1))]
    assert labels[0] == "sentiment, seed 0, dense, 60 steps"


@pytest.mark.parametrize(
    ("budget", "knobs", "message"),
    [
        (
            0.01,
            {},
            r"budget must allow at least one step for each of the 5 trainings of this search, got",
        ),
        (1, {"rewind_step": 10}, "a search that rewinds to the pre-trained weights, got 1 and rew"),
        (1, {"no_rewind": True}, "got 1 and no-rewind. Leave one out."),
        (1, {"keep_head": True}, "keep-head"),
        (1, {"long_horizon": True}, "long-horizon"),
    ],
)
def test_what_no_budget_can_be_spread_over_is_refused(
    subject: Subject, budget: float, knobs: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        search(subject, "imp", budget, **knobs)


@pytest.mark.parametrize("budget", [-1, float("inf"), float("nan")])
def test_a_budget_is_a_number_of_trainings(budget: float) -> None:
    with pytest.raises(SpecError, match="budget must be 0 or more trainings, got"):
        FindSpec(budget=budget)


def test_a_budget_that_no_training_can_be_long_enough_for_is_refused() -> None:
    with pytest.raises(SpecError, match=r"budget must be at most 10,000, got 1000000000000"):
        FindSpec(budget=1e12)
