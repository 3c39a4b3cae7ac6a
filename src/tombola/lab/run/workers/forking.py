"""Worker processes that have torch and transformers loaded when they start.

On Linux they are forked from multiprocessing's fork server, which loads both once. It runs no
thread and asks nothing about GPUs, because neither survives a fork. macOS has libraries that do
start threads when they are loaded, so workers are spawned there, and each loads both anew.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tombola.lab.run.workers.environment import variables

__all__ = [
    "PRELOADED",
    "WorkerContext",
    "is_command_line",
    "start_server",
    "started",
    "worker_context",
]

WorkerContext = ForkServerContext | SpawnContext

PRELOADED = ("tombola.lab.run.perform",)
"""What the fork server loads: everything that jobs use, torch and transformers with it."""

COMMAND = "tombola"

SINGLE = {"OPENBLAS_NUM_THREADS": "1"}
"""Keeps NumPy and SciPy, which start threads when they are loaded, from doing so in the server."""


def worker_context(gpus: Sequence[str]) -> WorkerContext:
    """How workers are started: forked, or spawned where that is not safe.

    A worker imports the user's script before it can be given its GPUs, and a script that asks for
    CUDA then gets all of them.

    Args:
        gpus: those that the workers get, each its own.
    """
    if sys.platform != "linux" or (len(gpus) > 1 and imports_a_script()):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    return context


def imports_a_script() -> bool:
    """Whether a worker imports the program that runs here: a script, but not the command line."""
    return _program() not in ("", COMMAND)


def is_command_line() -> bool:
    """Whether the program that runs here is the command line, not a script or a notebook."""
    return _program() == COMMAND


def _program() -> str:
    """The name of the program; none of a notebook or a console."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    return spec.name.partition(".")[0] if spec else Path(file).stem if file else ""


def start_server(context: WorkerContext) -> None:
    """Start the fork server, if there is none, so that it loads its modules in the background.

    Raises: OSError, if no process can be started.
    """
    if isinstance(context, ForkServerContext):
        resource_tracker.ensure_running()  # which unblocks signals when it starts
        paths = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
        with variables(SINGLE | paths), _deaf_to_interrupts():
            forkserver.ensure_running()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A context in which new processes never see Ctrl-C: this one ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def started(
    context: WorkerContext, main: Callable[..., None], pipe: Connection, *arguments: Any
) -> BaseProcess:
    """Start a worker in the environment of this process as it is now.

    Args:
        context: a context of `worker_context`.
        main: its main function.
        pipe: the first argument of that function; the others follow.

    Raises: OSError, if no process can be started.
    """
    start_server(context)
    words = (dict(os.environ), main, pipe, *arguments)
    process = context.Process(target=_in_environment, args=words, daemon=True)
    process.start()
    return process


def _in_environment(
    environment: Mapping[str, str], main: Callable[..., None], *arguments: Any
) -> None:
    """Run the main function of a worker; a forked one has the server's environment before."""
    os.environ.clear()
    os.environ.update(environment)
    main(*arguments)
