"""Seconds until a worker is ready for its first job: spawned, and forked from the fork server.

python benchmarks/worker_start.py
"""

import multiprocessing
import os
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from tombola.lab.run.workers.forking import WorkerContext, started, worker_context

WORKERS = 3


def ready(pipe: Connection) -> None:
    """Load what a job needs, as a worker does, and say so."""
    import tombola.lab.run.perform  # noqa: F401

    pipe.send("ready")


def seconds(context: WorkerContext) -> list[float]:
    """The start of each of several workers, one after another."""
    found = []
    for _ in range(WORKERS):
        ours, theirs = Pipe()
        began = time.perf_counter()
        process = started(context, ready, theirs)
        ours.recv()
        found.append(time.perf_counter() - began)
        process.join()
    return found


def main() -> None:
    """Measure both."""
    contexts = {"spawned": multiprocessing.get_context("spawn"), "forked": worker_context(())}
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, context in contexts.items():
        print(f"{name:8}", *(f"{each:6.2f} s" for each in seconds(context)))


if __name__ == "__main__":
    main()
