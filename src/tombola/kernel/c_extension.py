"""What the optional C extensions share: loading, instruction sets and checks of arguments."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

__all__ = ["CExtension", "checked_address"]


class CExtension:
    """A module in C that an installation may lack, with loops for several instruction sets.

    Args:
        name: the name of the module.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def available(self) -> bool:
        """Whether this installation has it."""
        try:
            self.module()
        except ImportError:
            return False
        return True

    def module(self) -> Any:
        """The module; raises ImportError if it was not built."""
        return import_module(self.name)

    def use(self, instruction_set: str) -> None:
        """Use the loops for an instruction set: plain, avx2 or avx512.

        Raises: ValueError, for one that this processor or the compiler of the extension lacks.
        """
        self.module().use(instruction_set)

    def use_best(self) -> None:
        """Use the loops for the largest instruction set of this processor, which is the default."""
        self.module().use_best()


def checked_address(tensor: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> int:
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
