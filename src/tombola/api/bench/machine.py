"""The machine and the versions that times depend on."""

import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from tombola.kernel.sparse.products import instruction_set

__all__ = ["machine"]

PACKAGES = ("tombola", "torch", "transformers", "onnxruntime")


def machine(more: Sequence[str] = ()) -> dict[str, Any]:
    """What the times depend on: processor, instruction set, threads, load, versions.

    Args:
        more: packages whose versions are named, if they are installed.
    """
    found = {package: _version(package) for package in dict.fromkeys((*PACKAGES, *more))}
    return {
        "processor": _processor(),
        "instruction_set": f"{torch.backends.cpu.get_cpu_capability()}, sparse {instruction_set()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "versions": {package: version for package, version in found.items() if version},
    }


def _processor() -> str:
    """What the machine calls its processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
