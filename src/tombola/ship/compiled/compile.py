"""compile(): a network for inference that stores non-zero weights only."""

import inspect
import re
import warnings
from collections.abc import Iterator
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from tombola.base.errors import SpecError, TicketError, brief
from tombola.kernel.activations import is_gelu
from tombola.kernel.sparse.crossovers import pays
from tombola.kernel.sparse.linear import SparseLinear
from tombola.kernel.sparse.packing import DTYPES
from tombola.kernel.sparse.products import available
from tombola.ship.compiled.cutting import matrix
from tombola.ship.compiled.layouts import Layer, Neurons, unshared_layouts_in
from tombola.ship.compiled.saving import refuse_to_save
from tombola.ship.compiled.shrink import shrink
from tombola.ticket.extensions import FASTER
from tombola.ticket.hold.places import adapter_in
from tombola.ticket.mask import Mask

__all__ = ["compile_network", "weight_bytes"]

M = TypeVar("M", bound=nn.Module)


def compile_network(model: M, mask: Mask, *, dtype: str, tokens: int) -> M:
    """A shrunk copy of a network whose linear layers skip their zeros, where that is faster.

    Args:
        model: a network, or a wrapper of one, see `unwrapped`; it is left alone.
        mask: over weights of the network, zero where it prunes.
        dtype: how the weights of those layers are stored.
        tokens: tokens of a usual call, texts x length.

    Returns: the network in evaluation mode, without gradients; dense if the extension is missing,
        which a warning says.
    Raises: TicketError, if the mask is of another network, a pruned weight is not zero, or the
        network is not of float32 on a CPU, or has adapters; SpecError, for another dtype, or no
        tokens.
    """
    _check(dtype, tokens)
    _check_kind(model)
    network = shrink(model, mask).eval().requires_grad_(False)
    if not available():
        warnings.warn(
            "the C extension of tombola is not built, so the compiled network stays dense. Install "
            "a C compiler and reinstall tombola.",
            stacklevel=3,
        )
        return network
    neurons = [(block, at) for block, at in unshared_layouts_in(network) if isinstance(at, Neurons)]
    for parent, name, layer in [*_linear_layers(network)]:
        if _pays(layer, dtype, tokens) and not _is_read(type(parent), name):
            setattr(parent, name, SparseLinear.from_linear(_as_linear(layer), dtype=dtype))
    for block, layout in neurons:
        _join_activation(block, layout)
    refuse_to_save(network, came="a compiled one", method="compile")
    return network


def weight_bytes(network: nn.Module) -> int:
    """Bytes that the parameters and buffers of a network take, shared ones once."""
    return sum(each.nbytes for each in (*network.parameters(), *network.buffers()))


def _check(dtype: str, tokens: int) -> None:
    if dtype not in DTYPES:
        raise SpecError(
            f"dtype must be one of {', '.join(DTYPES)}, got {brief(dtype)}. Use one of them."
        )
    if not isinstance(tokens, int) or tokens < 1:
        raise SpecError(
            f"tokens must be texts x length of a usual call, got {brief(tokens)}. Pass 1 or more."
        )


def _check_kind(model: nn.Module) -> None:
    """Refuse a network that is not on the CPU in a supported dtype, or has adapters."""
    if isinstance(model, nn.Module) and (place := adapter_in(model)) is not None:
        raise TicketError(
            f"expected a network without adapters to compile, got one at {place}. Merge them "
            "first, with tombola.merge_lora(model, ticket)."
        )
    for name, weight in model.named_parameters() if isinstance(model, nn.Module) else ():
        if weight.device.type != "cpu" or weight.dtype is not torch.float32:
            raise TicketError(
                f"expected a network of float32 on the CPU to compile, got {weight.dtype} on "
                f"{weight.device} for {name}. Call `model.float().cpu()` first."
            )


def _linear_layers(network: nn.Module) -> Iterator[tuple[nn.Module, str, Layer]]:
    """Each layer that multiplies by a matrix, with the module that it is in, and its name there.

    Subclasses are left out, because others may read their weights.
    """
    for parent in network.modules():
        for name, layer in parent.named_children():
            if type(layer) in (nn.Linear, Conv1D):
                assert isinstance(layer, Layer)
                yield parent, name, layer


def _is_read(parent: Any, name: str) -> bool:
    """Whether a module computes with the weight of one of its layers, as Mamba does, instead of
    calling the layer, or might, because it has no source. Dtype and device are no computation.
    """
    source = _source(parent)
    read = rf"(?<!isinstance\(self)\.{re.escape(name)}\.weight\b(?!\.(dtype|device)\b)"
    return source is None or re.search(read, source) is not None


@cache
def _source(kind: Any) -> str | None:
    """The source of a kind of module and of those it inherits from; None if there is none."""
    kinds = [each for each in kind.__mro__[:-1] if issubclass(each, nn.Module)]
    try:
        return "".join(inspect.getsource(each) for each in kinds if each is not nn.Module)
    except (OSError, TypeError):
        return None


def _pays(layer: Layer, dtype: str, tokens: int) -> bool:
    """Whether a layer is faster without its zeros."""
    weights = matrix(layer)
    outputs, inputs = weights.shape
    sparsity = 1 - int(weights.count_nonzero()) / max(1, weights.numel())
    return pays(inputs, outputs, sparsity, tokens, work=dtype, threads=torch.get_num_threads())


def _join_activation(block: nn.Module, layout: Neurons) -> None:
    """Let the layer before GELU apply it, while its results are at hand."""
    layer, function = block.get_submodule(layout.into), attrgetter(layout.activation)(block)
    if isinstance(layer, SparseLinear) and not layout.gated and is_gelu(function):
        layer.gelu = True
        place, _, name = layout.activation.rpartition(".")
        setattr(block.get_submodule(place), name, nn.Identity())


def _as_linear(layer: Layer) -> nn.Linear:
    """A layer that computes the same with its weights as (outputs, inputs)."""
    if isinstance(layer, nn.Linear):
        return layer
    outputs, inputs = matrix(layer).shape
    with torch.device("meta"):
        linear = nn.Linear(inputs, outputs)
    linear.weight = nn.Parameter(matrix(layer).contiguous(), requires_grad=False)
    linear.bias = layer.bias
    return linear


FASTER.register("compile")(compile_network)
