"""A sparse matrix as its living weights, in blocks of columns."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["BLOCK", "DTYPES", "GROUP", "Packed"]

BLOCK, GROUP = 128, 128
"""Columns of a block, whose input fits into the first cache, and rows of a group; see _sparse.c."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
"""What a weight is stored as; int8 has a scale for each row."""


@dataclass(frozen=True)
class Packed:
    """A matrix (out, in) without its zeros: block after block, in it group after group of rows.

    Rows of a group are in the order of their living weights, the most first, so that a processor
    can tell how long the next one will be.
    """

    shape: tuple[int, int]
    values: Tensor
    """The living weights."""
    columns: Tensor
    """The column of each in its block, uint8."""
    order: Tensor
    """Which row of its group each row of a block is, (blocks, out), uint8."""
    counts: Tensor
    """Its living weights, (blocks, out), uint8."""
    starts: Tensor
    """Where each group begins, (blocks x groups + 1), int64."""
    scales: Tensor | None = None
    """What the values of a row are multiplied with, (out), float32; int8 only."""

    @classmethod
    def of(cls, weight: Tensor, dtype: str) -> "Packed":
        """The non-zero weights of a matrix (out, in) of floats, as one of DTYPES."""
        weight = weight.detach().float()
        if dtype != "int8":
            return cls._of(weight, DTYPES[dtype])
        scales = weight.abs().amax(1) / 127 if weight.numel() else weight.new_zeros(len(weight))
        whole = (weight / scales.where(scales > 0, 1.0)[:, None]).round()
        return replace(cls._of(whole, torch.int8), scales=scales)

    @classmethod
    def _of(cls, matrix: Tensor, dtype: torch.dtype) -> "Packed":
        rows, width = matrix.shape
        padded = functional.pad(matrix, (0, -width % BLOCK, 0, -rows % GROUP))
        groups = padded.view(padded.shape[0] // GROUP, GROUP, padded.shape[1] // BLOCK, BLOCK)
        groups = groups.permute(2, 0, 1, 3)
        counts = (groups != 0).sum(3, dtype=torch.uint8)
        counts, order = counts.sort(dim=2, descending=True, stable=True)
        groups = groups.gather(2, order[..., None].expand_as(groups))
        living = groups != 0
        starts = functional.pad(counts.sum(2, dtype=torch.int64).flatten().cumsum(0), (1, 0))
        order, counts = (
            each.flatten(1)[:, :rows].to(torch.uint8).contiguous() for each in (order, counts)
        )
        columns = living.nonzero()[:, 3].to(torch.uint8)
        return cls((rows, width), groups[living].to(dtype), columns, order, counts, starts)

    def dense(self) -> Tensor:
        """The matrix (out, in), float32; gradients of it reach the values."""
        whole = self._spread(self.values.float())
        return whole if self.scales is None else whole * self.scales[:, None]

    def transposed(self) -> tuple["Packed", Tensor]:
        """The pattern of the transpose, whose values are those of this one at the places."""
        whole = self._spread(torch.arange(1, len(self.values) + 1))
        pattern = Packed._of(whole.T, torch.int64)
        return pattern, pattern.values - 1

    def _spread(self, values: Tensor) -> Tensor:
        """The matrix (out, in) of other values, 0 elsewhere."""
        (rows, width), blocks = self.shape, len(self.counts)
        firsts = torch.arange(rows) // GROUP * GROUP
        owners = torch.arange(blocks)[:, None] * rows + firsts + self.order.long()
        owners = owners.flatten().repeat_interleave(self.counts.flatten().long())
        places = owners * BLOCK + self.columns
        whole = values.new_zeros(blocks * rows * BLOCK).index_put((places,), values)
        return whole.view(blocks, rows, BLOCK).transpose(0, 1).reshape(rows, -1)[:, :width]
