"""Which parameters of a network may be pruned: found by structure, never by a list of names.

A scope holds weight matrices inside the repeated blocks of the backbone: those of linear layers,
and parameters of two or three axes that a module multiplies by itself, such as the stacked matrices
of experts. Embeddings, biases, normalisation and task heads are never in it. Names are relative to
the backbone, so that a mask found under one head fits the same backbone under any other.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from tombola.base.errors import ModelError
from tombola.base.registry import Registry
from tombola.ticket.mask import can_fill, kind_of

__all__ = [
    "SCOPES",
    "Blocks",
    "Scope",
    "backbone",
    "beyond_linear",
    "blocks_of",
    "ends_with",
    "is_linear",
    "left_out",
    "reasons_left_out",
    "scope_parameters",
    "starred",
    "transposed",
    "whole_model_size",
]

Scope = Callable[[nn.Module], dict[str, nn.Parameter]]
"""backbone -> its prunable parameters, in model order."""

Blocks = dict[str, dict[int, dict[str, str]]]
"""List of blocks -> number of the block -> name within the block -> full name."""

SCOPES: Registry[Scope] = Registry("scope")


@SCOPES.register("encoder")
def encoder(body: nn.Module) -> dict[str, nn.Parameter]:
    """The weight matrices of the repeated blocks."""
    blocks = _blocks(body)
    return {name: weight for name, weight in _matrices(body) if name.startswith(blocks)}


@SCOPES.register("encoder+pooler")
def encoder_and_pooler(body: nn.Module) -> dict[str, nn.Parameter]:
    """The weight matrices of the repeated blocks and of the backbone's pooler.

    Raises: ModelError, if the backbone was built without a pooler.
    """
    pooler = {name: weight for name, weight in _matrices(body) if name.startswith("pooler.")}
    if not pooler:
        raise ModelError(
            "the scope 'encoder+pooler' needs a pooler inside the backbone, and "
            f"{type(body).__name__} has none under this head. Use the scope 'encoder'."
        )
    return encoder(body) | pooler


def backbone(model: nn.Module) -> nn.Module:
    """The pre-trained network under a task head; the model itself, if it has no head."""
    body = getattr(model, str(getattr(model, "base_model_prefix", "")), model)
    return body if isinstance(body, nn.Module) else model


def scope_parameters(model: nn.Module, scope: str) -> dict[str, nn.Parameter]:
    """The parameters that may be pruned: name relative to the backbone -> parameter.

    Args:
        model: a network with or without a task head.
        scope: a name in SCOPES.

    Returns: parameters in model order, a shared one once and under its first name. Order never
        decides which weight is pruned: ties are pruned by name (as a string), then position.
    Raises: SpecError, for an unknown scope; ModelError, if there is nothing to prune.
    """
    body = backbone(model)
    parameters = SCOPES[scope](body)
    if not parameters:
        raise ModelError(
            f"expected weight matrices inside repeated blocks (an nn.ModuleList of layers), "
            f"and {type(body).__name__} has none. Pass a transformer."
        )
    for name, parameter in parameters.items():
        if not can_fill(parameter):
            raise ModelError(
                f"{name} holds {kind_of(parameter)}, and only floating-point weights can be "
                f"pruned. Load the network without quantisation."
            )
    return parameters


def left_out(model: nn.Module, scope: str) -> dict[str, nn.Parameter]:
    """Parameters of the blocks with two axes or more that a scope doesn't hold, in model order.

    Position tables, convolutions, stacked biases, state-space coefficients: a reader must know of
    them, because a sparsity is a fraction of the scope.
    """
    body = backbone(model)
    inside = {id(parameter) for parameter in SCOPES[scope](body).values()}
    blocks = _blocks(body)
    return {
        name: parameter
        for name, parameter in body.named_parameters()
        if parameter.ndim > 1 and name.startswith(blocks) and id(parameter) not in inside
    }


def reasons_left_out(model: nn.Module, scope: str) -> dict[str, tuple[nn.Parameter, str]]:
    """Every parameter of the backbone that a scope doesn't hold, with the reason, in model order.

    Returns: name -> the parameter, and why: a noun phrase that says what it is.
    """
    body = backbone(model)
    inside = {id(parameter) for parameter in SCOPES[scope](body).values()}
    return {
        name: (parameter, _reason(body, name, parameter))
        for name, parameter in body.named_parameters()
        if id(parameter) not in inside
    }


def _reason(body: nn.Module, name: str, parameter: nn.Parameter) -> str:
    """Why a scope, or every scope, leaves out this parameter."""
    place, _, own_name = name.rpartition(".")
    module = body.get_submodule(place)
    if isinstance(module, nn.Embedding):
        return "embedding table"
    if sum(size > 1 for size in parameter.shape) < 2:
        return "vector, such as a bias"
    if name.startswith("pooler."):
        return "pooler"
    if _is_matrix(module, own_name, parameter):
        return "matrix outside the repeated blocks"
    wide = isinstance(module, _ConvNd) and max(module.kernel_size) > 1
    return "convolution wider than one" if wide else "no matrix, by its name or its axes"


def beyond_linear(model: nn.Module) -> tuple[str, ...]:
    """Names of the matrices in the scope `encoder` that are not the weights of linear layers."""
    body = backbone(model)
    linear = {id(module.weight) for module in body.modules() if is_linear(module)}
    return tuple(name for name, weight in encoder(body).items() if id(weight) not in linear)


def blocks_of(names: Iterable[str]) -> Blocks:
    """The blocks that weights belong to, lists and numbers in order, names in theirs.

    A block's number is the first component of a name that is all digits: what stands before it
    is the list of blocks, what stands after it the name within the block. Weights without a
    number belong to no block and are left out.
    """
    found: defaultdict[str, defaultdict[int, dict[str, str]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for name in names:
        parts = name.split(".")
        number = next((n for n, part in enumerate(parts) if part.isdecimal()), None)
        if number is not None:
            place, within = ".".join(parts[:number]), ".".join(parts[number + 1 :])
            found[place][int(parts[number])][within] = name
    return {place: dict(sorted(found[place].items())) for place in sorted(found)}


def starred(name: str) -> str:
    """A name with `*` for the number of the block, and of whatever else is numbered."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)", "*", name)


