"""Linear layers that keep the weights of a ticket that live, and skip the others."""

from tombola.kernel.sparse.crossovers import pays
from tombola.kernel.sparse.linear import SparseLinear
from tombola.kernel.sparse.products import available

__all__ = ["SparseLinear", "available", "pays"]
