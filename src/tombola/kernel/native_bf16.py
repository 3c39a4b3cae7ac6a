"""Where bf16 is multiplied at least twice as fast as fp32: by instruction set, never by a timing.

Sources: Intel's architecture reference: VDPBF16PS (AVX512-BF16) does two products a lane where a
fused multiply-add does one, and a core with AMX-BF16 sixteen times as many. Measured with torch,
800 x 384 times 384 x 1536 on one thread: 2.1 and 7 times as fast as fp32. NVIDIA's A100 white
paper: tensor cores multiply bf16 from compute capability 8.0 on.
"""

from collections.abc import Collection

from tombola.kernel.processor import processor_flags

__all__ = ["fast_bf16", "fast_precision"]

INSTRUCTIONS = frozenset({"amx_bf16", "avx512_bf16"})
"""What Linux calls them."""

CAPABILITY = (8, 0)
"""Least compute capability of a GPU."""


def fast_precision() -> str:
    """The precision that `auto` stands for on this machine: bf16, or fp32.

    All GPUs must multiply bf16 fast, where there is one; other accelerators take fp32.
    """
    import torch

    count = torch.cuda.device_count()
    if count:
        capabilities = map(torch.cuda.get_device_capability, range(count))
        return "bf16" if min(capabilities) >= CAPABILITY else "fp32"
    if torch.accelerator.is_available():
        return "fp32"
    return "bf16" if fast_bf16(processor_flags()) else "fp32"


def fast_bf16(flags: Collection[str]) -> bool:
    """Whether a processor with these flags multiplies bf16 at least twice as fast as fp32."""
    return not INSTRUCTIONS.isdisjoint(flags)
