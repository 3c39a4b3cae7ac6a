"""The C extension, and checks of its arguments, which C can't make."""

import torch
from torch import Tensor

from tombola.kernel.c_extension import CExtension, checked_address

__all__ = ["available", "extension", "half", "matrix", "rows_at", "use", "use_best"]


_fused = CExtension("tombola.kernel.fused._fused")  # bitwise identical on every CPU
available, extension, use, use_best = (
    _fused.available,
    _fused.module,
    _fused.use,
    _fused.use_best,
)


def matrix(tensor: Tensor) -> tuple[int, int]:
    """The shape of a matrix; raises ValueError for any other tensor."""
    if tensor.dim() != 2:
        raise ValueError(f"expected (rows, width), got {tuple(tensor.shape)}")
    return tensor.shape[0], tensor.shape[1]


def half(activations: Tensor) -> bool:
    """Whether activations are bfloat16 and not float32.

    Raises: ValueError, if they are neither.
    """
    if activations.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"expected float32 or bfloat16, got {activations.dtype}")
    return activations.dtype == torch.bfloat16


def rows_at(rows: Tensor, width: int, dtype: torch.dtype) -> int:
    """The address of rows that may be parts of longer ones; raises ValueError for others."""
    if rows.dim() != 2 or rows.shape[1] != width or rows.stride(0) < width:
        raise ValueError(f"expected rows of {width}, got {tuple(rows.shape)} in {rows.stride()}")
    if len(rows):
        checked_address(rows[0], width, dtype=dtype)
    return rows.data_ptr()
