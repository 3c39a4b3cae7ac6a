"""The ways to run a network that `bench` compares, by name."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tombola.base.errors import ModelError
from tombola.base.registry import Registry
from tombola.kernel.sparse.products import available
from tombola.ship.onnx_file import OnnxNetwork, check_onnx, write_onnx
from tombola.ticket.ticket import Ticket

__all__ = ["RUNTIMES", "BenchedNetwork", "Runnable", "Runtime"]


@dataclass(frozen=True)
class BenchedNetwork:
    """The network that is run, and the ticket that it is under."""

    model: PreTrainedModel
    """Its pruned weights are zero; in evaluation mode."""
    ticket: Ticket
    scope: str | None
    """The scope, as in `Ticket.hold`."""
    token_types: bool
    """Whether the network takes `token_type_ids`."""

    def inputs(self, batch_size: int, length: int) -> dict[str, Tensor]:
        """Texts of random tokens without padding, always the same: name -> (batch, length)."""
        drawn = torch.Generator().manual_seed(0)
        words: int = self.model.config.get_text_config().vocab_size
        ids = torch.randint(words, (batch_size, length), generator=drawn)
        found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return found | ({"token_type_ids": torch.zeros_like(ids)} if self.token_types else {})


@dataclass(frozen=True)
class Runnable:
    """A network that is ready to be called."""

    call: Callable[..., Mapping[str, Any]]
    """Called with the inputs by name."""
    bytes: int
    """Size of its weights."""


@dataclass(frozen=True)
class Runtime:
    """A way to run a network."""

    make: Callable[[BenchedNetwork, int], Runnable]
    """(network, tokens of a call) -> the network, ready to be called.

    Raises: TombolaError, saying in one line what is missing.
    """
    uses_ticket: bool = False
    """Whether it makes use of the pruned weights' zeros."""


RUNTIMES: Registry[Runtime] = Registry("runtime")


def _dense(subject: BenchedNetwork, tokens: int) -> Runnable:
    return _module(subject.model)


def _dense_bf16(subject: BenchedNetwork, tokens: int) -> Runnable:
    return _module(deepcopy(subject.model).bfloat16())


def _torch_int8(subject: BenchedNetwork, tokens: int) -> Runnable:
    """Linear layers with int8 weights, by torch's own dynamic quantisation."""
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError:
        raise ModelError("torch has no dynamic quantisation any more. Leave it out.") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its end in torch 2.10
        quantised = quantize_dynamic(deepcopy(subject.model), {nn.Linear}, dtype=torch.qint8)
    return _module(quantised)


def _onnx(subject: BenchedNetwork, tokens: int) -> Runnable:
    """ONNX Runtime with float32 weights."""
    check_onnx()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(subject.model, subject.inputs(2, 8), file)
        return Runnable(OnnxNetwork(file), file.stat().st_size)


def _shrunk(subject: BenchedNetwork, tokens: int) -> Runnable:
    """Dense, without unused heads and neurons."""
    small = subject.ticket.shrink(subject.model, scope=subject.scope)
    if small.num_parameters() == subject.model.num_parameters():
        raise ModelError("no head and no neuron is pruned whole.")
    return _module(small)


def _sparse(dtype: str, subject: BenchedNetwork, tokens: int) -> Runnable:
    if not available():
        raise ModelError("the C extension of tombola is not built. Install a C compiler first.")
    compiled = subject.ticket.compile(
        subject.model, dtype=dtype, tokens=tokens, scope=subject.scope
    )
    return _module(compiled)


def _module(network: nn.Module) -> Runnable:
    return Runnable(network.eval(), _stored_bytes(network))


def _stored_bytes(network: nn.Module) -> int:
    """Bytes of all weights, shared ones once, including those that torch has quantised."""
    state = network.state_dict()
    return sum({each.data_ptr(): each.nbytes for each in _tensors(state.values())}.values())


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple):  # of weight and bias, where torch has quantised
            yield from _tensors(value)


for _name, _runtime in {
    "dense fp32": Runtime(_dense),
    "dense bf16": Runtime(_dense_bf16),
    "torch int8": Runtime(_torch_int8),
    "ONNX Runtime": Runtime(_onnx),
    "shrunk fp32": Runtime(_shrunk, uses_ticket=True),
    "sparse fp32": Runtime(partial(_sparse, "float32"), uses_ticket=True),
    "sparse bf16": Runtime(partial(_sparse, "bfloat16"), uses_ticket=True),
    "sparse int8": Runtime(partial(_sparse, "int8"), uses_ticket=True),
}.items():
    RUNTIMES.register(_name)(_runtime)
