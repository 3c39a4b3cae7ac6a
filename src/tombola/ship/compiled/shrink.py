"""shrink(): a network without its pruned heads and neurons, which computes the same."""

from copy import deepcopy
from operator import attrgetter
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from tombola.ship.compiled.cutting import (
    add_to_bias,
    cut_inputs,
    cut_outputs,
    matrix,
)
from tombola.ship.compiled.layouts import (
    Attention,
    Layer,
    Neurons,
    layouts_in,
    unshared_layouts_in,
)
from tombola.ship.compiled.saving import refuse_to_save
from tombola.ticket.extensions import FASTER
from tombola.ticket.hold.places import masked_parameters, unwrapped
from tombola.ticket.mask import Mask
from tombola.ticket.scope import backbone

__all__ = ["shrink"]

M = TypeVar("M", bound=nn.Module)


def shrink(model: M, mask: Mask) -> M:
    """A copy of a network without the heads and neurons whose weights are all zero.

    A head or a neuron whose outgoing weights are zero is dropped. One whose incoming weights are
    zero has a constant output, whose contribution is added to the bias of the next layer. At least
    one of each stays in every block, and all of them where blocks share a layer.

    Args:
        model: a network, or a wrapper of one, see `unwrapped`; it is left alone.
        mask: over weights of the network, zero where it prunes.

    Returns: the network without the wrapper. It can be saved if all blocks are alike afterwards.
    Raises: TicketError, if the mask is of another network, or a pruned weight is not zero.
    """
    mask.check_zeros(masked_parameters(model, mask))
    network = deepcopy(unwrapped(model))
    heads_cut = neurons_cut = False
    for block, layout in [*unshared_layouts_in(network)]:
        if isinstance(layout, Attention):
            heads_cut |= _cut_heads(block, layout)
        else:
            neurons_cut |= _cut_neurons(block, layout)
    in_configuration = not heads_cut and (not neurons_cut or _set_neurons(network))
    if not in_configuration:
        refuse_to_save(network, came="one whose blocks have been shrunk", method="shrink")
    return cast(M, network)


@torch.no_grad()
def _cut_heads(block: nn.Module, layout: Attention) -> bool:
    """Remove unused heads from a block; whether there were any."""
    place: Any = block.get_submodule(layout.place)
    into = [_layer(block, name) for name in layout.into]
    out = _layer(block, layout.out)
    width, size = matrix(out).shape[1], _head_size(place)
    if not size or {len(matrix(layer)) for layer in into} != {layout.parts * width}:
        return False
    constant = ~matrix(into[-1])[-width:].any(1)  # softmax sums to one: each token gets the bias
    value = torch.where(constant, _bias(into[-1])[-width:], 0.0)
    unused = _unused(constant, value, out).view(-1, size).all(1)
    unused[0] &= not unused.all()
    if not unused.any():
        return False
    kept = ~unused.repeat_interleave(size)
    _fold(out, value, kept)
    relative = [_layer(block, name) for name in layout.relative if _has(block, name)]
    for layer in (*into, *relative):
        cut_outputs(layer, kept.repeat(layout.parts))
    cut_inputs(out, kept)
    _set_heads(place, int((~unused).sum()), size)
    return True


@torch.no_grad()
def _cut_neurons(block: nn.Module, layout: Neurons) -> bool:
    """Remove unused neurons from a block; whether there were any."""
    into, out = _layer(block, layout.into), _layer(block, layout.out)
    width = matrix(out).shape[1]
    activation = attrgetter(layout.activation)(block)
    constant, bias = ~matrix(into).any(1), _bias(into)
    value = activation(bias[:width])
    if layout.gated:  # either half, if it is zero, or both
        first, second = constant[:width], constant[width:]
        nothing = (first & (value == 0)) | (second & (bias[width:] == 0))
        value = torch.where(nothing, 0.0, value * bias[width:])
        constant = nothing | (first & second)
    value = torch.where(constant, value, 0.0)
    unused = _unused(constant, value, out)
    unused[0] &= not unused.all()
    if not unused.any():
        return False
    _fold(out, value, ~unused)
    cut_outputs(into, (~unused).repeat(2 if layout.gated else 1))
    cut_inputs(out, ~unused)
    return True


def _layer(block: nn.Module, name: str) -> Layer:
    layer = block.get_submodule(name)
    assert isinstance(layer, Layer)
    return layer


def _has(block: nn.Module, name: str) -> bool:
    return any(name == each for each, _ in block.named_modules())


def _bias(layer: Layer) -> Tensor:
    """The bias in float64, zeros where a layer has none."""
    if layer.bias is None:
        return layer.weight.new_zeros(len(matrix(layer)), dtype=torch.float64)
    return layer.bias.detach().double()


def _unused(constant: Tensor, value: Tensor, out: Layer) -> Tensor:
    """Inputs of a layer that are not needed: unread, or the same for every token.

    Args:
        constant: whether each input is the same for every token.
        value: what it is if so.
        out: the layer; it needs a bias to absorb a value that is not zero.
    """
    removable = constant if out.bias is not None else constant & (value == 0)
    return removable | ~matrix(out).any(0)


def _fold(out: Layer, value: Tensor, kept: Tensor) -> None:
    """Add the contribution of the inputs that are removed to the bias of a layer."""
    add_to_bias(out, matrix(out).double() @ value.masked_fill(kept, 0.0))


def _head_size(attention: Any) -> int:
    """The width of a head; 0 if it isn't known."""
    return int(getattr(attention, "attention_head_size", getattr(attention, "head_dim", 0)))


def _set_heads(attention: nn.Module, heads: int, size: int) -> None:
    """Set the number of heads, and their total width, wherever the code of a block stores it."""
    names = dict.fromkeys(("num_attention_heads", "num_heads", "n_heads"), heads)
    widths = dict.fromkeys(("all_head_size", "split_size"), heads * size)
    for name, value in {**names, **widths}.items():
        if hasattr(attention, name):
            setattr(attention, name, value)


def _set_neurons(network: nn.Module) -> bool:
    """Set the number of neurons in the configuration; False if blocks differ in it."""
    found = [(block, each) for block, each in layouts_in(network) if isinstance(each, Neurons)]
    widths = {matrix(_layer(block, each.out)).shape[1] for block, each in found}
    if len(widths) > 1:
        return False
    setattr(backbone(network).config, found[0][1].field, widths.pop())
    return True


FASTER.register("shrink")(shrink)
