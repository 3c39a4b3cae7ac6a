"""Each job once, parents first; a failure stops what depends on it; weights go when unread."""

import dataclasses
import random
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from tombola.base.errors import OutputError, SpecError
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.lab.run.engine import JobEvents, RunCallback, RunSummary, execute, missing
from tombola.lab.run.payload import Payload, payload_for
from tombola.lab.store.garbage import collect
from tombola.lab.store.lease import Lease
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.controls import control
from tombola.plan.job import Job
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task

D = Decimal
TASK = load_task("sentiment")
SUBJECT = Subject(
    model="nowhere",
    fingerprint="0" * 64,
    task=TASK,
    recipe=TASK.recipe,
    data="1" * 64,
    examples=320,
    folder=None,
)


def plan_of(seeds: tuple[int, ...] = (0,)) -> Plan:
    """Two rounds and two controls for each seed: 4 trainings of masks, 1 dense, 3 masks."""
    jobs = []
    for seed in seeds:
        search = FINDERS["imp"].search(SUBJECT, ImpSpec(sparsity=D("0.5"), step=D("0.25")), seed)
        ticket = search.masks[D("0.5")]
        jobs += [*search.trainings.values()]
        jobs += [control(name, SUBJECT, ticket, D("0.5"), seed) for name in ("random", "reinit")]
    return Plan.of(jobs)


class FakeWorkers:
    """Writes what a job would leave; at once, or later in a random order."""

    def __init__(self, store: Store, *, room: int = 1, shuffle: int | None = None) -> None:
        self.store, self.size, self.chance = store, room, shuffle
        self.waiting: list[Payload] = []
        self.given: list[str] = []
        self.closed = 0
        self.bad: dict[str, Exception] = {}
        """Label -> error of the job."""

    @property
    def free_slots(self) -> int:
        return self.size - len(self.waiting)

    def submit(self, payload: Payload, events: JobEvents) -> None:
        self.given.append(payload.label)
        self.waiting.append(payload)
        if self.chance is None:
            self.wait(0, events)

    def wait(self, seconds: float, events: JobEvents) -> None:
        if self.waiting:
            at = random.Random(self.chance).randrange(len(self.waiting)) if self.chance else 0
            self.do(self.waiting.pop(at), events)

    def do(self, payload: Payload, events: JobEvents) -> None:
        for parent in payload.parents.values():
            assert self.store.has(parent)
        for role, parent in payload.parents.items():
            if role in ("trained", "start", "head"):
                assert self.store.weights(parent) is not None
        if payload.label in self.bad:
            events.failed(payload.key, self.bad[payload.label])
            return
        if not events.step(payload.key, 1, 30):
            return
        if payload.keep_weights:
            self.store.save_weights(payload.key, write)
        self.store.save(result(payload), {"file": payload.label.encode()})
        events.done(payload.key)

    def close(self) -> None:
        self.closed += 1


def write(path: Path) -> None:
    path.write_bytes(b"weights")


def result(payload: Payload) -> Result:
    return Result(**payload.named(), facts={"score": 50.0}, numerics={}, seconds=1.0, peak_memory=1)


class Recorder(RunCallback):
    """Records the callbacks that it gets."""

    def __init__(self) -> None:
        self.todo: list[str] = []
        self.kept: list[str] = []
        self.started: list[str] = []
        self.finished: list[str] = []
        self.failed: dict[str, str] = {}

    def on_plan(self, todo: list[Job], done: list[Job]) -> None:
        self.todo, self.kept = [j.label for j in todo], [j.label for j in done]

    def on_job_start(self, job: Job) -> None:
        self.started.append(job.label)

    def on_job_end(self, job: Job, result: Result) -> None:
        self.finished.append(job.label)

    def on_job_error(self, job: Job, reason: str) -> None:
        self.failed[job.label] = reason


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(
    plan: Plan, store: Store, workers: FakeWorkers, callback: RunCallback | None = None
) -> RunSummary:
    return execute(plan, store, workers, callback or RunCallback(), threads=1)


@pytest.mark.parametrize(("room", "shuffle"), [(1, None), (1, 1), (3, 1), (3, 2), (9, 3)])
def test_every_job_is_done_once_and_after_its_parents(
    room: int, shuffle: int | None, store: Store
) -> None:
    plan, callback = plan_of((0, 1)), Recorder()
    workers = FakeWorkers(store, room=room, shuffle=shuffle)
    summary = run(plan, store, workers, callback)
    labels = [job.label for job in plan.jobs]
    assert (
        sorted(workers.given)
        == sorted(labels)
        == sorted(callback.finished)
        == sorted(callback.started)
    )
    assert callback.todo == labels
    assert not summary.failed
    assert len(summary.done) == len(plan.jobs)
    assert all(store.intact(job.key) for job in plan.jobs)
    assert workers.closed == 1


