"""Products with a sparse matrix: the C extension on tensors, and the same in torch."""

import torch
from torch import Tensor

from tombola.kernel.sparse.packing import Packed

__all__ = ["available", "instruction_set", "product"]


def available() -> bool:
    """Whether this installation has the C extension; without it all is done densely."""
    return False


def instruction_set() -> str:
    """The instruction set that the C extension uses: avx512, avx2 or plain; none without it."""
    return "none"


def product(x: Tensor, weight: Packed, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias, (rows, in) -> (rows, out)."""
    return torch.nn.functional.linear(x, weight.dense().to(x.dtype), bias)
