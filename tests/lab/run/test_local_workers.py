"""Who does the work changes no bit of a result: one process, several, two ranks, or Ray."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tombola.base.errors import ModelError, SpecError, TombolaError
from tombola.base.specs import LabSpec
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.payload import payload_for
from tombola.lab.run.runner import run_plan
from tombola.lab.run.workers import local
from tombola.lab.run.workers.distributed import train_in_processes
from tombola.lab.run.workers.local import ProcessPool, Worker, work
from tombola.lab.store.damage import damage_in
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.tasks.task import Task

PLAN = """\
version: 1
model: {model}
tasks: [sentiment]
seeds: [0]
train: {{epochs: 2, train_limit: 96, test_limit: 48, max_length: 24, batch_size: 16}}
arms:
  tickets: {{kind: imp, sparsity: 0.6, step: 0.3}}
  controls: {{kind: control, of: tickets, names: [random, reinit, one-shot], sparsity: 0.6}}
"""


@pytest.fixture(scope="module")
def plan_file(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plan") / "small.yaml"
    place.write_text(PLAN.format(model=tiny))
    return place


@pytest.fixture(scope="module")
def plan(plan_file: Path) -> Plan:
    file, known = read_plan(str(plan_file)), SubjectFactory(plan_file.parent)
    return expand(
        file,
        lambda task, recipe: known.subject(file.model, task, recipe, scope=file.scope, folder=None),
    )


def done(plan: Plan, folder: Path, callback: RunCallback | None = None, **options: Any) -> Store:
    lab = LabSpec(store=str(folder), **{"threads": 1, **options})
    store, summary = run_plan(plan, lab, callback or RunCallback())
    for _, error in summary.failed:
        raise error
    return store


def bits(plan: Plan, store: Store) -> dict[str, Any]:
    """What each job left: digests of masks, weights and predictions."""
    found = {}
    for job in plan.jobs:
        result = store.read(job.key)
        assert result is not None, job.label
        found[job.label] = (result.files, result.facts.get("weights"), result.facts.get("digest"))
    return found


@pytest.fixture(scope="module")
def alone(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results that this process makes by itself."""
    return bits(plan, done(plan, tmp_path_factory.mktemp("alone") / "store"))


class Killer(RunCallback):
    """Kills each worker that it meets at the second step of some job, once."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        if done == 2 and len(self.killed) < 2:
            mine = multiprocessing.active_children()
            if mine:
                mine[0].kill()
                self.killed.append(job.label)


def test_other_processes_make_the_same_bits_though_they_are_killed(
    plan: Plan, alone: dict[str, Any], tmp_path: Path
) -> None:
    killer = Killer()
    store = done(plan, tmp_path / "store", killer, workers=2)
    assert len(killer.killed) == 2
    assert bits(plan, store) == alone
    assert not any((tmp_path / "store" / "partial").glob("*"))


def test_a_job_that_kills_every_worker_fails_with_a_reason(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.lab.run.workers.local.work", _die)
    one = Plan.of([plan.jobs[0]])
    store = Store(tmp_path / "store")
    from tombola.lab.run.engine import execute

    summary = execute(one, store, ProcessPool(store, 2), RunCallback(), threads=1)
    ((_, error),) = summary.failed
    assert "got 3 that ended with exit status 7" in str(error)


def _die(*_: object) -> None:
    os._exit(7)


class Listener:
    """Records how jobs end."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.errors: list[Exception] = []

    def step(self, key: str, done: int, steps: int, loss: float | None = None) -> bool:
        return True

    def done(self, key: str) -> None:
        self.ended.append(key)

    def failed(self, key: str, error: Exception) -> None:
        self.errors.append(error)


def _answer(pipe: Any, *_: object) -> None:
    while pipe.recv():
        pipe.send(("done",))


def test_a_worker_that_ended_before_it_got_its_payload_is_replaced(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.lab.run.workers.local.work", _answer)
    pool, events = ProcessPool(Store(tmp_path / "store"), 1), Listener()
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=1)
    worker = pool._start_worker()
    worker.process.kill()
    worker.process.join()
    pool.submit(payload, events)
    while not events.ended:
        pool.wait(60, events)
    assert (events.ended, events.errors, pool.free_slots) == ([payload.key], [], 1)
    pool.close()


