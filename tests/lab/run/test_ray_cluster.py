"""A Ray cluster's results are bitwise identical, even if workers don't see the store, or die."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.lab.run.engine import RunCallback, RunSummary, execute
from tombola.lab.run.runner import _refuse_mixed, run_plan
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job_spec import as_training
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task
from tombola.training.numerics import numerics

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own

from tombola.lab.run.workers.ray_cluster import RayCluster  # noqa: E402

RECIPE = TrainSpec(epochs=2, batch_size=16, learning_rate=1e-2, max_length=30)


@pytest.fixture(scope="module")
def plan(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    known = SubjectFactory(tmp_path_factory.mktemp("known"))
    task = load_task("sentiment")
    subject = known.subject(str(tiny), task, RECIPE, scope="encoder", folder=str(reviews))
    spec = ImpSpec(sparsity="0.5", step="0.5")  # type: ignore[arg-type]
    return Plan.of(FINDERS["imp"].search(subject, spec, 3).trainings.values())


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def bits(plan: Plan, store: Store) -> list[Any]:
    found = [store.read(job.key) for job in plan.jobs]
    return [(r.files, r.facts.get("weights"), r.facts.get("digest")) for r in found if r]


@pytest.fixture(scope="module")
def alone(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("alone") / "store"
    store, summary = run_plan(plan, LabSpec(store=str(folder), threads=1), RunCallback())
    assert not summary.failed
    return bits(plan, store)


def test_the_engine_ray_makes_the_same_bits(plan: Plan, alone: list[Any], tmp_path: Path) -> None:
    lab = LabSpec(store=str(tmp_path / "s"), threads=1, engine="ray", workers=2)
    store, summary = run_plan(plan, lab, RunCallback())
    assert not summary.failed
    assert bits(plan, store) == alone


class Blind(RayCluster):
    """Its workers don't see the store."""

    def _place(self) -> tuple[str, str]:
        return "/nowhere/at/all", "token"


def on(workers: RayCluster, plan: Plan) -> RunSummary:
    return execute(plan, workers.store, workers, RunCallback(), threads=1)


def test_workers_without_the_store_are_sent_what_they_read(
    plan: Plan, alone: list[Any], tmp_path: Path
) -> None:
    store = Store(tmp_path / "s")
    summary = on(Blind(store, address="", workers=2, threads=1, processes=1), plan)
    assert not summary.failed
    assert bits(plan, store) == alone
    assert not any(store.weights(job.key) for job in plan.jobs)


def test_a_job_whose_worker_is_killed_is_done_again(
    plan: Plan, alone: list[Any], tmp_path: Path
) -> None:
    store, killed = Store(tmp_path / "s"), threading.Event()
    label = plan.jobs[0].label

    def kill() -> None:
        while not killed.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit() and _title(process).startswith(f"ray::{label}"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.set()
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        summary = on(RayCluster(store, address="", workers=1, threads=1, processes=1), plan)
        assert killed.is_set()
    finally:
        killed.set()
    assert not summary.failed
    assert bits(plan, store) == alone


def _title(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("engine", "changed", "refused"),
    [
        ("local", {"device": "cuda", "kernel": "model"}, "device is"),
        ("ray", {"device": "cuda", "kernel": "model"}, ""),
        ("ray", {"device": "cuda", "torch": "1.0"}, "torch is"),
    ],
)
def test_results_of_a_cluster_may_have_its_device_and_not_that_of_this_machine(
    engine: str, changed: dict[str, str], refused: str, plan: Plan, tmp_path: Path
) -> None:
    store, job = Store(tmp_path / "s"), plan.jobs[0]
    there = {**numerics(as_training(job.spec).recipe), "threads": 1, **changed}
    result = replace(Result.of(job, {"score": 1.0}), numerics=there)
    store.save(result, {})
    spec = LabSpec(store=str(store.folder), engine=engine, threads=1)
    with pytest.raises(SpecError, match=refused) if refused else nullcontext():
        _refuse_mixed(plan, store, spec)


def test_jobs_share_a_gpu(plan: Plan, alone: list[Any], tmp_path: Path) -> None:
    ray.shutdown()
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="error")
    store = Store(tmp_path / "s")
    with pytest.raises(SpecError, match="a GPU for each of 2 processes, got 1"):
        RayCluster(store, address="", workers=1, threads=1, processes=2)
    cluster = RayCluster(store, address="", workers=2, threads=1, processes=1)
    assert (cluster.gpus_per_job, cluster.free_slots) == (0.5, 2)
    one = Plan.of(plan.jobs[:1])
    assert not on(cluster, one).failed
    assert bits(one, store) == alone[:1]


def test_a_cluster_that_is_not_there_is_reported(plan: Plan, tmp_path: Path) -> None:
    ray.shutdown()
    lab = LabSpec(store=str(tmp_path / "s"), engine="ray", ray_address="127.0.0.1:1")
    with pytest.raises(SpecError, match=r"expected a Ray cluster at 127\.0\.0\.1:1, got: "):
        run_plan(plan, lab, RunCallback())
