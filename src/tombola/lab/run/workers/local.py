"""Workers on this machine: this process itself, or a pool of processes."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from tombola.base.errors import SpecError, TombolaError, rebuild_error, sent_name
from tombola.lab.run.engine import JobEvents, TakenOverError
from tombola.lab.run.payload import Payload
from tombola.lab.run.workers.distributed import train_in_processes
from tombola.lab.run.workers.forking import started, worker_context
from tombola.lab.run.workers.gpus import places, seeing
from tombola.lab.store.result_store import Store
from tombola.training.steps import OnStep

__all__ = ["ProcessPool", "ThisProcess", "Worker", "work"]

TRIES = 3
"""How often a job is started if its worker ends before it is finished."""


class Worker:
    """Does jobs one after another, and keeps the network of the last one loaded."""

    def __init__(self, store: Store, *, sharers: int = 1) -> None:
        from tombola.lab.run.workspace import WorkspaceCache

        self.store, self.workspaces, self.sharers = store, WorkspaceCache(), sharers

    def do(self, payload: Payload, step: OnStep) -> None:
        """Do a job, in several processes if the payload asks for them."""
        from tombola.lab.run.perform import perform

        if payload.processes > 1:
            train_in_processes(payload, self.store, step, sharers=self.sharers)
        else:
            perform(payload, self.store, self.workspaces, step, sharers=self.sharers)


class ThisProcess:
    """Does the jobs in this process, one after another."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._worker: Worker | None = None
        self.free_slots = 1

    def submit(self, payload: Payload, events: JobEvents) -> None:
        """Do a job."""
        self._worker = self._worker or Worker(self.store)

        def step(done: int, steps: int, loss: float | None = None) -> None:
            if not events.step(payload.key, done, steps, loss):
                raise TakenOverError

        try:
            self._worker.do(payload, step)
        except TakenOverError:
            return
        except Exception as error:
            events.failed(payload.key, error)
        else:
            events.done(payload.key)

    def wait(self, seconds: float, events: JobEvents) -> None:
        """Return at once: a job has ended when `submit` returns."""

    def close(self) -> None:
        """Do nothing: there is no other process to end."""


@dataclass
class _WorkerProcess:
    """A process of a pool, and the payload of the job that it does."""

    process: BaseProcess
    pipe: Connection
    number: int
    """Its place in the pool."""
    payload: Payload | None = None


class ProcessPool:
    """Does jobs in several processes on this machine, one job each at a time.

    Each process sees its own GPUs only, and takes its share of their memory.
    """

    def __init__(
        self, store: Store, size: int, *, gpus: Sequence[str] = (), processes: int = 1
    ) -> None:
        self.store = store
        self._places = places(size, gpus, processes=processes)
        self._context = worker_context(gpus)
        self._workers: list[_WorkerProcess] = []
        self._size = size
        self._tries: dict[str, int] = {}

    @property
    def free_slots(self) -> int:
        """How many workers have no job, including those that have not been started."""
        return self._size - sum(worker.payload is not None for worker in self._workers)

    def submit(self, payload: Payload, events: JobEvents) -> None:
        """Give a job to a worker that has none."""
        idle = (worker for worker in self._workers if worker.payload is None)
        worker = next(idle, None) or self._start_worker()
        worker.payload = payload
        self._tries[payload.key] = self._tries.get(payload.key, 0) + 1
        try:
            worker.pipe.send(payload.to_json())
        except OSError:  # the process ended before it got the payload
            self._replace(worker, events)

    def _start_worker(self) -> _WorkerProcess:
        number = min({*range(self._size)} - {worker.number for worker in self._workers})
        place = self._places[number]
        ours, theirs = Pipe()
        try:
            with seeing(place.gpus):
                words = (theirs, str(self.store.folder), place.sharers)
                process = started(self._context, work, *words)
        except OSError as error:
            raise SpecError(
                "expected to start another process on this machine, got: "
                f"{error.strerror or error}. Use fewer --workers."
            ) from None
        finally:
            theirs.close()
        self._workers.append(_WorkerProcess(process, ours, number))
        return self._workers[-1]

    def wait(self, seconds: float, events: JobEvents) -> None:
        """Report the events of the workers, after at most that many seconds."""
        for pipe in wait([worker.pipe for worker in self._workers], seconds):
            worker = next(worker for worker in self._workers if worker.pipe is pipe)
            while worker in self._workers and worker.pipe.poll():
                self._receive(worker, events)

    def _receive(self, worker: _WorkerProcess, events: JobEvents) -> None:
        payload = worker.payload
        try:
            kind, *content = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._replace(worker, events)
            return
        assert payload is not None
        if kind == "step":
            if not events.step(payload.key, *content):
                self._workers.remove(worker)
                _end([worker])
            return
        worker.payload = None
        if kind == "done":
            events.done(payload.key)
        else:
            events.failed(payload.key, rebuild_error(*content))

    def _replace(self, worker: _WorkerProcess, events: JobEvents) -> None:
        """Submit the job of a worker that has ended again, at most `TRIES` times."""
        self._workers.remove(worker)
        worker.process.join()
        payload = worker.payload
        if payload is None:
            return
        if self._tries[payload.key] < TRIES:
            self.submit(payload, events)
        else:
            events.failed(payload.key, _all_ended(payload, worker.process.exitcode or 0))

    def close(self) -> None:
        """End every worker."""
        _end(self._workers)
        self._workers.clear()


def _all_ended(payload: Payload, status: int) -> TombolaError:
    """The error for a job whose workers all ended before it was finished."""
    if status < 0:
        how = f"signal {-status}"
        remedy = "They may need more memory than there is: use fewer --workers."
    else:
        how = f"exit status {status}"
        remedy = (
            "Their own messages are above. A script that uses workers needs "
            "`if __name__ == '__main__':` around its calls."
        )
    return TombolaError(
        f"expected a worker to do {payload.label}, got {TRIES} that ended with {how}. {remedy}"
    )


def _end(workers: Sequence[_WorkerProcess]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(5)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def work(pipe: Connection, folder: str, sharers: int = 1) -> None:
    """Do the jobs that come through a pipe, until it is closed; the main function of a worker.

    Args:
        pipe: brings payloads, and takes `("step", done, steps, loss)`, `("done",)` and
            `("failed", name of the error, message)`.
        folder: the store's folder.
        sharers: number of workers that share this one's GPU, itself included.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine handles Ctrl-C, and ends this process
    signal.signal(signal.SIGTERM, _leave)
    parent, worker = os.getppid(), Worker(Store(folder), sharers=sharers)
    while True:
        try:
            payload = Payload.from_json(pipe.recv())
        except EOFError:
            return

        def step(done: int, steps: int, loss: float | None = None) -> None:
            if os.getppid() != parent:  # the engine was killed, and another may do this job now
                os._exit(1)
            _tell(pipe, "step", done, steps, loss)

        try:
            worker.do(payload, step)
        except Exception as error:
            _tell(pipe, "failed", sent_name(error), str(error))
            if _uses_gpu():  # which may be left in a state that fails every job from here on
                return
        else:
            _tell(pipe, "done")


def _tell(pipe: Connection, *message: object) -> None:
    """Send a message to the engine, or end with it."""
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)


def _uses_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())


def _leave(*_: object) -> None:
    """End this worker by an exception, so that the processes it has started end too."""
    raise SystemExit(143)
