"""The number of workers and threads goes by the whole plan, and by the results that it has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stand_in_subject import subject as stand_in
from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, TrainSpec
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.lab.run import allotment
from tombola.lab.run.allotment import allot, chains, kernel_before, memory_of_a_worker
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.payload import Payload, kernel_of, payload_for
from tombola.lab.run.runner import run_plan
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job_spec import as_training
from tombola.plan.plan import Plan

PLAN = """\
version: 1
model: {model}
tasks: [sentiment]
seeds: {seeds}
train: {{epochs: 1, train_limit: 48, test_limit: 24, max_length: 16, batch_size: 16}}
arms:
  tickets: {{kind: imp, sparsity: 0.6, step: 0.3}}
"""

Make = Callable[..., Plan]


@pytest.fixture
def plan_of(tmp_path: Path, tiny: Path) -> Make:
    """A search for each seed: a chain of three trainings; with a network, or without."""

    def plan_of(*seeds: int, trains: bool = False) -> Plan:
        file = tmp_path / "plan.yaml"
        file.write_text(PLAN.format(model=tiny if trains else "mini", seeds=[*seeds]))
        plan, known = read_plan(file), SubjectFactory(tmp_path)

        def real(task: Any, recipe: Any) -> Any:
            return known.subject(plan.model, task, recipe, scope=plan.scope, folder=None)

        return expand(plan, real if trains else stand_in)

    return plan_of


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, memory enough, no GPU, and a user who types."""
    monkeypatch.setattr(allotment, "cores", lambda: 2)
    monkeypatch.setattr(allotment, "memory", lambda: 1 << 40)
    monkeypatch.setattr(allotment, "visible_gpus", list)
    monkeypatch.setattr(allotment, "is_command_line", lambda: True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def numbers(lab: LabSpec) -> tuple[int, int]:
    return lab.workers, lab.threads


def keep(store: Store, plan: Plan, threads: int, count: int = 1, **more: str) -> None:
    """Results of the first trainings, made with this number of threads."""
    trainings = [job for job in plan.jobs if job.kind == "train"]
    for job in trainings[:count]:
        store.save(
            replace(Result.of(job, {"score": 1.0}), numerics={"threads": threads, **more}), {}
        )


def test_trainings_are_counted_by_their_chains(plan_of: Make) -> None:
    assert chains(plan_of(0).jobs) == 1
    assert chains(plan_of(0, 1, 2).jobs) == 3
    assert chains([]) == 0


@pytest.mark.parametrize(("seeds", "expected"), [((0,), (1, 2)), ((0, 1), (2, 1))])
def test_as_many_chains_as_cores_have_a_worker_on_each(
    seeds: tuple[int, ...], expected: tuple[int, int], plan_of: Make, store: Store
) -> None:
    assert numbers(allot(LabSpec(), plan_of(*seeds), store)) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_command_line", lambda: False),
        ("visible_gpus", lambda: ["0"]),
        ("memory", lambda: 1 << 30),
        ("cores", lambda: 4),
    ],
)
def test_otherwise_one_worker_has_all_cores(
    name: str, value: Any, plan_of: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allotment, name, value)
    assert numbers(allot(LabSpec(), plan_of(0, 1, 2), store)) == (1, allotment.cores())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"workers": 1}, (1, 2)),
        ({"workers": 2}, (2, 1)),
        ({"threads": 1}, (1, 1)),
        ({"threads": 3}, (1, 3)),
        ({"processes": 2}, (1, 1)),
        ({"engine": "ray"}, (0, 2)),
    ],
)
def test_what_is_asked_for_holds(
    given: dict[str, Any], expected: tuple[int, int], plan_of: Make, store: Store
) -> None:
    assert numbers(allot(LabSpec(**given), plan_of(0, 1, 2), store)) == expected


@pytest.mark.parametrize(
    ("threads", "given", "expected"),
    [
        (2, {}, (1, 2)),
        (1, {}, (2, 1)),
        (1, {"workers": 1}, (1, 1)),
        (2, {"workers": 2}, (2, 1)),  # which will be refused: there are no four cores
        (16, {}, (2, 1)),  # of another machine; refused as well
        (2, {"threads": 1}, (1, 1)),
        (1, {"engine": "ray"}, (0, 1)),
        (16, {"engine": "ray", "workers": 2}, (2, 16)),  # a node may have as many cores
        (2, {"engine": "ray", "threads": 1}, (0, 1)),
    ],
)
def test_a_plan_goes_on_with_the_threads_of_its_results(
    threads: int, given: dict[str, Any], expected: tuple[int, int], plan_of: Make, store: Store
) -> None:
    plan = plan_of(0, 1, 2)
    keep(store, plan, threads)
    assert numbers(allot(LabSpec(**given), plan, store)) == expected


