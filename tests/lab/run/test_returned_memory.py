"""The memory of a process between jobs."""

import platform

import psutil
import pytest
import torch

from tombola.lab.run.memory import ENOUGH, return_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators")


@glibc
@pytest.mark.parametrize(("peak", "returned"), [(ENOUGH, False), (ENOUGH + 1, True)])
def test_what_a_large_job_freed_goes_back_to_the_system(peak: int, returned: bool) -> None:
    def resident() -> int:
        return psutil.Process().memory_info().rss

    blocks = [torch.ones(25_000) for _ in range(2_000)]  # too small for pages of their own
    held = blocks[-1]
    taken = resident()
    del blocks
    return_memory(peak)
    assert (taken - resident() > 100 << 20) is returned
    assert held.sum() == 25_000
