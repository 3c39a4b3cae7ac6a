"""SparseGPT: layer by layer, by the error that pruning a weight causes in its layer's output."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.base.specs.prune import ERK, HEADS_AND_NEURONS, N_OF_M, ROWS_TOGETHER, UNIFORM
from tombola.finders.allocations import keep_number, matrix_quotas, quotas
from tombola.finders.data_knobs import BatchesSpec, prune_by_inputs
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.ticket.mask import Mask, Tensors

__all__ = ["SparsegptSpec", "in_order", "prune_layer", "sparsegpt"]


@dataclass(frozen=True, kw_only=True)
class SparsegptSpec(BatchesSpec):
    """SparseGPT: how much is pruned, from how many batches, and how kept weights are updated."""

    allocation: str = UNIFORM
    """Group within which weights are ranked: uniform (their matrix, all matrices equally sparse),
    or erk (their matrix, wide matrices sparser)."""

    batches: int = 4
    """Training batches whose inputs are read; four of 32 are the paper's 128 examples."""

    block_size: int = 128
    """Columns that are pruned together before the kept weights are updated; with N:M, M."""

    damping: float = 0.01
    """What is added to the diagonal of the inputs' products, as a fraction of its mean."""

    no_update: bool = False
    """Do not update kept weights to compensate for pruned ones, within a layer or after it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.allocation not in (UNIFORM, ERK):
            raise SpecError(
                "sparsegpt prunes layer by layer, uniform or erk, got the allocation "
                f"{self.allocation}. Use one of those."
            )
        if self.structure in (HEADS_AND_NEURONS, ROWS_TOGETHER):
            raise SpecError(
                f"sparsegpt prunes single weights or N:M, got the structure {self.structure}. Use "
                "another finder."
            )
        if self.block_size < 1:
            raise SpecError(f"block_size must be 1 or more, got {self.block_size}.")
        if not 0 < self.damping < float("inf"):
            raise SpecError(f"damping must be above 0, got {self.damping:g}.")

    @property
    def reads(self) -> str:
        """The batches, as the updated weights of earlier blocks change what a block sees."""
        return f"{super().reads} for each block"

    def columns(self, inputs: int) -> int:
        """How many columns of a layer are pruned together."""
        if self.no_update:
            return inputs
        pattern = N_OF_M.fullmatch(self.structure)
        return int(pattern[2]) if pattern else self.block_size


@finder(
    "sparsegpt",
    SparsegptSpec,
    plan=prune_by_inputs,
    label="SparseGPT",
    source="Frantar & Alistarh 2023",
)
def sparsegpt(evidence: Evidence, spec: SparsegptSpec, mask: "Mask") -> Pruned:
    """Prune, block by block, what layer outputs depend on least.

    The other weights of a row make up for a pruned one before the next is chosen, and later blocks
    see what earlier ones then give. Only the mask is kept: the ticket's own training begins from
    the pre-trained weights under it.
    """
    from tombola.ticket.mask import Mask

    weights, found = dict(evidence.weights), dict[str, "Tensor"]()
    kept = matrix_quotas(mask, spec)
    blocks = in_order(weights)
    for number, names in enumerate(blocks):
        evidence.progress(number, len(blocks))
        products = evidence.input_products(spec.batches, weights, names)
        for name in names:
            if name not in products:
                raise SpecError(
                    f"{name} has no inputs in this task, so that sparsegpt can't score it. Use a "
                    "scope without it."
                )
            transposed = name in evidence.layout.transposed
            matrix, base = (x.T if transposed else x for x in (weights[name], mask[name]))
            best, now = prune_layer(matrix, base, products[name], kept[name], spec)
            found[name] = (best.T if transposed else best).contiguous()
            if not spec.no_update:
                weights[name] = (now.T if transposed else now).contiguous()
    return Pruned(Mask({name: found[name] for name in mask}))


def in_order(weights: "Tensors") -> list[list[str]]:
    """The names of the weights of each block, first to last, then of those in no block."""
    from tombola.ticket.scope import blocks_of

    blocks = [[*names.values()] for own in blocks_of(weights).values() for names in own.values()]
    known = {name for names in blocks for name in names}
    rest = [name for name in weights if name not in known]
    return [*blocks, rest] if rest else blocks


def prune_layer(
    weight: "Tensor", base: "Tensor", products: "Tensor", kept: int, spec: SparsegptSpec
) -> "tuple[Tensor, Tensor]":
    """The mask of a layer, and its updated weights.

    Args:
        weight: (outputs, inputs).
        base: what is not pruned already, likewise.
        products: sum over tokens of the products of inputs, (inputs, inputs).
        kept: number of weights that are kept.
        spec: the finder's knobs.

    Source: Frantar & Alistarh 2023, Algorithm 1; in float64.
    """
    import torch

    now, factor = weight.double() * base, _factor(products, spec.damping)
    best = torch.zeros_like(base)
    inputs, size = weight.shape[1], spec.columns(weight.shape[1])
    columns = [slice(at, min(at + size, inputs)) for at in range(0, inputs, size)]
    scale = factor.square().sum(0).sqrt() if spec.no_update else factor.diag()
    sizes = [base[:, block].numel() for block in columns]
    numbers = quotas(kept, sizes, [int(base[:, block].sum()) for block in columns])
    for block, number in zip(columns, numbers, strict=True):
        costs = (now[:, block] / scale[block]).square().float()
        best[:, block] = _best(costs, base[:, block], number, spec.structure)
        if not spec.no_update:
            _compensate(now, best, factor, block)
    return best, (now * best).to(weight)


def _factor(products: "Tensor", damping: float) -> "Tensor":
    """The upper Cholesky factor of the damped products' inverse."""
    import torch

    damped = products.double()
    unmet = damped.diag() == 0
    damped = damped + torch.diag(unmet.double() + damping * damped.diag().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor


def _compensate(now: "Tensor", best: "Tensor", factor: "Tensor", block: slice) -> None:
    """Prune a block of columns, and update all later weights of each row to compensate."""
    for column in range(block.start, block.stop):
        error = (now[:, column] * ~best[:, column]) / factor[column, column]
        now[:, column:] -= error.unsqueeze(1) * factor[column, column:]


def _best(costs: "Tensor", base: "Tensor", number: int, structure: str) -> "Tensor":
    """The weights whose loss costs most: `number` of them, or N of each M of a row."""
    if not N_OF_M.fullmatch(structure):
        return keep_number(costs, base, number)
    from tombola.ticket.mask import Mask
    from tombola.ticket.structures import STRUCTURES

    n, m = map(int, structure.split(":"))
    whole = Mask({"": base})
    return STRUCTURES[structure]({"": costs}, whole, Decimal(m - n) / m, 0)[""]
