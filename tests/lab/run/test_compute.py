"""What is computed is counted once, whoever asks, and unknown where it was not counted."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from stand_in_subject import subject
from tombola.finders.finder import FINDERS
from tombola.lab.run.compute import Compute, compute_of, search_compute
from tombola.lab.store.result import Result
from tombola.plan.job import Job
from tombola.plan.plan import Plan, Search
from tombola.tasks.task import load_task

HALF = Decimal("0.5")
TRAINED = {"tokens": 100, "steps": 4, "training_seconds": 2.0}
SCORED = {"compute": {"forward_tokens": 30, "backward_tokens": 60, "steps": 0}}


def searched(finder: str, distill: float = 0.0, **knobs: Any) -> Search:
    """A search of a finder; no network or data are behind it."""
    found, task = FINDERS[finder], load_task("sentiment")
    spec = found.spec(sparsity=HALF, **knobs)
    return found.search(subject(task, replace(task.recipe, distill=distill)), spec, 0)


def done(search: Search, **facts: dict[str, Any]) -> dict[str, Result]:
    """Key -> result of every job; `facts` are those of a kind of job."""

    def result(job: Job) -> Result:
        known = facts.get(job.kind, {})
        return Result(**job.named(), facts=known, numerics={}, seconds=5.0, peak_memory=1)

    return {job.key: result(job) for job in Plan.of(search.trainings.values()).jobs}


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_a_search_costs_its_trainings_without_the_one_of_the_ticket(rounds: int) -> None:
    search = searched("imp", step=HALF / rounds)
    results = done(search, train=TRAINED)
    spent = search_compute(search.trainings[HALF], results.get)
    assert spent is not None
    tokens = 100 * rounds
    assert spent.to_json() == {
        "forward_tokens": tokens,
        "backward_tokens": tokens,
        "steps": 4 * rounds,
    }
    assert spent.seconds == 2.0 * rounds + 5.0 * rounds  # trainings without their scoring, and cuts
    assert spent.in_units_of(compute_of(results[search.dense.key])) == rounds


def test_a_teacher_s_passes_are_forward_only() -> None:
    search = searched("imp", step=HALF)
    results = done(search, train={**TRAINED, "teacher_tokens": 70})
    spent = compute_of(results[search.dense.key])
    assert spent is not None
    assert (spent.forward_tokens, spent.backward_tokens) == (170, 100)


def test_a_training_that_several_jobs_read_is_counted_once() -> None:
    search = searched("imp", step=HALF / 2, rewind_step=3)
    spent = search_compute(search.trainings[HALF], done(search, train=TRAINED).get)
    assert spent is not None
    assert spent.steps == 4 * 3  # dense, until step 3, and the first ticket, which starts from it


@pytest.mark.parametrize(
    ("finder", "knobs", "trainings"),
    [
        ("one-shot", {}, 1),
        ("snip", {}, 1),
        ("imp", {"step": HALF}, 1),  # whose first round is the teacher
        ("imp", {"step": HALF / 2}, 2),
        ("imp", {"step": HALF, "prune_first": True, "rewind_step": 3}, 2),
        ("movement", {}, 1),  # next to what the finder counts
    ],
)
def test_a_teacher_is_counted_once_whatever_else_is_trained(
    finder: str, knobs: dict[str, Any], trainings: int
) -> None:
    search = searched(finder, distill=0.5, **knobs)
    counted = {"compute": {"forward_tokens": 0, "backward_tokens": 0, "steps": 0}}
    results = done(search, train=TRAINED, prune=counted)
    spent = search_compute(search.trainings[HALF], results.get)
    assert spent is not None
    assert spent.in_units_of(compute_of(results[search.dense.key])) == trainings


def test_what_a_finder_counts_is_added() -> None:
    search = searched("snip")
    spent = search_compute(search.trainings[HALF], done(search, train=TRAINED, prune=SCORED).get)
    assert spent == Compute(forward_tokens=30, backward_tokens=60, seconds=5.0)
    assert spent.in_units_of(Compute(forward_tokens=50, backward_tokens=50)) == 1.0


@pytest.mark.parametrize(("finder", "known"), [("snip", False), ("one-shot", True), ("imp", True)])
def test_results_of_earlier_versions_say_what_follows_from_them(finder: str, known: bool) -> None:
    search = searched(finder)
    spent = search_compute(search.trainings[HALF], done(search, train=TRAINED).get)
    assert (spent is not None) == known


def test_what_is_not_done_is_not_known() -> None:
    search = searched("imp")
    results = done(search, train=TRAINED)
    del results[search.dense.key]
    assert search_compute(search.trainings[HALF], results.get) is None
    assert Compute().in_units_of(None) is None
