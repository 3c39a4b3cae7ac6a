"""NVIDIA's multi-process service, by which kernels of several processes run on a card at once."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

CONTROL = "nvidia-cuda-mps-control"
FOLDERS = os.pathsep.join(
    (os.environ.get("PATH", ""), "/usr/local/nvidia/bin", "/usr/local/cuda/bin")
)
PROBE = "import torch; print(torch.ones(8, device='cuda').sum().item())"
"""What a client of the service does, to see whether it works here."""
PATIENCE = 60
"""Seconds after which a service that doesn't answer counts as broken."""


@contextmanager
def mps() -> Iterator[str]:
    """Serve the processes that are started meanwhile, if the service is there and works.

    Yields: what became of it, in a few words.
    """
    control = shutil.which(CONTROL, path=FOLDERS)
    if control is None:
        yield f"no MPS: {CONTROL} not found"
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        own = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        problem = _ran([control, "-d"]) or _ran([sys.executable, "-c", PROBE])
        if problem:
            _end(control)
            _restore(before)
        try:
            yield f"no MPS: {problem}" if problem else "MPS"
        finally:
            if not problem:
                _end(control)
                _restore(before)


def _ran(command: list[str]) -> str:
    """Why a command failed; empty if it didn't."""
    try:
        subprocess.run(
            command,
            check=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # the service keeps it open
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return ""


def _end(control: str) -> None:
    try:
        subprocess.run(
            [control], check=True, input=b"quit\n", timeout=PATIENCE, capture_output=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"MPS goes on: {error}", file=sys.stderr)


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
