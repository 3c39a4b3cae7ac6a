"""The loops of the C extension on tensors: dtypes, shapes and layouts are checked here.

Nothing here records gradients; `kernel.fused.blocks` does. Every function takes contiguous float32
tensors on the CPU, unless it says otherwise, and raises ValueError for any other. Activations may
all be bfloat16 instead: rows of a product, what is made of them, and their gradients.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from tombola.kernel.c_extension import checked_address
from tombola.kernel.fused.dropout import Dropout
from tombola.kernel.fused.extension import extension, half, matrix

__all__ = [
    "NO_GRADIENT",
    "UNTOUCHED",
    "AdamWStep",
    "Rows",
    "adamw",
    "adamw_kept",
    "adamw_rows",
    "gelu",
    "gelu_backward",
    "norm",
    "norm_backward",
    "sum_of_squares",
]

NO_GRADIENT, UNTOUCHED = -1, -2
"""Places of rows that have no gradient in this step, and that have had none so far."""


# --- forward and backward ----------------------------------------------------------


def gelu(x: Tensor, bias: Tensor) -> Tensor:
    """GELU of x + bias, (rows, width) and (width); x becomes the derivative there."""
    rows, width = matrix(x)
    out = torch.empty_like(x)
    places = [checked_address(each, rows, width, dtype=x.dtype) for each in (x, out)]
    extension().gelu(half(x), checked_address(bias, width), *places, rows, width)
    return out


def gelu_backward(derivative: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and bias."""
    rows, width = matrix(derivative)
    dx, dbias = torch.empty_like(derivative), torch.zeros(width)
    tensors = derivative, gradient, dx
    places = [checked_address(each, rows, width, dtype=derivative.dtype) for each in tensors]
    extension().gelu_backward(half(derivative), *places, checked_address(dbias, width), rows, width)
    return dx, dbias


def norm(
    x: Tensor,
    bias: Tensor,
    residual: Tensor,
    weight: Tensor,
    shift: Tensor,
    *,
    eps: float,
    dropout: Dropout,
) -> tuple[Tensor, Tensor]:
    """LayerNorm of residual + dropout(x + bias).

    Args:
        x: (rows, width); it becomes the normal values, before weight and shift.
        bias: (width).
        residual: (rows, width).
        weight: (width), LayerNorm's.
        shift: (width), LayerNorm's bias.
        eps: what LayerNorm adds to the variance.
        dropout: the dropout of x + bias.

    Returns: (rows, width), and what each row was multiplied with, (rows).
    """
    rows, width = matrix(x)
    out, scales, work = torch.empty_like(x), torch.empty(rows), torch.empty(width)
    extension().norm(
        half(x),
        checked_address(bias, width),
        *[checked_address(each, rows, width, dtype=x.dtype) for each in (x, residual)],
        *[checked_address(each, width) for each in (weight, shift)],
        checked_address(out, rows, width, dtype=x.dtype),
        *(checked_address(scales, rows), checked_address(work, width)),
        *(rows, width, eps),
        *dropout.numbers,
    )
    return out, scales


def norm_backward(
    normal: Tensor, scales: Tensor, weight: Tensor, gradient: Tensor, dropout: Dropout
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, bias, residual, weight and shift, from what `norm` saved."""
    rows, width = matrix(normal)
    dx, dresidual = torch.empty_like(normal), torch.empty_like(normal)
    (dbias, dweight, dshift), work = torch.zeros(3, width).unbind(), torch.empty(2, width)
    extension().norm_backward(
        half(normal),
        checked_address(normal, rows, width, dtype=normal.dtype),
        *(checked_address(scales, rows), checked_address(weight, width)),
        *[
            checked_address(each, rows, width, dtype=normal.dtype)
            for each in (gradient, dx, dresidual)
        ],
        *[checked_address(each, width) for each in (dbias, dweight, dshift)],
        *(checked_address(work, 2, width), rows, width),
        *dropout.numbers,
    )
    return dx, dbias, dresidual, dweight, dshift


# --- the optimizer -----------------------------------------------------------------


@dataclass(frozen=True)
class AdamWStep:
    """The hyperparameters of one step of AdamW."""

    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    steps: int
    """Number of this step, from 1."""
    clip: float
    """Factor on gradients, from the clip norm."""

    @property
    def numbers(self) -> tuple[float, ...]:
        """The arguments of the loop, with AdamW's bias correction by powers of the betas."""
        first, second = self.betas
        return (
            self.clip,
            1 - self.learning_rate * self.weight_decay,
            self.learning_rate / (1 - first**self.steps),
            1 / sqrt(1 - second**self.steps),
            *(1 - first, second, 1 - second, self.eps),
        )


@dataclass(frozen=True)
class Rows:
    """The gradient of a matrix, in which few rows have one."""

    places: Tensor
    """int64, for each row of the matrix: its row in `values`, NO_GRADIENT or UNTOUCHED."""
    values: Tensor
    """(rows that have one, width)."""


def sum_of_squares(gradient: Tensor, kept: Tensor | None) -> float:
    """The sum of the squares of a gradient where a bool tensor of its shape is True."""
    mask = 0 if kept is None else checked_address(kept, *gradient.shape, dtype=torch.bool)
    return float(
        extension().squares(checked_address(gradient, *gradient.shape), mask, gradient.numel())
    )


def adamw(
    weight: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    kept: Tensor | None,
    step: AdamWStep,
) -> None:
    """Update a weight and its moments, all of one shape; those that aren't kept become +0.0.

    Source: Loshchilov & Hutter 2019, Algorithm 2.
    """
    shape = weight.shape
    places = [checked_address(each, *shape) for each in (weight, gradient, *moments)]
    mask = 0 if kept is None else checked_address(kept, *shape, dtype=torch.bool)
    extension().adamw(*places, mask, weight.numel(), *step.numbers)


def adamw_kept(
    weight: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    kept: Tensor,
    step: AdamWStep,
) -> None:
    """The update of `adamw`, bitwise identical, with moments of shape (kept weights,), in their
    order."""
    shape, count = weight.shape, moments[0].numel()
    places = [checked_address(each, *shape) for each in (weight, gradient)]
    places += [checked_address(each, count) for each in moments]
    mask = checked_address(kept, *shape, dtype=torch.bool)
    extension().adamw_kept(*places, mask, weight.numel(), count, *step.numbers)


def adamw_rows(
    weight: Tensor,
    rows: Rows,
    moments: tuple[Tensor, Tensor],
    kept: Tensor | None,
    step: AdamWStep,
) -> None:
    """The update of `adamw` for a matrix in which few rows have a gradient.

    Rows that are UNTOUCHED have moments of zero: they decay, and are not read where nothing does.
    """
    height, width = matrix(weight)
    places, values = rows.places, rows.values
    count = len(values)
    if height and not UNTOUCHED <= int(places.min()) <= int(places.max()) < count:
        raise IndexError(f"expected places in [{UNTOUCHED}, {count}), got {places.tolist()}")
    tensors = [checked_address(each, height, width) for each in (weight, *moments)]
    mask = 0 if kept is None else checked_address(kept, height, width, dtype=torch.bool)
    zeros = weight.new_zeros(width)
    gradient = (
        checked_address(values, count, width),
        checked_address(places, height, dtype=torch.int64),
        checked_address(zeros, width),
    )
    extension().adamw_rows(*tensors, *gradient, mask, height, width, *step.numbers)
