"""The loops of the C extension on tensors: dtypes, shapes and layouts are checked here.

Nothing here records gradients; `kernel.fused.blocks` does. Every function takes contiguous float32
tensors on the CPU, unless it says otherwise, and raises ValueError for any other.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "NO_GRADIENT",
    "UNTOUCHED",
    "AdamWStep",
    "Dropout",
    "Rows",
    "adamw",
    "adamw_rows",
    "available",
    "gelu",
    "gelu_backward",
    "norm",
    "norm_backward",
    "softmax",
    "softmax_backward",
    "sum_of_squares",
    "use",
    "use_best",
]

NO_GRADIENT, UNTOUCHED = -1, -2
"""Places of rows that have no gradient in this step, and that have had none so far."""
CHANCES = 1 << 32
"""Values of the number that decides whether dropout drops a value."""


def available() -> bool:
    """Whether this installation has the C extension."""
    try:
        _extension()
    except ImportError:
        return False
    return True


def _extension() -> Any:
    from tombola.kernel.fused import _fused

    return _fused


def use(instruction_set: str) -> None:
    """Take the loops for an instruction set: plain, avx2 or avx512; their bits are the same.

    Raises: ValueError, for one that this processor or the compiler of the extension lacks.
    """
    _extension().use(instruction_set)


def use_best() -> None:
    """Take the loops for the largest instruction set that there is, as at the start."""
    _extension().use_best()


@dataclass(frozen=True)
class Dropout:
    """Which values are dropped, and what the others are multiplied with."""

    key: int
    """With the place of a value it decides whether that is dropped."""
    limit: int
    """The chance that it is, times 2**32; at 0 nothing is done."""
    scale: float

    @classmethod
    def draw(cls, chance: float) -> "Dropout":
        """Dropout of this chance, whose key is drawn from the global generator.

        The chance is within 2**-33 of what is asked for, and the mean exact to float32.
        """
        if not chance:
            return cls(0, 0, 1.0)
        limit = min(round(chance * CHANCES), CHANCES - 1)
        key = int(torch.empty((), dtype=torch.int64).random_(-(2**63), None))
        return cls(key % 2**64, limit, CHANCES / (CHANCES - limit))

    @property
    def numbers(self) -> tuple[int, int, float]:
        """What the loops take."""
        return self.key, self.limit, self.scale


# --- forward and backward ----------------------------------------------------------


def gelu(x: Tensor, bias: Tensor) -> Tensor:
    """GELU of x + bias, (rows, width) and (width); x becomes the derivative there."""
    rows, width = _matrix(x)
    out = torch.empty_like(x)
    _extension().gelu(_at(bias, width), _at(x, rows, width), _at(out, rows, width), rows, width)
    return out


def gelu_backward(derivative: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x and bias."""
    rows, width = _matrix(derivative)
    dx, dbias = torch.empty_like(derivative), derivative.new_zeros(width)
    places = [_at(each, rows, width) for each in (derivative, gradient, dx)]
    _extension().gelu_backward(*places, _at(dbias, width), rows, width)
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
        dropout: of x + bias.

    Returns: (rows, width), and what each row was multiplied with, (rows).
    """
    rows, width = _matrix(x)
    out, scales = torch.empty_like(x), x.new_empty(rows)
    _extension().norm(
        _at(bias, width),
        _at(x, rows, width),
        _at(residual, rows, width),
        _at(weight, width),
        _at(shift, width),
        _at(out, rows, width),
        _at(scales, rows),
        *(rows, width, eps),
        *dropout.numbers,
    )
    return out, scales


def norm_backward(
    normal: Tensor, scales: Tensor, weight: Tensor, gradient: Tensor, dropout: Dropout
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, bias, residual, weight and shift, from what `norm` left."""
    rows, width = _matrix(normal)
    dx, dresidual = torch.empty_like(normal), torch.empty_like(normal)
    dbias, dweight, dshift = normal.new_zeros(3, width).unbind()
    _extension().norm_backward(
        _at(normal, rows, width),
        _at(scales, rows),
        _at(weight, width),
        *[_at(each, rows, width) for each in (gradient, dx, dresidual)],
        *[_at(each, width) for each in (dbias, dweight, dshift)],
        *(rows, width),
        *dropout.numbers,
    )
    return dx, dbias, dresidual, dweight, dshift


