"""The machine and the versions that times depend on."""

import os
from collections.abc import Sequence
from typing import Any

import torch

from tombola.kernel.processor import processor_name
from tombola.kernel.sparse.products import instruction_set
from tombola.ticket.versions import package_version

__all__ = ["machine"]

PACKAGES = ("tombola", "torch", "transformers", "onnxruntime")


def machine(more: Sequence[str] = ()) -> dict[str, Any]:
    """What the times depend on: processor, instruction set, threads, load, versions.

    Args:
        more: packages whose versions are named, if they are installed.
    """
    found = {package: package_version(package) for package in dict.fromkeys((*PACKAGES, *more))}
    return {
        "processor": processor_name(),
        "instruction_set": f"{torch.backends.cpu.get_cpu_capability()}, sparse {instruction_set()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "versions": {package: version for package, version in found.items() if version},
    }
