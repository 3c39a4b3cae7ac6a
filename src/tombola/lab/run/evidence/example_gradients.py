"""Per-example gradients, for a whole batch at once or one by one; and Hessian products."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tombola.tasks.examples import Batch
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import is_linear
from tombola.training.gradient import Arithmetic

__all__ = [
    "ExampleGradients",
    "OneExample",
    "add_hessian_product",
    "added",
    "calls_of",
    "splits_by_example",
]


class ExampleGradients(Protocol):
    """The per-example gradients of the loss, for some examples."""

    @property
    def examples(self) -> int:
        """Number of examples."""

    def add_squares(self, total: Tensors) -> None:
        """Add the squared gradient of each example to `total`: name -> tensor of its shape."""

    def add_blocks(self, total: Tensors) -> None:
        """Add the products of consecutive gradients of each example to `total`: name -> (blocks,
        size, size), the last one filled up with zeros."""

    def gates(self, name: str, weight: Tensor) -> Tensor:
        """The gradient of a gate that scales an input for all tokens, (examples, inputs).

        Args:
            name: the name of the layer's weight.
            weight: (outputs, inputs).
        """


@dataclass(frozen=True)
class OneExample:
    """The gradients of one example, straight from the backward pass."""

    gradients: Tensors
    """Name -> gradient of the weight."""
    examples: int = 1

    def add_squares(self, total: Tensors) -> None:
        """Add the squares to a total."""
        for name, gradient in self.gradients.items():
            total[name] += gradient.square().to(total[name].device)

    def add_blocks(self, total: Tensors) -> None:
        """Add the products to a total."""
        for name, gradient in self.gradients.items():
            _add_products(total[name], gradient[None])

    def gates(self, name: str, weight: Tensor) -> Tensor:
        """The gradient of a gate on each input of a layer, (1, inputs)."""
        return (weight.detach().cpu() * self.gradients[name]).sum(0, keepdim=True)


@dataclass(frozen=True)
class LinearCalls:
    """The per-example gradients of a batch, from the inputs and output gradients of linear layers.

    The gradient of an example is the sum over its tokens of the outer products of the two.
    """

    examples: int
    inputs: Tensors
    """Name -> inputs of its layer, (examples, tokens, inputs); layers without a gradient are left
    out."""
    gradients: Tensors
    """Name -> gradient of the batch's loss with respect to the outputs, (examples, tokens,
    outputs)."""
    scale: Tensor
    """Factor from it to the gradient of each example's own loss, (examples,)."""
    transposed: frozenset[str]
    """Weights that are stored as (inputs, outputs)."""

    def add_squares(self, total: Tensors) -> None:
        """Add the squares to a total, one matrix at a time so that it stays in a cache."""
        for name in self.inputs:
            left, right = self.gradients[name], self.inputs[name]
            if name in self.transposed:
                left, right = right, left
            product = torch.empty_like(total[name])
            for ours, theirs, factor in zip(left, right, self.scale.tolist(), strict=True):
                torch.mm(ours.T, theirs, out=product)
                total[name].addcmul_(product, product, value=factor * factor)

    def add_blocks(self, total: Tensors) -> None:
        """Add the products to a total, one matrix at a time."""
        for name in self.inputs:
            left, right = self.gradients[name] * self.scale[:, None, None], self.inputs[name]
            if name in self.transposed:
                left, right = right, left
            _add_products(total[name], left.transpose(1, 2) @ right)

    def gates(self, name: str, weight: Tensor) -> Tensor:
        """The gradient of a gate on each input of a layer, (examples, inputs)."""
        if name not in self.inputs:
            return torch.zeros(self.examples, weight.shape[1], device=weight.device)
        by_token = self.gradients[name] @ weight.detach() * self.inputs[name]
        return by_token.sum(1) * self.scale.unsqueeze(1)


def _add_products(total: Tensor, gradients: Tensor) -> None:
    """Add products of consecutive values, summed over examples, to (blocks, size, size)."""
    flat = gradients.flatten(1)
    filled = functional.pad(flat, (0, total.shape[0] * total.shape[1] - flat.shape[1]))
    by_block = filled.view(len(flat), *total.shape[:2]).movedim(0, 2).to(total.device)
    total.baddbmm_(by_block, by_block.transpose(1, 2))


