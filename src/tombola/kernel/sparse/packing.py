"""A sparse matrix, stored as its non-zero weights in blocks of columns."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["BLOCK", "DTYPES", "GROUP", "Packed"]

BLOCK, GROUP = 128, 128
"""Columns of a block, whose input fits into the L1 cache, and rows of a group; see _sparse.c."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
"""What a weight is stored as; int8 has a scale for each row."""


@dataclass(frozen=True)
class Packed:
    """A matrix (out, in) without its zeros: block after block, in it group after group of rows.

    Rows of a group are sorted by their number of non-zero weights, most first, so that the
    processor predicts where the next one ends.
    """

    shape: tuple[int, int]
    values: Tensor
    """The non-zero weights."""
    columns: Tensor
    """The column of each in its block, uint8."""
    order: Tensor
    """Which row of its group each row of a block is, (blocks, out), uint8."""
    counts: Tensor
    """How many non-zero weights each row of a block has, (blocks, out), uint8."""
    starts: Tensor
    """Where each group begins, (blocks x groups + 1), int64."""
    scales: Tensor | None = None
    """What the values of a row are multiplied with, (out), float32; int8 only."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the dense matrix, whatever the weights are stored as."""
        return torch.float32

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.values.device

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
        nonzero = groups != 0
        starts = functional.pad(counts.sum(2, dtype=torch.int64).flatten().cumsum(0), (1, 0))
        order, counts = (
            each.flatten(1)[:, :rows].to(
                torch.uint8, copy=True, memory_format=torch.contiguous_format
            )
            for each in (order, counts)
        )
        columns = nonzero.nonzero()[:, 3].to(torch.uint8)
        return cls((rows, width), groups[nonzero].to(dtype), columns, order, counts, starts)

    @classmethod
    def pattern(cls, kept: Tensor, *, transposed: bool = False) -> "Packed":
        """The pattern of a mask, with the indices of its weights as values.

        Args:
            kept: bool, a matrix.
            transposed: whether the pattern is that of the matrix's transpose.

        Returns: a matrix whose values, int32, are places in the flattened `kept`.
        """
        places = torch.arange(1, kept.numel() + 1, dtype=torch.int32).view(kept.shape) * kept
        found = cls._of(places.T if transposed else places, torch.int32)
        return replace(found, values=found.values - 1)

    def taken_from(self, weight: Tensor) -> "Packed":
        """The pattern with the weights that are at its places."""
        return replace(self, values=weight.reshape(-1).index_select(0, self.values))

    def dense(self) -> Tensor:
        """The matrix (out, in), float32."""
        (rows, width), blocks = self.shape, len(self.counts)
        firsts = torch.arange(rows) // GROUP * GROUP
        owners = torch.arange(blocks)[:, None] * rows + firsts + self.order.long()
        owners = owners.flatten().repeat_interleave(self.counts.flatten().long())
        places = owners * BLOCK + self.columns
        whole = torch.zeros(blocks * rows * BLOCK).index_put((places,), self.values.float())
        whole = whole.view(blocks, rows, BLOCK).transpose(0, 1).reshape(rows, -1)[:, :width]
        return whole if self.scales is None else whole * self.scales[:, None]
