"""The versions that results and bug reports depend on, from metadata alone; imports no package."""

import platform
import re
from collections.abc import Iterator
from pathlib import Path

from tombola import __version__
from tombola.kernel.processor import processor_flags
from tombola.ticket.versions import package_version

__all__ = ["versions"]

PACKAGES = (
    *("torch", "transformers", "accelerate", "datasets", "huggingface_hub", "numpy"),
    *("safetensors", "constriction", "peft", "lightning", "ray"),
)
"""What results, formats and files depend on; those that are not installed are left out."""

CUDA = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")
"""The packages that torch brings its CUDA in."""

DRIVER = Path("/proc/driver/nvidia/version")

INSTRUCTION_SETS = {
    "AVX512": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"},
    "AVX2": {"avx2", "fma"},
}
"""What torch calls the instructions that it uses -> the flags of a processor that has them."""


def versions() -> Iterator[str]:
    """Lines of a name and a version, tombola's own first."""
    yield f"tombola {__version__}"
    yield f"Python {platform.python_version()}"
    for package in PACKAGES:
        if (version := package_version(package)) is not None:
            yield f"{package} {version}"
    yield f"{platform.system()} {platform.release()} {platform.machine()}{_instruction_set()}"
    if (cuda := next(filter(None, map(package_version, CUDA)), None)) is not None:
        yield f"CUDA {cuda}"
    if (driver := re.search(r"Kernel Module.*?\s(\d[\d.]+)\s", _text(DRIVER))) is not None:
        yield f"NVIDIA-driver {driver[1]}"


def _instruction_set() -> str:
    """The best of INSTRUCTION_SETS that the processor has, as the end of a line."""
    found = processor_flags()
    return next((f" {name}" for name, needed in INSTRUCTION_SETS.items() if needed <= found), "")


def _text(path: Path) -> str:
    """The content of a file of the system; nothing where it has none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
