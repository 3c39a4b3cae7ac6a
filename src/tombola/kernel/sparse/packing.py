"""A sparse matrix as its living weights, in blocks of columns."""

from dataclasses import dataclass

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
        weight, scales = weight.detach().float(), None
        if dtype == "int8":
            scales = weight.abs().amax(1) / 127
            weight = (weight / scales.where(scales > 0, 1.0)[:, None]).round()
        rows, width = weight.shape
        padded = functional.pad(weight, (0, -width % BLOCK, 0, -rows % GROUP))
        groups = padded.view(-1, GROUP, padded.shape[1] // BLOCK, BLOCK).permute(2, 0, 1, 3)
        counts, order = (
            (groups != 0).sum(3, dtype=torch.uint8).sort(dim=2, descending=True, stable=True)
        )
        groups = groups.gather(2, order[..., None].expand_as(groups))
        living = groups != 0
        starts = functional.pad(counts.sum(2, dtype=torch.int64).flatten().cumsum(0), (1, 0))
        values, columns = groups[living].to(DTYPES[dtype]), living.nonzero()[:, 3].to(torch.uint8)
        parts = (each.flatten(1)[:, :rows].to(torch.uint8).contiguous() for each in (order, counts))
        return cls((rows, width), values, columns, *parts, starts, scales)

    def dense(self) -> Tensor:
        """The matrix (out, in), float32."""
        rows, width = self.shape
        counts = self.counts.flatten().long()
        blocks = len(self.counts)
        firsts = torch.arange(rows) // GROUP * GROUP
        places = (torch.arange(blocks)[:, None] * rows + firsts + self.order.long()).flatten()
        owners = torch.repeat_interleave(places, counts)
        weights = torch.zeros(blocks * rows * BLOCK)
        weights[owners * BLOCK + self.columns] = self.values.float()
        whole = weights.view(-1, rows, BLOCK).transpose(0, 1).reshape(rows, -1)[:, :width]
        return whole if self.scales is None else whole * self.scales[:, None]