def _break(pipe: Any, folder: str, sharers: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    Worker.do = fail  # type: ignore[method-assign]
    local._uses_gpu = lambda: True
    work(pipe, folder, sharers)


def test_a_worker_whose_job_failed_on_a_gpu_gets_no_other(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.lab.run.workers.local.work", _break)
    pool, events = ProcessPool(Store(tmp_path / "store"), 1), Listener()
    pool.submit(payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=1), events)
    (worker,) = multiprocessing.active_children()
    while not events.errors:
        pool.wait(60, events)
    worker.join(60)
    assert (str(events.errors[0])[:26], worker.exitcode) == ("RuntimeError: CUDA error: ", 0)
    assert pool.free_slots == 1
    pool.close()


def test_where_no_other_process_can_start_one_line_says_so(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    pool = ProcessPool(Store(tmp_path / "store"), 2)
    monkeypatch.setattr(pool._context.Process, "start", refuse)
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=1)
    with pytest.raises(SpecError, match=r"got: Resource .* unavailable\. Use fewer --workers"):
        pool.submit(payload, Listener())


def _work_with_ranks(pipe: Any, folder: str, ranks: str) -> None:
    sys.executable = ranks
    work(pipe, folder)


def test_a_worker_that_is_ended_ends_the_processes_of_its_training(
    plan: Plan, tmp_path: Path
) -> None:
    ranks, started = tmp_path / "python", tmp_path / "started"
    lines = ("#!/bin/sh", f"echo $$ > {started}.new", f"mv {started}.new {started}")
    ranks.write_text("\n".join([*lines, "exec sleep 1000\n"]))
    ranks.chmod(0o755)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    Store(tmp_path / "store")
    words = (theirs, str(tmp_path / "store"), str(ranks))
    worker = context.Process(target=_work_with_ranks, args=words)
    worker.start()
    ours.send(payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=2).to_json())
    while not started.exists():
        assert worker.is_alive()
        time.sleep(0.05)
    worker.terminate()
    worker.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_payload_for_elsewhere_has_full_paths(
    plan: Plan, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("models/mine", "rows", "mini"):
        Path(place).mkdir(parents=True)
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=1)
    task = dataclasses.replace(Task.from_json(payload.task), data="rows").to_json()
    near = dataclasses.replace(payload, model="models/mine", folder="rows", task=task)
    far = near.anywhere()
    assert (far.model, far.folder) == (str(tmp_path / "models/mine"), str(tmp_path / "rows"))
    assert Task.from_json(far.task).data == str(tmp_path / "rows")
    assert (far.key, far.spec) == (near.key, near.spec)
    for name in ("mini", "owner/name", "bert-base-uncased"):
        assert dataclasses.replace(near, model=name).anywhere().model == name
    assert dataclasses.replace(near, folder="hub:owner/name").anywhere().folder == "hub:owner/name"


class Deaf:
    """Lets no job go on."""

    def step(self, key: str, done: int, steps: int, loss: float | None = None) -> bool:
        return False

    def done(self, key: str) -> None:
        raise AssertionError(key)

    def failed(self, key: str, error: Exception) -> None:
        raise AssertionError(error)


def test_a_worker_whose_job_was_taken_over_is_ended(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.lab.run.workers.local.work", _tell)
    pool = ProcessPool(Store(tmp_path / "store"), 1)
    pool.submit(payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=1), Deaf())
    (worker,) = multiprocessing.active_children()
    assert pool.free_slots == 0
    deadline = time.monotonic() + 60
    while not pool.free_slots and time.monotonic() < deadline:
        pool.wait(0.1, Deaf())
    assert pool.free_slots == 1
    assert not worker.is_alive()
    pool.close()


def _tell(pipe: Any, *_: object) -> None:
    while pipe.recv():
        for done in range(1000):
            pipe.send(("step", done, 1000))
            time.sleep(0.01)


def test_two_ranks_share_a_training(plan: Plan, alone: dict[str, Any], tmp_path: Path) -> None:
    short = Plan.of(plan.jobs[:2])
    assert [job.kind for job in short.jobs] == ["train", "prune"]
    store = done(short, tmp_path / "store", processes=2)
    result = store.read(short.jobs[0].key)
    assert result is not None
    assert result.numerics["processes"] == 2
    assert result.facts["steps"] == 12
    mask = store.read(short.jobs[1].key)
    assert mask is not None
    assert mask.facts["dead"] == round(0.3 * mask.facts["size"])


def test_what_a_launcher_prints_is_shown_only_where_it_fails(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = tmp_path / "python"
    loud.write_text(
        "#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2\necho >&2\n"
        "echo step 1 2\necho the last line >&2\nexit 3\n"
    )
    loud.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(loud))
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=2)
    steps: list[tuple[int, int]] = []
    with pytest.raises(TombolaError, match="got exit status 3: the last line"):
        train_in_processes(payload, Store(tmp_path / "store"), lambda *step: steps.append(step))
    assert steps == []


SHOUTING = """\
import threading, time

def shout():
    while True:
        print("step 7 9", "failed SpecError nothing", sep="\\n", flush=True)
        time.sleep(0.01)

threading.Thread(target=shout, daemon=True).start()
"""
"""Printed by every process of a training, on and on."""


def test_what_ranks_print_matters_to_nobody(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHOUTING)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=2)
    store, steps = Store(tmp_path / "store"), list[tuple[int, int]]()
    train_in_processes(payload, store, lambda done, of, *_: steps.append((done, of)))
    assert steps == [(number, 12) for number in range(1, 13)]
    assert store.has(payload.key)


LAUNCHER = "tombola.lab.run.workers.distributed"


