"""Statistics of the inputs of linear layers, over batches."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tombola.tasks.examples import Batch
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import transposed
from tombola.training.gradient import to_device

__all__ = ["input_products", "squared_inputs"]

Statistic = Callable[[Tensor], Tensor]
"""Inputs of a layer, (tokens, inputs) -> a tensor that is summed over batches."""


def squared_inputs(
    model: nn.Module, parameters: Mapping[str, Tensor], batches: Iterable[Batch]
) -> Tensors:
    """Name -> sum over tokens of the squared inputs of its layer, as float32 of shape (inputs,), or
    (inputs, 1) where the weight is stored as (inputs, outputs)."""
    found = _summed(model, parameters, batches, lambda rows: rows.double().square().sum(0))
    columns = transposed(model, parameters)
    return {n: x.float().unsqueeze(1) if n in columns else x.float() for n, x in found.items()}


def input_products(
    model: nn.Module, parameters: Mapping[str, Tensor], batches: Iterable[Batch]
) -> Tensors:
    """Name -> sum over tokens of the products of its layer's inputs, (inputs, inputs), float32."""
    found = _summed(model, parameters, batches, lambda rows: rows.float().T @ rows.float())
    return {name: sums.float() for name, sums in found.items()}


@torch.no_grad()
def _summed(
    model: nn.Module, parameters: Mapping[str, Tensor], batches: Iterable[Batch], of: Statistic
) -> Tensors:
    """Name -> sum over batches of a statistic of its layer's inputs without padding, in float64 on
    the CPU; layers that are never called are left out."""
    names = {id(p): name for name, p in parameters.items()}
    device = next(model.parameters()).device
    found: Tensors = {}
    tokens = torch.empty(0)

    def adding(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0]
            if rows.shape[:-1] == tokens.shape:  # a table of relative positions has no padding
                rows = rows[tokens]
            sums = of(rows.reshape(-1, rows.shape[-1])).double().cpu()
            found[name] = found[name] + sums if name in found else sums

        return hook

    with ExitStack() as hooks:
        for module in model.modules():
            name = names.get(id(getattr(module, "weight", None)))
            if name is not None:
                hooks.enter_context(module.register_forward_pre_hook(adding(name)))
        for batch in batches:
            here = to_device(batch, device)
            tokens = here["attention_mask"].bool()
            model(**here)
    return found
