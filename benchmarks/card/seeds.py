"""Seeds of one plan, one after another and together, as `tombola run` does them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tombola.cli.main import QUIET

__all__ = ["mps_control", "run_seeds"]

PLAN = """\
version: 1
model: mini
seeds: {seeds}
train: {{epochs: {epochs}, train_limit: {examples}, test_limit: 64}}
tasks: [sentiment]
arms: {{dense: {{kind: dense}}}}
"""
DRIVER = "/usr/local/nvidia/bin"
"""Where containers have what belongs to the driver."""


def mps_control() -> str | None:
    """The program that starts NVIDIA's Multi-Process Service, if it's there."""
    return shutil.which("nvidia-cuda-mps-control", path=f"{os.environ['PATH']}:{DRIVER}")


def run_seeds(
    seeds: int, examples: int, epochs: int, *, workers: int, limit: float, mps: bool = False
) -> dict[str, Any]:
    """Train dense networks that differ in nothing but the seed.

    Args:
        seeds: number of trainings.
        examples: of `sentiment`, in each of them.
        epochs: of each.
        workers: processes that share the trainings.
        limit: seconds after which the run is ended.
        mps: whether the workers share the card by the Multi-Process Service.

    Returns: the seconds of the whole command; those from the first training's start to the last
        one's end; and their sum over the trainings.
    """
    with tempfile.TemporaryDirectory(prefix="seeds-") as scratch:
        folder = Path(scratch)
        text = PLAN.format(seeds=[*range(seeds)], epochs=epochs, examples=examples)
        (folder / "plan.yaml").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "tombola", "run", "plan.yaml", "--store", "store"]
        with _service(folder / "mps", mps) as variables:
            began = time.perf_counter()
            _call([*command, "--workers", str(workers)], folder, variables, limit)
            wall = time.perf_counter() - began
        return {"workers": workers, "mps": mps, "seconds": wall, **_trainings(folder / "store")}


def _trainings(store: Path) -> dict[str, Any]:
    """When the trainings of a store began and ended."""
    begins, ends, steps = [], [], []
    for file in store.glob("results/**/result.json"):
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["kind"] == "train":
            ends.append(file.stat().st_mtime)
            begins.append(ends[-1] - result["seconds"])
            steps.append(result["facts"]["training_seconds"])
    return {
        "trainings": len(ends),
        "seconds_without_start": max(ends) - min(begins),
        "seconds_of_trainings": sum(ends) - sum(begins),
        "seconds_of_steps": sum(steps),
    }


def _call(command: list[str], folder: Path, variables: dict[str, str], limit: float) -> None:
    """Run a command with its workers, and end them all at the limit."""
    environment = {**os.environ, **QUIET, **variables, "PYTHONPATH": _search_path()}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=limit)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        last = [line for line in said.splitlines() if line.strip()] or ["no message"]
        raise RuntimeError(f"tombola run ended with {process.returncode}: {last[-1]}")


def _search_path() -> str:
    """PYTHONPATH with its folders whole, for a command in another folder."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(str(Path(folder).resolve()) for folder in folders if folder)


@contextmanager
def _service(folder: Path, wanted: bool) -> Iterator[dict[str, str]]:
    """The Multi-Process Service for as long as the context lasts.

    Yields: the environment variables by which processes find it.
    """
    control = mps_control() if wanted else None
    if control is None:
        yield {}
        return
    places = {
        "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
        "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
    }
    for place in places.values():
        Path(place).mkdir(parents=True)
    environment = {**os.environ, **places}
    settings: Any = {  # no pipes, which the service would keep open
        "env": environment,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    subprocess.run([control, "-d"], check=True, timeout=10, **settings)
    try:
        yield places
    finally:
        subprocess.run([control], check=False, input=b"quit\n", timeout=20, **settings)