@pytest.mark.parametrize(
    ("made_with", "expected"),
    [
        *(("packed-1", "packed-1"), ("packed-3", "packed-3"), ("sparse-1", "sparse-1")),
        *(("model", "auto"), ("packed-0", "auto")),
    ],
)
def test_a_plan_goes_on_with_the_kernel_of_its_results(
    made_with: str, expected: str, plan_of: Make, store: Store
) -> None:
    plan = plan_of(0, 1)
    assert kernel_before(plan, store) == "auto"
    keep(store, plan, 1, kernel=made_with)
    assert kernel_before(plan, store) == expected


def test_a_kernel_that_one_task_asks_for_is_not_that_of_the_others(
    plan_of: Make, store: Store
) -> None:
    first, left_open = plan_of(0).jobs[0], plan_of(1).jobs[0]
    recipe = replace(first.subject.recipe, kernel="sparse-1")
    asked = replace(first, subject=replace(first.subject, recipe=recipe))
    plan = Plan.of([asked, left_open])
    keep(store, Plan.of([asked]), 1, kernel="sparse-1")
    assert kernel_before(plan, store) == "auto"
    keep(store, Plan.of([left_open]), 1, kernel="packed-3")
    assert kernel_before(plan, store) == "packed-3"


def test_a_worker_gets_the_kernel_without_its_being_part_of_a_name(plan_of: Make) -> None:
    job = plan_of(0).jobs[0]
    sent = payload_for(job, keep_weights=False, threads=1, processes=1, kernel="packed-1")
    assert as_training(Payload.from_json(sent.to_json()).job_spec).recipe.kernel == "packed-1"
    assert "kernel" not in sent.to_json().replace('"kernel": "packed-1"', "", 1)
    asked = replace(job, subject=replace(job.subject, recipe=TrainSpec(kernel="packed-3")))
    assert kernel_of(asked, "packed-1") == "packed-3"
    half = replace(job, subject=replace(job.subject, recipe=TrainSpec(precision="bf16")))
    assert [kernel_of(half, name) for name in ("packed-3", "sparse-1")] == ["packed-3", "auto"]


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_the_same_command_has_the_same_threads_however_far_it_got(
    seeds: tuple[int, ...], plan_of: Make, store: Store
) -> None:
    plan = plan_of(*seeds)
    first = numbers(allot(LabSpec(), plan, store))
    for count in range(1, len(plan.jobs)):
        keep(store, plan, first[1], count)
        assert numbers(allot(LabSpec(), plan, store)) == first


def test_a_part_has_the_threads_of_the_whole(plan_of: Make, store: Store) -> None:
    whole, part = plan_of(0), plan_of(0, 1, 2)
    assert numbers(allot(LabSpec(), part, store, whole)) == (1, 2)
    assert numbers(allot(LabSpec(), whole, store, part)) == (2, 1)


def test_a_larger_network_takes_more_memory(plan_of: Make) -> None:
    taken = memory_of_a_worker(plan_of(0))
    assert 1 << 30 < taken < 3 << 30
    assert memory_of_a_worker(Plan.of([])) == 1 << 30


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ({"batch_size": 64}, True),
        ({"max_length": 256}, True),
        ({"accumulation": 4}, False),
        ({"batch_size": 1}, False),
    ],
)
def test_larger_batches_take_more_memory(recipe: dict[str, Any], more: bool, plan_of: Make) -> None:
    job = plan_of(0).jobs[0]
    changed = replace(job.subject, recipe=replace(job.subject.recipe, **recipe))
    before, after = (
        memory_of_a_worker(Plan.of([each])) for each in (job, replace(job, subject=changed))
    )
    assert (after > before) is more
    assert after != before


def test_a_store_of_before_is_not_refused(
    plan_of: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allotment, "is_command_line", lambda: False)
    plan = plan_of(0, 1, trains=True)
    one, rest = Plan.of(plan.jobs[:1]), Plan.of(plan.jobs[:2])
    before = torch.get_num_threads()
    try:
        run_plan(one, LabSpec(store=str(store.folder), threads=1), RunCallback())
        run_plan(rest, LabSpec(store=str(store.folder)), RunCallback())
        trained = [store.read(job.key) for job in rest.jobs if job.kind == "train"]
        assert [result.numerics["threads"] for result in trained if result] == [1] * len(trained)
        with pytest.raises(SpecError, match="Use the same --threads"):
            run_plan(plan, LabSpec(store=str(store.folder), threads=2), RunCallback())
    finally:
        torch.set_num_threads(before)
