"""The C extension, and checks of its arguments, which C can't make."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["at", "available", "extension", "half", "matrix", "rows_at", "use", "use_best"]


def available() -> bool:
    """Whether this installation has the C extension."""
    try:
        extension()
    except ImportError:
        return False
    return True


def extension() -> Any:
    """The module in C; raises ImportError if it was not built."""
    from tombola.kernel.fused import _fused

    return _fused


def use(instruction_set: str) -> None:
    """Use the loops for an instruction set: plain, avx2 or avx512; all give the same bits.

    Raises: ValueError, for one that this processor or the compiler of the extension lacks.
    """
    extension().use(instruction_set)


def use_best() -> None:
    """Use the loops for the largest instruction set of this processor, which is the default."""
    extension().use_best()


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
        at(rows[0], width, dtype=dtype)
    return rows.data_ptr()


def at(tensor: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> int:
    """The address of a tensor that is as a loop needs it.

    Raises: ValueError, for another dtype, shape, device or layout.
    """
    found = tuple(tensor.shape), tensor.dtype, tensor.device.type
    if found != (shape, dtype, "cpu") or not tensor.is_contiguous() or tensor.is_neg():
        raise ValueError(
            f"expected a contiguous {dtype} tensor of shape {shape} on the CPU, got {found[1]} of "
            f"shape {found[0]} and strides {tensor.stride()} on {found[2]}"
        )
    return tensor.data_ptr()
