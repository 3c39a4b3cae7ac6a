"""A linear layer of a sparse network."""

from typing import Self

from torch import Tensor, nn

from tombola.kernel.sparse.packing import DTYPES, Packed
from tombola.kernel.sparse.products import product

__all__ = ["SparseLinear"]


class SparseLinear(nn.Module):
    """y = x W.T + b with a W that is stored without its zeros, on the CPU.

    Made by `from_linear`. Sums are in float32, whatever the weights are stored as.
    """

    values: Tensor
    columns: Tensor
    order: Tensor
    counts: Tensor
    starts: Tensor
    scales: Tensor | None
    bias: Tensor | None

    def __init__(self, weight: Packed, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        for name in ("values", "columns", "order", "counts", "starts", "scales"):
            self.register_buffer(name, getattr(weight, name))
        self.register_buffer("bias", bias)

    @classmethod
    def from_linear(cls, linear: nn.Linear, *, dtype: str = "float32") -> Self:
        """A layer with the non-zero weights of another, which stays as it is.

        Args:
            linear: a layer on the CPU.
            dtype: how weights are stored: float32 as they are, bfloat16, or int8 with a
                scale for each row.

        Raises: ValueError, for another dtype or device.
        """
        if dtype not in DTYPES:
            raise ValueError(f"expected a dtype of {', '.join(DTYPES)}, got {dtype!r}")
        if linear.weight.device.type != "cpu":
            raise ValueError(f"expected a layer on the CPU, got one on {linear.weight.device}")
        bias = None if linear.bias is None else linear.bias.detach().float().clone()
        return cls(Packed.of(linear.weight, dtype), bias)

    @property
    def weight(self) -> Packed:
        """The living weights."""
        shape = self.out_features, self.in_features
        parts = (self.values, self.columns, self.order, self.counts, self.starts, self.scales)
        return Packed(shape, *parts)

    @property
    def sparsity(self) -> float:
        """The fraction of weights that are zero."""
        return 1 - self.values.numel() / max(1, self.out_features * self.in_features)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the weights and the bias take."""
        return sum(each.nbytes for each in self.buffers())

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), of the dtype of x."""
        rows = x.reshape(-1, self.in_features).float()
        y = product(rows, self.weight, self.bias)
        return y.view(*x.shape[:-1], self.out_features).to(x.dtype)

    def extra_repr(self) -> str:
        """What its repr says next to its name."""
        dtype = str(self.values.dtype).removeprefix("torch.")
        return f"{self.in_features}, {self.out_features}, {dtype}, sparsity={self.sparsity:.3f}"
