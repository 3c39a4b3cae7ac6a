"""Remove outputs or inputs of a layer, in place."""

import torch
from torch import Tensor, nn

from tombola.ship.compiled.layouts import Layer

__all__ = ["add_to_bias", "cut_inputs", "cut_outputs", "matrix"]


def matrix(layer: Layer) -> Tensor:
    """The weights of a layer as (outputs, inputs)."""
    weight: Tensor = layer.weight.detach()
    return weight if isinstance(layer, nn.Linear) else weight.T


@torch.no_grad()
def cut_outputs(layer: Layer, kept: Tensor) -> None:
    """Remove all outputs but those that are kept: a bool for each."""
    _cut(layer, kept, 0)
    if layer.bias is not None:
        layer.bias = _like(layer.bias, layer.bias[kept])


@torch.no_grad()
def cut_inputs(layer: Layer, kept: Tensor) -> None:
    """Remove all inputs but those that are kept: a bool for each."""
    _cut(layer, kept, 1)


def add_to_bias(layer: Layer, constant: Tensor) -> None:
    """Add a vector, one value for each output, in float64; a layer without a bias gets one."""
    if not constant.any():
        return
    old = torch.zeros_like(constant) if layer.bias is None else layer.bias.detach().double()
    layer.bias = _like(layer.weight, (old + constant).to(layer.weight.dtype))


def _cut(layer: Layer, kept: Tensor, axis: int) -> None:
    places = kept.nonzero().flatten()
    if isinstance(layer, nn.Linear):
        layer.weight = _like(layer.weight, layer.weight.index_select(axis, places))
        layer.out_features, layer.in_features = layer.weight.shape
    else:
        layer.weight = _like(layer.weight, layer.weight.index_select(1 - axis, places))
        layer.nx, layer.nf = layer.weight.shape


def _like(old: Tensor, values: Tensor) -> nn.Parameter:
    """A parameter with new values that is trainable if the old one is."""
    return nn.Parameter(values.detach().contiguous(), requires_grad=old.requires_grad)