def ends_with(theirs: str, name: str) -> bool:
    """Whether a name is another's last part, or all of it."""
    return theirs == name or theirs.endswith(f".{name}")


def whole_model_size(model: nn.Module) -> int:
    """The number of all parameters of the backbone, prunable or not, shared ones counted once."""
    return sum(parameter.numel() for parameter in backbone(model).parameters())


def _blocks(body: nn.Module) -> tuple[str, ...]:
    """What the names of parameters inside repeated blocks start with."""
    return tuple(f"{name}." for name, module in body.named_modules() if _repeats(module))


def _repeats(module: nn.Module) -> bool:
    """Whether a module is a list of layers; hybrids alternate layers of two or three kinds."""
    if not isinstance(module, nn.ModuleList):
        return False
    kinds = {type(layer) for layer in module}
    return len(kinds) == 1 or all(any(layer.children()) for layer in module)


def _matrices(body: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and weight of every matrix, or stack of matrices, a shared one once."""
    seen: set[int] = set()
    for place, module in body.named_modules():
        for name, parameter in module.named_parameters(prefix=place, recurse=False):
            if id(parameter) not in seen and _is_matrix(module, name.rpartition(".")[2], parameter):
                seen.add(id(parameter))
                yield name, parameter


def _is_matrix(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether a module multiplies by this parameter of its own.

    A linear layer says so; of other parameters the axes do: a vector has one that is longer than
    one. What looks like a matrix and is none has a name that says what it is.
    """
    if is_linear(module):
        return name == "weight"
    if isinstance(module, nn.Embedding) or (name != "weight" and _NO_MATRIX.search(name)):
        return False
    if isinstance(module, _ConvNd) and max(module.kernel_size) > 1:
        return False
    axes = [size for size in parameter.shape if size > 1]
    return len(axes) > 1 and parameter.ndim <= 3


_NO_MATRIX = re.compile(
    r"bias|emb(ed|$)|token|norm|scale|(^|_)(log|pos(_[a-z]+)?)$|^D$", re.IGNORECASE
)
"""Names of stacked biases, tables, and the coefficients of state-space layers."""


def is_linear(module: nn.Module) -> bool:
    """Whether a module multiplies by a matrix; GPT-2's Conv1D is a transposed Linear."""
    weight = getattr(module, "weight", None)
    conv1d = type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.ndim == 2
    return conv1d or isinstance(module, nn.Linear)


def transposed(model: nn.Module, parameters: Mapping[str, Tensor]) -> frozenset[str]:
    """Names of the weights of linear layers that are stored as (inputs, outputs)."""
    names = {id(p): name for name, p in parameters.items()}
    found = ((names.get(id(getattr(m, "weight", None))), m) for m in model.modules())
    return frozenset(
        name
        for name, module in found
        if name is not None and is_linear(module) and not isinstance(module, nn.Linear)
    )
