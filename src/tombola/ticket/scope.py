"""Which parameters of a network may be pruned: found by structure, never by a list of names.

A scope holds weight matrices inside the repeated blocks of the backbone. Embeddings, biases,
normalisation and task heads are never in it. Names are relative to the backbone, so that a mask
found under one head fits the same backbone under any other.
"""

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from tombola.errors import ModelError
from tombola.registry import Registry

__all__ = ["SCOPES", "Scope", "backbone", "scope_parameters", "whole_model_size"]

Scope = Callable[[nn.Module], dict[str, nn.Parameter]]
"""backbone -> its prunable parameters, in model order."""

SCOPES: Registry[Scope] = Registry("scope")


@SCOPES.register("encoder")
def encoder(body: nn.Module) -> dict[str, nn.Parameter]:
    """The weight matrices of the repeated blocks."""
    blocks = tuple(f"{name}." for name, module in body.named_modules() if _repeats(module))
    return {name: weight for name, weight in _matrices(body) if name.startswith(blocks)}


@SCOPES.register("encoder+pooler")
def encoder_and_pooler(body: nn.Module) -> dict[str, nn.Parameter]:
    """The weight matrices of the repeated blocks and of the backbone's pooler.

    Raises: ModelError, if the backbone was built without a pooler.
    """
    pooler = {name: weight for name, weight in _matrices(body) if name.startswith("pooler.")}
    if not pooler:
        raise ModelError(
            f"the scope 'encoder+pooler' needs a pooler inside the backbone, and "
            f"{type(body).__name__} has none under this head. Take the scope 'encoder'."
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
        decides which weight dies: ties die by name (as a string), then position.
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
        if not parameter.is_floating_point():
            raise ModelError(
                f"{name} holds {parameter.dtype}, and only floating-point weights can be pruned. "
                f"Load the network without quantisation."
            )
    return parameters


def whole_model_size(model: nn.Module) -> int:
    """The number of all parameters of the backbone, prunable or not, shared ones counted once."""
    return sum(parameter.numel() for parameter in backbone(model).parameters())


def _repeats(module: nn.Module) -> bool:
    """Whether a module is a list of layers of one kind."""
    return isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1


def _matrices(body: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and weight of every linear layer, a shared weight once."""
    seen: set[int] = set()
    for name, module in body.named_modules():
        weight = getattr(module, "weight", None)
        if _is_linear(module) and isinstance(weight, nn.Parameter) and id(weight) not in seen:
            seen.add(id(weight))
            yield (f"{name}.weight" if name else "weight"), weight


def _is_linear(module: nn.Module) -> bool:
    """Whether a module multiplies by a matrix; GPT-2's Conv1D is a transposed Linear."""
    weight = getattr(module, "weight", None)
    conv1d = type(module).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.ndim == 2
    return conv1d or isinstance(module, nn.Linear)
