"""Which weights live, by a tensor of zeros or by the pattern of a sparse one."""

import torch
from torch import Tensor

__all__ = ["alive", "marks"]

BLOCKED = (torch.sparse_bsr, torch.sparse_bsc)
"""Layouts that store whole blocks, dead weights within them, too."""


def alive(tensor: Tensor) -> Tensor:
    """Which weights live: what is not zero, or has a place in the pattern of a sparse tensor."""
    if tensor.layout is torch.strided:
        return tensor != 0
    counts = torch.zeros(tensor.shape, dtype=torch.int64)
    places = tuple(tensor.to_sparse_coo()._indices())
    return counts.index_put_(places, marks(tensor).long(), accumulate=True) > 0


def marks(tensor: Tensor) -> Tensor:
    """Of each stored value of a sparse tensor, whether it lives.

    All, unless they are 0 and 1, or stored in blocks.
    """
    values = tensor.to_sparse_coo()._values()
    if tensor.layout in BLOCKED or bool(((values == 0) | (values == 1)).all()):
        return torch.ne(values, 0)
    return torch.ones_like(values, dtype=torch.bool)