def test_a_second_run_does_nothing(store: Store) -> None:
    plan, callback = plan_of(), Recorder()
    run(plan, store, FakeWorkers(store))
    workers = FakeWorkers(store)
    assert run(plan, store, workers, callback).done == []
    assert workers.given == []
    assert len(callback.kept) == len(plan.jobs)


def test_weights_are_kept_while_a_job_reads_them_and_no_longer(store: Store) -> None:
    plan, most = plan_of(), []

    class Counting(FakeWorkers):
        def submit(self, payload: Payload, events: JobEvents) -> None:
            most.append(sum(store.weights(job.key) is not None for job in plan.jobs))
            super().submit(payload, events)

    run(plan, store, Counting(store))
    assert max(most) == 1
    assert not any(store.weights(job.key) for job in plan.jobs)


def test_weights_that_a_later_plan_needs_are_made_again(store: Store) -> None:
    run(plan_of(), store, FakeWorkers(store))
    search = FINDERS["imp"].search(SUBJECT, ImpSpec(sparsity=D("0.75"), step=D("0.25")), 0)
    longer = Plan.of(search.trainings.values())
    workers = FakeWorkers(store)
    assert len(missing(longer, store)) == 3
    run(longer, store, workers)
    assert workers.given == [
        "sentiment, seed 0, IMP at 0.5",
        "sentiment, seed 0, IMP mask at 0.75",
        "sentiment, seed 0, IMP at 0.75",
    ]


def test_weights_that_are_read_after_the_run_stay_and_are_made_again_if_they_are_gone(
    store: Store,
) -> None:
    whole = plan_of()
    wanted = next(job for job in whole.jobs if job.label == "sentiment, seed 0, IMP at 0.25")
    plan = dataclasses.replace(whole, kept=frozenset({wanted.key}))
    run(plan, store, FakeWorkers(store))
    assert [job.key for job in plan.jobs if store.weights(job.key)] == [wanted.key]
    again = FakeWorkers(store)
    run(plan, store, again)
    assert again.given == []
    store.drop_weights(wanted.key)
    run(plan, store, again)
    assert again.given == [wanted.label]
    assert store.weights(wanted.key)


def test_weights_of_a_diverged_training_are_not_waited_for(store: Store) -> None:
    class Diverging(FakeWorkers):
        def do(self, payload: Payload, events: JobEvents) -> None:
            facts = {"score": None, "diverged": {"step": 1, "what": "loss"}}
            self.store.save(dataclasses.replace(result(payload), facts=facts), {})
            events.done(payload.key)

    dense = Plan.of([plan_of().jobs[0]])
    plan = dataclasses.replace(dense, kept=frozenset({dense.jobs[0].key}))
    assert len(run(plan, store, Diverging(store)).done) == 1
    assert missing(plan, store) == set()


def test_every_callback_is_told(store: Store) -> None:
    plan, workers, callbacks = plan_of((0, 1)), FakeWorkers(store), [Recorder(), Recorder()]
    workers.bad["sentiment, seed 0, IMP at 0.25"] = SpecError("too bad")
    execute(plan, store, workers, *callbacks, threads=1)
    assert callbacks[0].failed
    assert vars(callbacks[0]) == vars(callbacks[1])


def test_a_failure_stops_only_what_depends_on_it(store: Store) -> None:
    plan, callback, workers = plan_of((0, 1)), Recorder(), FakeWorkers(store)
    workers.bad["sentiment, seed 0, IMP at 0.25"] = SpecError("too bad")
    summary = run(plan, store, workers, callback)
    assert [str(error) for _, error in summary.failed] == ["too bad"]
    assert callback.failed == {"sentiment, seed 0, IMP at 0.25": "too bad"}
    blocked = {job.label for job in summary.blocked}
    assert blocked == {
        "sentiment, seed 0, IMP mask at 0.5",
        "sentiment, seed 0, IMP at 0.5",
        "sentiment, seed 0, reinit at 0.5",
    }
    assert len(summary.done) + 1 + len(blocked) == len(plan.jobs)
    workers = FakeWorkers(store)
    assert not run(plan, store, workers).failed
    assert set(workers.given) == blocked | {"sentiment, seed 0, IMP at 0.25"}


def test_a_full_disk_stops_everything_and_leaves_no_lease(store: Store) -> None:
    plan, workers = plan_of(), FakeWorkers(store)
    workers.bad["sentiment, seed 0, IMP at 0.25"] = OutputError("no space")
    with pytest.raises(OutputError, match="no space"):
        run(plan, store, workers)
    assert workers.closed == 1
    assert not any(store.holder(job.key) for job in plan.jobs)
    assert not run(plan, store, FakeWorkers(store)).failed