def softmax(scores: Tensor, lengths: Tensor, factor: float, dropout: Dropout) -> Tensor:
    """Dropout of the softmax of scores times a factor, over the last dimension.

    Args:
        scores: (groups, rows, width); they become the softmax before dropout.
        lengths: int64, (groups), in [0, width]: how many of the first scores of each row count.
            The others get 0.
        factor: above 0.
        dropout: of the softmax.
    """
    shape = _cube(scores)
    if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= shape[2]:
        raise ValueError(f"expected lengths in [0, {shape[2]}], got {lengths.tolist()}")
    out = torch.empty_like(scores)
    places = _at(scores, *shape), _at(out, *shape), _at(lengths, shape[0], dtype=torch.int64)
    _extension().softmax(*places, *shape, factor, *dropout.numbers)
    return out


def softmax_backward(chances: Tensor, gradient: Tensor, factor: float, dropout: Dropout) -> Tensor:
    """The gradient of the scores, from the softmax before dropout."""
    shape = _cube(chances)
    out = torch.empty_like(chances)
    places = [_at(each, *shape) for each in (chances, gradient, out)]
    _extension().softmax_backward(*places, *shape, factor, *dropout.numbers)
    return out


# --- the optimizer -----------------------------------------------------------------


@dataclass(frozen=True)
class AdamWStep:
    """The numbers of one step of AdamW."""

    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    steps: int
    """Number of this step, from 1."""
    clip: float
    """What gradients are multiplied with."""

    @property
    def numbers(self) -> tuple[float, ...]:
        """What the loop takes: powers of the betas correct for moments that began at zero."""
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
    """The gradient of a matrix of which few rows have one."""

    places: Tensor
    """int64, for each row of the matrix: its row in `values`, NO_GRADIENT or UNTOUCHED."""
    values: Tensor
    """(rows that have one, width)."""


def sum_of_squares(gradient: Tensor, kept: Tensor | None) -> float:
    """The sum of the squares of a gradient where a bool tensor of its shape is True."""
    mask = 0 if kept is None else _at(kept, *gradient.shape, dtype=torch.bool)
    return float(_extension().squares(_at(gradient, *gradient.shape), mask, gradient.numel()))


def adamw(
    weight: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    kept: Tensor | None,
    step: AdamWStep,
) -> None:
    """Move a weight and its moments, all of one shape; those that aren't kept become +0.0.

    Source: Loshchilov & Hutter 2019, Algorithm 2.
    """
    shape = weight.shape
    places = [_at(each, *shape) for each in (weight, gradient, *moments)]
    mask = 0 if kept is None else _at(kept, *shape, dtype=torch.bool)
    _extension().adamw(*places, mask, weight.numel(), *step.numbers)


def adamw_rows(
    weight: Tensor,
    rows: Rows,
    moments: tuple[Tensor, Tensor],
    kept: Tensor | None,
    step: AdamWStep,
) -> None:
    """The same for a matrix of which few rows have a gradient.

    Rows that are UNTOUCHED have moments of zero: they decay, and are not read where nothing does.
    """
    height, width = _matrix(weight)
    places, values = rows.places, rows.values
    count = len(values)
    if height and not UNTOUCHED <= int(places.min()) <= int(places.max()) < count:
        raise IndexError(f"expected places in [{UNTOUCHED}, {count}), got {places.tolist()}")
    tensors = [_at(each, height, width) for each in (weight, *moments)]
    mask = 0 if kept is None else _at(kept, height, width, dtype=torch.bool)
    zeros = weight.new_zeros(width)
    gradient = _at(values, count, width), _at(places, height, dtype=torch.int64), _at(zeros, width)
    _extension().adamw_rows(*tensors, *gradient, mask, height, width, *step.numbers)


# --- checks ------------------------------------------------------------------------


def _matrix(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() != 2:
        raise ValueError(f"expected (rows, width), got {tuple(tensor.shape)}")
    return tensor.shape[0], tensor.shape[1]


def _cube(tensor: Tensor) -> tuple[int, int, int]:
    if tensor.dim() != 3:
        raise ValueError(f"expected (groups, rows, width), got {tuple(tensor.shape)}")
    return tensor.shape[0], tensor.shape[1], tensor.shape[2]


def _at(tensor: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> int:
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
