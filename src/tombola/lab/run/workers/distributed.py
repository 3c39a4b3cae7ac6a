"""One training in several processes (ranks) that share its batches.

The ranks are started by a separate process, because torch's launcher handles the signals of the
process that it runs in, and runs that process's main module again in each rank.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.base.errors import TombolaError, rebuild_error
from tombola.lab.run.payload import Payload
from tombola.lab.store.result_store import Store
from tombola.training.steps import OnStep

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure


__all__ = ["train_in_processes"]


def train_in_processes(payload: Payload, store: Store, step: OnStep, *, sharers: int = 1) -> None:
    """Do a training in the number of processes that its payload asks for.

    Args:
        payload: the training.
        store: where the first rank saves the result.
        step: called after each optimizer step.
        sharers: number of trainings that share these GPUs, this one included.

    Raises: TombolaError, as the first rank that failed reported it; RuntimeError for an error of a
        rank that is not one of ours.
    """
    with tempfile.TemporaryDirectory() as scratch:
        process, pipe = _start(payload, store, Path(scratch), sharers)
        failure: list[str] = []
        try:
            for kind, *content in _messages(pipe):
                if kind == "step":
                    step(*content)
                elif kind == "killed" or not failure:  # the others fail only because one was killed
                    failure = content
        finally:
            pipe.close()
            with suppress(OSError):
                process.terminate()
            process.wait()
        if failure:
            raise rebuild_error(*failure)
        if not store.has(payload.key):
            raise TombolaError(
                f"expected {payload.processes} processes to do {payload.label}, got exit status "
                f"{process.returncode}: {_last_line(Path(scratch) / 'stderr')}"
            )


def _start(
    payload: Payload, store: Store, scratch: Path, sharers: int
) -> tuple[subprocess.Popen[bytes], Connection]:
    """The launcher, and a pipe with the reports of the ranks; what they print goes to a file."""
    file = scratch / "payload.json"
    file.write_text(payload.to_json(), encoding="utf-8")
    ours, theirs = multiprocessing.Pipe(duplex=False)
    handle = theirs.fileno()
    words = [str(file), str(store.folder), str(handle), str(sharers)]
    with theirs, (scratch / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tombola.lab.run.workers.distributed", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,  # an unread pipe would stop the ranks
            pass_fds=[handle],
            env={**os.environ, "OMP_NUM_THREADS": str(payload.threads)},
        )
    return process, ours


def _messages(pipe: Connection) -> Iterator[tuple[Any, ...]]:
    """The reports of the ranks, until the last of them has ended."""
    with suppress(EOFError):
        while True:
            yield pipe.recv()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


def _launch(file: str, folder: str, handle: str, sharers: str) -> int:
    """Start the ranks and wait for them; the main function of the launcher."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from tombola.lab.run.workers.rank import train

    payload = Payload.from_json(Path(file).read_text(encoding="utf-8"))
    pipe = Connection(int(handle), readable=False)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=payload.processes,
        run_id=payload.key,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(Path(file).parent)),
    )
    lock = multiprocessing.get_context("spawn").Lock()
    try:
        elastic_launch(config, train)(payload.to_json(), folder, pipe, lock, int(sharers))
    except ChildFailedError as error:
        pipe.send(_failure(payload, error.failures))
        return 1
    return 0


def _failure(payload: Payload, failures: Mapping[int, "ProcessFailure"]) -> tuple[str, str, str]:
    """The report about ranks that failed; of one that was killed, if there is one."""
    rank = min(failures, key=lambda number: failures[number].exitcode)
    killed = failures[rank].exitcode < 0
    how = failures[rank].signal_name() if killed else f"exit status {failures[rank].exitcode}"
    message = (
        f"expected {payload.processes} processes to do {payload.label}, but rank {rank} ended with "
        f"{how}. They may need more memory than there is: use fewer --processes."
    )
    return "killed" if killed else "failed", "TombolaError", message


if __name__ == "__main__":
    sys.exit(_launch(*sys.argv[1:]))
