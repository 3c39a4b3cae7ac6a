"""The memory of a job: the most that it takes, its share of a GPU, the error if it lacks some."""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from tombola.base.errors import TombolaError

__all__ = [
    "fitting",
    "gpu_peak",
    "gpu_size",
    "memory_share",
    "peak_memory",
    "resident_memory",
    "return_memory",
    "within_memory",
]

CONTEXT = 1 << 30
"""Bytes of a GPU that each process takes for CUDA itself, about, and not for tensors."""
GIB = 1 << 30
CPU, DEVICE = "cpu", "device"
"""Which memory a job lacked."""
CPU_SIGN = "DefaultCPUAllocator: "
"""In torch's error of a lack of memory on the CPU; how it goes on depends on the platform."""
GPU_SIGNS = "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"
"""In errors of a lack of memory on a GPU that are not an OutOfMemoryError."""


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Largest resident memory of this process within the block, in bytes, where Linux reports it.

    `gpu_peak` measures from here on, too.
    """
    peak = [0]
    _forget_gpu_peak()
    clear = Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")
    except OSError:
        clear = Path()
    yield peak
    unit = 1 if sys.platform == "darwin" else 1024
    peak[0] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if clear.name:
        status = Path("/proc/self/status").read_text()
        peak[0] = int(status.split("VmHWM:")[1].split()[0]) * 1024


def resident_memory() -> int:
    """Resident memory of this process and of all that it has started, in bytes; what several of
    them share is counted once where Linux reports it."""
    import psutil

    this, taken = psutil.Process(), 0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):
            found = process.memory_full_info()
            taken += getattr(found, "pss", found.rss)
    return taken


ENOUGH = 2 << 30
"""Bytes of memory that a process may keep between jobs, whether it uses them or not."""


def return_memory(peak: int) -> None:
    """Give the system back what a job has freed, if that may be much.

    Batches of many lengths leave gaps that the C library keeps, more with each job.

    Args:
        peak: the most that the job took, in bytes.
    """
    if peak > ENOUGH:
        gc.collect()
        with suppress(OSError, AttributeError):  # no glibc
            ctypes.CDLL(None).malloc_trim(0)


# --- of a GPU -------------------------------------------------------------------


def memory_share(size: int, sharers: int) -> int:
    """Bytes that each of the processes that share a GPU may take for tensors.

    Args:
        size: the GPU's memory, in bytes.
        sharers: number of processes.
    """
    share = size // sharers
    return share if sharers == 1 else share - min(CONTEXT, share // 2)


def fitting(size: int, taken: int) -> int:
    """How many trainings fit on a GPU at once, each with its share; at least one.

    Args:
        size: the GPU's memory, in bytes.
        taken: bytes for the tensors of one training.
    """
    return max(1, size // (taken + CONTEXT))


def gpu_size() -> int:
    """Bytes of memory of this process's CUDA device; 0 without one."""
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)


def _forget_gpu_peak() -> None:
    """Give back what earlier jobs have left reserved, and measure afresh."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def gpu_peak() -> int:
    """Most bytes of its GPU that this process has reserved for tensors; 0 on a CPU."""
    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_initialized() else 0


def within_memory(
    label: str, sharers: int, job: Callable[[], None], free: Callable[[], bool] = lambda: False
) -> None:
    """Do a job within this process's share of its GPU's memory.

    Args:
        label: the label of the job.
        sharers: number of processes that share the GPU, this one included.
        job: what to do.
        free: drops what this process keeps from other jobs, and says whether that was anything; if
            so, a job that lacked memory is done again.

    Raises: TombolaError, if it needs more memory than there is.
    """
    lacking = _lacking(sharers, job)
    if lacking is None:
        return
    freed = free()
    gc.collect()
    if freed:
        lacking = _lacking(sharers, job)
    if lacking is None:
        return
    free()
    raise _out_of_memory(label, sharers, lacking)


def _lacking(sharers: int, job: Callable[[], None]) -> str | None:
    """Do a job, and say which memory was too small, if one was; torch's error, which holds on to
    tensors, is gone then."""
    try:
        _limit_gpu_memory(sharers)
        job()
    except (RuntimeError, MemoryError) as error:
        lacking = _too_small(error)
        if lacking is None:
            raise
        return lacking
    return None


def _limit_gpu_memory(sharers: int) -> None:
    """Keep this process within its share, so that it can't starve the others."""
    if sharers > 1 and (size := gpu_size()):
        torch.cuda.set_per_process_memory_fraction(memory_share(size, sharers) / size)


def _too_small(error: BaseException | None) -> str | None:
    """Which memory is too small by an error, or one that led to it: CPU or DEVICE; None for others.

    A CUDA graph whose recording lacks memory raises another error at its end.
    """
    if error is None:
        return None
    if isinstance(error, MemoryError) or CPU_SIGN in str(error):
        return CPU
    if isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in GPU_SIGNS):
        return DEVICE
    return _too_small(error.__cause__ or error.__context__)


def _out_of_memory(label: str, sharers: int, lacking: str) -> TombolaError:
    """The error of a job that needs more memory; what it left is freed for this process's next."""
    gc.collect()
    free, size = 0, gpu_size()
    if size:
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    room = "this machine's memory" if lacking == CPU else _room(sharers, free, size)
    return TombolaError(
        f"expected {label} to fit in {room}, but it needs more. Use "
        f"{'fewer --workers, ' if sharers > 1 else ''}a higher --accumulation or a smaller "
        "--batch-size."
    )


def _room(sharers: int, free: int, size: int) -> str:
    """The memory of its device that a job may take, in words."""
    if not size:
        return "the memory of its device"
    whole = f"{size / GIB:.1f} GiB"
    if sharers == 1:
        return f"the {free / GIB:.1f} GiB that are free on its GPU of {whole}"
    share = f"{memory_share(size, sharers) / GIB:.1f} GiB"
    return f"a share of {share} of a GPU of {whole} for {sharers} workers"
