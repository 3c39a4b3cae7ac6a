"""Processes: some that begin at once, one that has ended, and one that says what it has loaded."""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tombola.lab.store.process import Process

__all__ = ["SPAWN", "dead", "loaded_after", "together"]

SPAWN = multiprocessing.get_context("spawn")


def together(number: int, target: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `target(*arguments)` gives in this number of processes that begin it at once.

    None of them ends before all have finished, so none takes another for a process that has ended.
    """
    barrier, answers = SPAWN.Barrier(number), SPAWN.SimpleQueue()
    workers = [
        SPAWN.Process(target=_one, args=(barrier, answers, target, arguments))
        for _ in range(number)
    ]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return found


def _one(barrier: Any, answers: Any, target: Callable[..., Any], arguments: Any) -> None:
    barrier.wait()
    try:
        answers.put(target(*arguments))
    except Exception as error:
        answers.put(repr(error))
    barrier.wait()


def loaded_after(code: str) -> set[str]:
    """The modules that a new interpreter has loaded after some code."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def dead() -> Process:
    """A process on this machine that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return replace(Process.here(), pid=child.pid, started=1)
