"""A sparse matrix as its living weights, in blocks of columns."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["BLOCK", "DTYPES", "GROUP", "Packed", "starts_of"]

BLOCK, GROUP = 128, 32
"""Columns of a block, whose input fits into the first cache, and rows of a group; see _sparse.c."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
"""What a weight is stored as; int8 has a scale for each row."""


@dataclass(frozen=True)
class Packed:
    """A matrix (out, in) without its zeros: block after block, in it row after row."""

    shape: tuple[int, int]
    values: Tensor
    """The living weights."""
    columns: Tensor
    """The column of each in its block, uint8."""
    counts: Tensor
    """Living weights of each row of a block, (blocks, out), uint8."""
    starts: Tensor
    """Where each group of rows of a block begins, (blocks x groups + 1), int64."""
    scales: Tensor | None = None
    """What the values of a row are multiplied with, (out), float32; int8 only."""

    @classmethod
    def of(cls, weight: Tensor, dtype: str) -> "Packed":
        """The non-zero weights of a matrix (out, in) of floats, as one of DTYPES."""
        rows, width = weight.shape
        blocks = functional.pad(weight.detach().float(), (0, -width % BLOCK))
        blocks = blocks.view(rows, -1, BLOCK).transpose(0, 1).contiguous()
        living = blocks != 0
        scales = None
        if dtype == "int8":
            scales = blocks.abs().amax((0, 2)) / 127
            blocks = (blocks / scales.where(scales > 0, 1.0).view(1, -1, 1)).round_()
        columns = living.nonzero()[:, 2].to(torch.uint8)
        counts = living.sum(2, dtype=torch.uint8)
        values = blocks[living].to(DTYPES[dtype])
        return cls((rows, width), values, columns, counts, starts_of(counts), scales)

    def dense(self) -> Tensor:
        """The matrix (out, in), float32."""
        rows, width = self.shape
        counts = self.counts.flatten().long()
        owners = torch.repeat_interleave(torch.arange(len(counts)), counts)
        blocks = torch.zeros(len(counts) * BLOCK)
        blocks[owners * BLOCK + self.columns] = self.values.float()
        whole = blocks.view(-1, rows, BLOCK).transpose(0, 1).reshape(rows, -1)[:, :width]
        return whole if self.scales is None else whole * self.scales[:, None]


def starts_of(counts: Tensor) -> Tensor:
    """Where each group of rows of a block begins, of the living weights of each row."""
    rows = counts.shape[1]
    groups = functional.pad(counts, (0, -rows % GROUP)).view(-1, GROUP).sum(1, dtype=torch.int64)
    return functional.pad(groups.cumsum(0), (1, 0))
