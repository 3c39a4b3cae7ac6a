"""Crews on this machine: this process, several processes, or several for one training."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import tombola.base.errors
from tombola.base.errors import TombolaError
from tombola.lab.run.engine import JobEvents, TakenOverError
from tombola.lab.run.payload import Payload
from tombola.lab.store.result_store import Store

__all__ = ["ProcessPool", "ThisProcess", "revive", "work"]

TRIES = 3
"""How often a job is begun whose worker dies under it."""


class ThisProcess:
    """Does the jobs in this process, one after another."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._worker: Worker | None = None
        self.free_slots = 1

    def submit(self, payload: Payload, events: JobEvents) -> None:
        """Do a job."""
        self._worker = self._worker or Worker(self.store)

        def step(done: int, steps: int) -> None:
            if not events.step(payload.key, done, steps):
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
        """Nothing is ever left to wait for."""

    def close(self) -> None:
        """Nobody is to be sent home."""


class Worker:
    """Does one job after another, and keeps the network that it has loaded."""

    def __init__(self, store: Store) -> None:
        from tombola.lab.run.workspace import WorkspaceCache

        self.store, self.workspaces = store, WorkspaceCache()

    def do(self, payload: Payload, step: Callable[[int, int], None]) -> None:
        """Do a job, in several processes if the payload says so."""
        from tombola.lab.run.perform import perform

        if payload.processes > 1:
            _launch(payload, self.store, step)
        else:
            perform(payload, self.store, self.workspaces, step)


# --- several workers ---------------------------------------------------------


@dataclass
class _Hand:
    """A worker process and the job that it does."""

    process: Any
    pipe: Connection
    payload: Payload | None = None


class ProcessPool:
    """Several worker processes on this machine, each with a job of its own."""

    def __init__(self, store: Store, workers: int) -> None:
        self.store = store
        self._context = multiprocessing.get_context("spawn")
        self._hands: list[_Hand] = []
        self._workers = workers
        self._tries: dict[str, int] = {}

    @property
    def free_slots(self) -> int:
        """Workers without a job."""
        return self._workers - sum(hand.payload is not None for hand in self._hands)

    def submit(self, payload: Payload, events: JobEvents) -> None:
        """Hand a job to a worker that has none."""
        hand = next((hand for hand in self._hands if hand.payload is None), None) or self._hire()
        hand.payload = payload
        self._tries[payload.key] = self._tries.get(payload.key, 0) + 1
        try:
            hand.pipe.send(payload.to_json())
        except OSError:  # it has died before it got the payload
            self._bury(hand, events)

    def _hire(self) -> _Hand:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(theirs, str(self.store.folder)), daemon=True
        )
        try:
            process.start()
        except OSError as error:
            raise TombolaError(
                f"expected another process on this machine, got: {error.strerror or error}. "
                "Take fewer --workers."
            ) from None
        finally:
            theirs.close()
        self._hands.append(_Hand(process, ours))
        return self._hands[-1]

    def wait(self, seconds: float, events: JobEvents) -> None:
        """Pass on what the workers say, until one has ended a job or the time is up."""
        for pipe in wait([hand.pipe for hand in self._hands], seconds):
            hand = next(hand for hand in self._hands if hand.pipe is pipe)
            while hand in self._hands and hand.pipe.poll():
                self._listen(hand, events)

    def _listen(self, hand: _Hand, events: JobEvents) -> None:
        payload = hand.payload
        try:
            said, *rest = hand.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._bury(hand, events)
            return
        assert payload is not None
        if said == "step":
            if not events.step(payload.key, *rest):
                self._hands.remove(hand)
                self._end([hand])
            return
        hand.payload = None
        if said == "done":
            events.done(payload.key)
        else:
            events.failed(payload.key, revive(*rest))

    def _bury(self, hand: _Hand, events: JobEvents) -> None:
        """A worker has died: somebody else takes up its job, unless that kills everybody."""
        self._hands.remove(hand)
        hand.process.join()
        if hand.payload is None:
            return
        if self._tries[hand.payload.key] < TRIES:
            self.submit(hand.payload, events)
            return
        code = hand.process.exitcode
        how, remedy = f"signal {-code}", "Is there memory for so many? Take fewer --workers."
        if code >= 0:
            how = f"exit status {code}"
            remedy = (
                "What it said stands above. A script of yours that takes workers needs "
                "`if __name__ == '__main__':` around its calls."
            )
        told = f"expected a worker to do {hand.payload.label}, got {TRIES} that died of {how}. "
        events.failed(hand.payload.key, TombolaError(told + remedy))

    def close(self) -> None:
        """End every worker."""
        self._end(self._hands)
        self._hands.clear()

    @staticmethod
    def _end(hands: Sequence[_Hand]) -> None:
        for hand in hands:
            hand.process.terminate()
        for hand in hands:
            hand.process.join(5)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()


def work(pipe: Connection, folder: str) -> None:
    """Do what comes through the pipe, until it is closed; the main function of a worker."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the engine's, which then ends us
    signal.signal(signal.SIGTERM, _leave)
    parent = os.getppid()
    worker = Worker(Store(folder))
    while True:
        try:
            payload = Payload.from_json(pipe.recv())
        except EOFError:
            return

        def step(done: int, steps: int) -> None:
            if os.getppid() != parent:  # the engine was killed, and somebody may do this job anew
                os._exit(1)
            pipe.send(("step", done, steps))

        try:
            worker.do(payload, step)
        except Exception as error:
            pipe.send(("failed", type(error).__name__, str(error)))
        else:
            pipe.send(("done",))


def _leave(*_: object) -> None:
    """End this worker as an exception does, so that the processes which it has started end too."""
    raise SystemExit(143)


def revive(name: str, message: str) -> Exception:
    """The exception that a worker tells of."""
    kind = getattr(tombola.base.errors, name, None)
    if isinstance(kind, type) and issubclass(kind, TombolaError):
        return kind(message)
    return RuntimeError(f"{name}: {message}")


# --- several processes for one training --------------------------------------


def _launch(payload: Payload, store: Store, step: Callable[[int, int], None]) -> None:
    """Do a training in several processes, by torchrun.

    Raises: TombolaError, with what the first rank said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "payload.json"
        place.write_text(payload.to_json(), encoding="utf-8")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(payload.processes), "-m", "tombola.lab.run.rank"]
        complaints = Path(scratch) / "stderr"  # a pipe that nobody reads would stop the ranks
        with complaints.open("w") as errors:
            process = subprocess.Popen(
                [*command, str(place), str(store.folder)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(payload.threads)},
            )
        assert process.stdout is not None
        said = ["", ""]
        try:
            for line in process.stdout:
                words = line.rstrip("\n").split(" ", 2)
                if words[0] == "step":
                    step(int(words[1]), int(words[2]))
                elif words[0] == "failed" and not said[0]:
                    said = words[1:]
        finally:
            with contextlib.suppress(OSError):
                process.terminate()
            process.communicate()
        if said[0]:
            raise revive(*said)
        if not store.has(payload.key):
            told = complaints.read_text(errors="replace").strip()
            last = (told.splitlines() or ["nothing"])[-1]
            raise TombolaError(
                f"expected {payload.processes} processes to do {payload.label}, got exit status "
                f"{process.returncode}: {last}"
            )