def _ranks() -> list[psutil.Process]:
    """The processes that share a training of this one."""
    launchers = [each for each in psutil.Process().children() if LAUNCHER in each.cmdline()]
    return [
        each
        for launcher in launchers
        for each in launcher.children()
        if "--multiprocessing-fork" in each.cmdline()
    ]


def test_a_killed_rank_ends_its_training_with_one_line(plan: Plan, tmp_path: Path) -> None:
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=2)

    def kill_the_second(done: int, *_: object) -> None:
        if done == 1:
            max(_ranks(), key=lambda each: each.pid).kill()

    with pytest.raises(TombolaError) as caught:
        train_in_processes(payload, Store(tmp_path / "store"), kill_the_second)
    assert "expected 2 processes to do" in str(caught.value)
    assert "ended with SIGKILL" in str(caught.value)
    assert not _ranks()


def test_the_error_of_a_rank_is_raised_as_it_is(plan: Plan, tmp_path: Path) -> None:
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=2)
    wrong = dataclasses.replace(payload, model=str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="nowhere"):
        train_in_processes(wrong, Store(tmp_path / "store"), lambda *_: None)


def test_an_interrupted_training_leaves_no_rank(plan: Plan, tmp_path: Path) -> None:
    payload = payload_for(plan.jobs[0], keep_weights=False, threads=1, processes=2)
    ranks: list[psutil.Process] = []

    def interrupt(done: int, *_: object) -> None:
        ranks.extend(_ranks())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_in_processes(payload, Store(tmp_path / "store"), interrupt)
    assert len(ranks) == 2
    assert not any(each.is_running() for each in ranks)


# --- as a user types it --------------------------------------------------------


def tombola(*words: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tombola", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    shown, errors = process.communicate(timeout=500)
    return process.returncode, shown, errors


def in_work(store: Path) -> dict[str, int]:
    """Job -> the process that has its lease, or had it when it was killed."""
    found = {}
    for path in (store / "leases").glob("[0-9a-f]*.json"):
        with contextlib.suppress(OSError, ValueError):  # gone, or just being written
            found[path.stem] = json.loads(path.read_bytes())["pid"]
    return found


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_who_is_killed_again_and_again_goes_on_to_the_same_bits(
    kills: int, plan: Plan, plan_file: Path, alone: dict[str, Any], tmp_path: Path
) -> None:
    words, chance = ("run", plan_file, "--store", tmp_path / "s", "--threads", 1), random.Random(0)
    before: set[str] = set()
    for _ in range(kills):
        process = tombola(*words)
        while process.poll() is None and process.pid not in in_work(tmp_path / "s").values():
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1.5))
        process.kill()
        process.communicate()
        assert not before & in_work(tmp_path / "s").keys()  # nothing finished is done again
        before = {row["key"] for row in Store(tmp_path / "s").rows()}
    status, shown, errors = ended(tombola(*words))
    assert (status, errors) == (0, "")
    assert f"{len(plan.jobs) - len(before)} jobs done" in shown
    assert not list(damage_in(Store(tmp_path / "s")))
    assert bits(plan, Store(tmp_path / "s")) == alone


def test_two_runs_at_once_share_the_work(
    plan: Plan, plan_file: Path, alone: dict[str, Any], tmp_path: Path
) -> None:
    words = ("run", plan_file, "--store", tmp_path / "s", "--threads", 1)
    both = [tombola(*words), tombola(*words)]
    finished = [ended(process) for process in both]
    assert [(status, errors) for status, _, errors in finished] == [(0, ""), (0, "")]
    assert bits(plan, Store(tmp_path / "s")) == alone


def test_sigterm_ends_cleanly(plan: Plan, plan_file: Path, tmp_path: Path) -> None:
    process = tombola("run", plan_file, "--store", tmp_path / "s", "--threads", 1)
    deadline = time.monotonic() + 60
    while not any(Path(tmp_path / "s").glob("results/*/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    status, _, errors = ended(process)
    assert status == 143
    stopped = "stopped. Finished jobs are kept; run the same command to continue."
    assert errors == f"tombola: {stopped}\n"
    store = Store(tmp_path / "s")
    assert not any(store.holder(job.key) for job in plan.jobs)


def test_status_and_listing_show_what_is_there(
    plan: Plan, plan_file: Path, alone: dict[str, Any], tmp_path: Path
) -> None:
    del alone
    done(Plan.of(plan.jobs[:3]), tmp_path / "s")
    status, shown, errors = ended(tombola("status", plan_file, "--store", tmp_path / "s"))
    assert (status, errors) == (0, "")
    assert f"3 of {len(plan.jobs)} jobs are done, 0 running" in shown
    status, shown, _ = ended(tombola("store", "list", "--json", "--store", tmp_path / "s"))
    rows = json.loads(shown)
    assert {row["key"] for row in rows} == {job.key for job in plan.jobs[:3]}
    status, shown, _ = ended(
        tombola("store", "show", plan.jobs[0].key[:9], "--store", tmp_path / "s")
    )
    assert json.loads(shown)["label"] == plan.jobs[0].label