class _Call(NamedTuple):
    inputs: Tensor
    output: Tensor
    transposed: bool


def splits_by_example(model: nn.Module, parameters: Mapping[str, Tensor], batch: Batch) -> bool:
    """Whether all of these weights belong to linear layers that process each example separately.

    It is false for matrices of other modules, and for layers whose input all examples share, such
    as a table of relative positions.
    """
    with torch.enable_grad(), _recorded(model, parameters) as met:
        loss = model(**batch).loss
    examples = len(batch["input_ids"])
    if any(len(call.inputs) != examples for calls in met.values() for call in calls):
        return False
    others = [p for name, p in parameters.items() if name not in met]
    found = torch.autograd.grad(loss, others, allow_unused=True) if others else ()
    return all(gradient is None for gradient in found)


def calls_of(arithmetic: Arithmetic, parameters: Mapping[str, Tensor], batch: Batch) -> LinearCalls:
    """The per-example gradients of a batch for which `splits_by_example` holds.

    Args:
        arithmetic: the network's arithmetic, without dropout.
        parameters: name -> weight.
        batch: a batch on the network's device.
    """
    examples, model = len(batch["input_ids"]), arithmetic.network.model
    rows = ({n: tensor[row : row + 1] for n, tensor in batch.items()} for row in range(examples))
    own = torch.tensor([arithmetic.kind.count_targets(row) for row in rows])
    if not own.sum():  # the mean of nothing is NaN
        return LinearCalls(examples, {}, {}, own, frozenset())
    with torch.enable_grad(), _recorded(model, parameters) as met, arithmetic.autocast():
        loss = model(**batch).loss
    calls = [(name, call) for name, every in met.items() for call in every]
    outputs = [call.output for _, call in calls]
    inputs: dict[str, list[Tensor]] = {}
    gradients: dict[str, list[Tensor]] = {}
    found = torch.autograd.grad(loss, outputs, allow_unused=True)
    for (name, call), gradient in zip(calls, found, strict=True):
        if gradient is not None:
            inputs.setdefault(name, []).append(_tokens(call.inputs).float())
            gradients.setdefault(name, []).append(_tokens(gradient).float())
    return LinearCalls(
        examples,
        {name: _joined(each) for name, each in inputs.items()},
        {name: _joined(each) for name, each in gradients.items()},
        (own.sum() / own.clamp_min(1)).to(loss.device),
        frozenset(name for name, call in calls if call.transposed),
    )


def _tokens(tensor: Tensor) -> Tensor:
    """(examples, tokens, width), with one token if there is a single vector for each example."""
    return tensor.reshape(len(tensor), -1, tensor.shape[-1])


def _joined(calls: list[Tensor]) -> Tensor:
    return torch.cat(calls, dim=1) if len(calls) > 1 else calls[0]


@contextmanager
def _recorded(
    model: nn.Module, parameters: Mapping[str, Tensor]
) -> Iterator[dict[str, list[_Call]]]:
    """Record inputs and outputs of the linear layers of these weights, call by call."""
    names = {id(p): name for name, p in parameters.items()}
    met: dict[str, list[_Call]] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            call = _Call(inputs[0].detach(), output, not isinstance(module, nn.Linear))
            met.setdefault(name, []).append(call)

        return hook

    with ExitStack() as hooks:
        for module in model.modules():
            name = names.get(id(getattr(module, "weight", None)))
            if name is not None and is_linear(module):
                hooks.enter_context(module.register_forward_hook(keep(name)))
        yield met


def add_hessian_product(
    model: nn.Module, batch: Batch, along: "list[tuple[nn.Parameter, Tensor]]"
) -> None:
    """Add the Hessian of a batch's mean loss, times a vector for each parameter, to gradients."""
    loss = model(**batch).loss
    first = torch.autograd.grad(loss, [p for p, _ in along], create_graph=True, allow_unused=True)
    products = [(g * v).sum() for g, (_, v) in zip(first, along, strict=True) if g is not None]
    torch.stack(products).sum().backward()


def added(parameters: Mapping[str, nn.Parameter], batches: int = 1) -> Tensors:
    """Name -> accumulated gradient divided by the number of batches; zeros if there is none."""
    return {
        name: torch.zeros_like(p, device="cpu")
        if p.grad is None
        else p.grad.detach().float().cpu() / batches
        for name, p in parameters.items()
    }
