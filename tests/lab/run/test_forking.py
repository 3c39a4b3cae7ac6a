"""Workers start with torch loaded, in the run's environment, and end with it, however it ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from multiprocessing import Pipe
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from tombola.cli.thread_waiting import NAMES
from tombola.lab.run.workers import forking
from tombola.lab.run.workers.forking import PRELOADED, started, worker_context
from tombola.lab.run.workers.gpus import VISIBLE, seeing

linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def _tell(pipe: Any, name: str) -> None:
    pipe.send((os.getppid(), os.environ.get(name)))
    pipe.recv()


def told(name: str) -> tuple[int, str | None]:
    """The parent of a new worker, and a variable of its environment."""
    ours, theirs = Pipe()
    process = started(worker_context(()), _tell, theirs, name)
    found: tuple[int, str | None] = ours.recv()
    ours.send("end")
    process.join()
    return found


@linux
def test_the_fork_server_has_torch_and_a_single_thread() -> None:
    server, _ = told("HOME")
    assert server != os.getpid()
    assert psutil.Process(server).ppid() == os.getpid()
    assert any("libtorch" in each.path for each in psutil.Process(server).memory_maps())
    assert os.listdir(f"/proc/{server}/task") == [str(server)]
    assert told("HOME")[0] == server


def test_the_fork_server_asks_nothing_about_gpus() -> None:
    code = f"""
import importlib, torch
def refuse(*_, **__):
    raise AssertionError("CUDA was asked")
for name in ("is_available", "device_count", "init", "_lazy_init", "current_device"):
    setattr(torch.cuda, name, refuse)
if hasattr(torch._C, "_cuda_getDeviceCount"):
    torch._C._cuda_getDeviceCount = refuse
for name in {PRELOADED!r}:
    importlib.import_module(name)
assert not torch.cuda.is_initialized()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_worker_has_the_environment_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMBOLA_TEST", "first")
    assert told("TOMBOLA_TEST")[1] == "first"
    monkeypatch.setenv("TOMBOLA_TEST", "second")
    assert told("TOMBOLA_TEST")[1] == "second"
    monkeypatch.delenv("TOMBOLA_TEST")
    assert told("TOMBOLA_TEST")[1] is None
    with seeing(["GPU-a"]):
        assert told(VISIBLE)[1] == "GPU-a"


def test_the_environment_of_the_server_is_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert told("OPENBLAS_NUM_THREADS")[1] is None
    assert told("PYTHONSAFEPATH")[1] is None


@linux
def test_a_file_in_the_working_folder_shadows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("open('loaded', 'w').close()\nraise SystemExit(9)\n")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "from tombola.lab.run.workers.forking import start_server, started, worker_context\n"
        "from multiprocessing import Pipe\n"
        "if __name__ == '__main__':\n"
        "    process = started(worker_context(()), print, Pipe()[0])\n"
        "    process.join()\n"
        "    raise SystemExit(process.exitcode)\n"
    )
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "loaded").exists()


# --- where workers are spawned ----------------------------------------------------


def main_module(name: str, file: str | None) -> ModuleType:
    """A program that was started as `python -m name`, or from a file."""
    module = ModuleType("__main__")
    if name:
        module.__spec__ = ModuleSpec(name, None)
    if file:
        module.__file__ = file
    return module


@pytest.mark.parametrize(
    ("name", "file", "method"),
    [
        ("tombola.__main__", "/somewhere/tombola/__main__.py", "forkserver"),
        ("", "/usr/bin/tombola", "forkserver"),
        ("", None, "forkserver"),  # a notebook or a console: workers import nothing of it
        ("", "/home/me/experiment.py", "spawn"),
        ("experiment", "/home/me/experiment.py", "spawn"),
    ],
)
@linux
def test_a_script_that_may_ask_for_cuda_is_not_imported_before_its_gpus_are_set(
    name: str, file: str | None, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", main_module(name, file))
    assert worker_context(["0", "1"]).get_start_method() == method
    for gpus in ([], ["0"]):
        assert worker_context(gpus).get_start_method() == "forkserver"


def test_workers_are_spawned_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking.sys, "platform", "darwin")  # type: ignore[attr-defined]
    assert worker_context([]).get_start_method() == "spawn"


# --- nothing is left --------------------------------------------------------------

PLAN = """\
version: 1
model: {model}
tasks: [sentiment]
seeds: [0, 1, 2]
train: {{epochs: 20, train_limit: 960, test_limit: 48, max_length: 24, batch_size: 16}}
arms:
  tickets: {{kind: imp, sparsity: 0.6, step: 0.3}}
"""


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`tombola run` with two workers, in a process group of its own, as a shell starts it."""
    (tmp_path / "plan.yaml").write_text(PLAN.format(model=tiny))
    words = ("run", "plan.yaml", "--workers", "2", "--threads", "1")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background
    process = subprocess.Popen(
        [sys.executable, "-m", "tombola", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)  # ignores it, and so would the run
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def when(run: subprocess.Popen[str], number: int) -> list[psutil.Process]:
    """The processes that a run has started, once there are that many, each in its own program."""
    while run.poll() is None:
        main = psutil.Process(run.pid)
        found = main.children(recursive=True)
        fresh = main.cmdline(), list[str]()  # /proc shows the parent's until a process calls exec
        if len(found) >= number and all(each.cmdline() not in fresh for each in found):
            return found
        time.sleep(0.05)
    raise AssertionError(run.communicate())


HELPERS = 2
"""The fork server, and multiprocessing's resource tracker."""


def interrupt(run: subprocess.Popen[str]) -> None:
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them


def kill(run: subprocess.Popen[str]) -> None:
    run.kill()


@pytest.mark.parametrize("number", [HELPERS, HELPERS + 2], ids=["while it loads", "at work"])
@pytest.mark.parametrize("end", [interrupt, kill])
@linux
def test_no_process_is_left(
    end: Callable[[subprocess.Popen[str]], None], number: int, run: subprocess.Popen[str]
) -> None:
    others = when(run, number)
    for each in others:  # torch is loaded with what the command line says about idle threads
        assert any(name in each.environ() for name in NAMES)
    end(run)
    _, errors = run.communicate(timeout=120)
    _, left = psutil.wait_procs(others, timeout=120)
    assert left == []
    if end is interrupt:
        assert run.returncode == 130
        stopped = "stopped. Finished jobs are kept; run the same command to continue."
        assert errors == f"tombola: {stopped}\n"
    else:
        assert errors == ""


def test_a_pool_whose_server_was_killed_goes_on() -> None:
    server, _ = told("HOME")
    if server != os.getpid():
        psutil.Process(server).kill()
        while psutil.pid_exists(server) and psutil.Process(server).status() != "zombie":
            time.sleep(0.01)
    assert told("PATH")[1] == os.environ["PATH"]
    assert not multiprocessing.active_children()