def test_who_is_interrupted_lets_go_of_what_was_in_work(store: Store) -> None:
    class Stopped(FakeWorkers):
        def do(self, payload: Payload, events: JobEvents) -> None:
            if "0.5" in payload.label:
                raise KeyboardInterrupt
            super().do(payload, events)

    plan, workers = plan_of(), Stopped(store, room=3, shuffle=1)
    with pytest.raises(KeyboardInterrupt):
        run(plan, store, workers)
    assert workers.closed == 1
    assert not any(store.holder(job.key) for job in plan.jobs)


def test_a_damaged_result_is_made_again(store: Store) -> None:
    plan = plan_of()
    run(plan, store, FakeWorkers(store))
    victim = plan.jobs[-1]
    store.file(victim.key, "file").write_bytes(b"")
    assert missing(plan, store) == {victim.key}
    workers = FakeWorkers(store)
    run(plan, store, workers)
    assert workers.given == [victim.label]
    assert store.intact(victim.key)


def test_a_job_that_another_process_holds_is_left_to_it(store: Store) -> None:
    plan = plan_of()
    held = plan.jobs[0]
    lease = store.claim(held.key)
    assert lease is not None
    release, looks = lease.release, []

    class Elsewhere(FakeWorkers):
        """While these workers wait for work, the other process ends its job."""

        @property
        def free_slots(self) -> int:
            looks.append(1)
            if len(looks) == 40:
                payload = dataclasses.replace(_payload(held), keep_weights=True)
                self.store.save_weights(held.key, write)
                self.store.save(result(payload), {"file": b"theirs"})
                release()
            return super().free_slots

    workers = Elsewhere(store)
    summary = run(plan, store, workers)
    assert held.label not in workers.given
    assert sorted(workers.given) == sorted(job.label for job in plan.jobs[1:])
    assert store.file(held.key, "file").read_bytes() == b"theirs"
    assert len(summary.done) == len(plan.jobs)


def test_a_job_that_another_process_has_taken_over_is_left_to_it(store: Store) -> None:
    plan = plan_of()
    taken = plan.jobs[0]

    class Silent(FakeWorkers):
        """Another process takes its first job over, and finishes it."""

        theirs: Lease | None = None

        def do(self, payload: Payload, events: JobEvents) -> None:
            if payload.key == taken.key and self.theirs is None:
                (store.folder / "leases" / f"{taken.key}.json").unlink()
                self.theirs = store.claim(taken.key)
                super().do(payload, events)
                assert not store.has(taken.key)
                store.save_weights(taken.key, write)
                store.save(result(payload), {"file": b"theirs"})
                assert store.holder(taken.key)
                self.theirs.release()  # type: ignore[union-attr]
            else:
                super().do(payload, events)

    workers = Silent(store)
    summary = run(plan, store, workers)
    assert sorted(workers.given) == sorted(job.label for job in plan.jobs)
    assert store.file(taken.key, "file").read_bytes() == b"theirs"
    assert len(summary.done) == len(plan.jobs)
    assert not summary.failed


def test_weights_that_another_run_reads_stay_until_it_has_ended(store: Store) -> None:
    plan = plan_of()
    dense = plan.jobs[0]
    with store.announce([dense.key]):
        run(plan, store, FakeWorkers(store))
        assert [job.key for job in plan.jobs if store.weights(job.key)] == [dense.key]
        assert collect(store)["weights"] == 0
        for part in ("results", "weights"):
            shutil.rmtree(store.folder / part)
        run(plan, store, FakeWorkers(store))
        assert store.weights(dense.key)
    victim = plan.jobs[-1]
    store.remove(victim.key)
    run(plan, store, FakeWorkers(store))
    assert not any(store.weights(job.key) for job in plan.jobs)


def test_tidying_leaves_a_running_plan_the_weights_that_it_reads(store: Store) -> None:
    search = FINDERS["imp"].search(
        SUBJECT, ImpSpec(sparsity=D("0.5"), step=D("0.25"), rewind_step=3), 0
    )
    assert search.early is not None
    plan, early = Plan.of(search.trainings.values()), search.early
    there = []

    class Tidy(FakeWorkers):
        def submit(self, payload: Payload, events: JobEvents) -> None:
            collect(store)
            there.append(store.weights(early.key) is not None)
            super().submit(payload, events)

    workers = Tidy(store)
    run(plan, store, workers)
    assert sorted(workers.given) == sorted(job.label for job in plan.jobs)
    assert True in there
    store.save_weights(early.key, write)
    assert collect(store)["weights"] == 1
    assert not list((store.folder / "leases").iterdir())


def _payload(job: Job) -> Payload:
    return payload_for(job, keep_weights=False, threads=1, processes=1)


def test_a_payload_survives_a_pipe() -> None:
    for job in plan_of().jobs:
        payload = _payload(job)
        assert Payload.from_json(payload.to_json()) == payload
        assert payload.parents == {role: parent.key for role, parent in job.parents.items()}
