"""What linear layers get while a network reads batches."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from tombola.ticket.mask import Tensors

__all__ = ["adding_inputs"]

Add = Callable[[str, nn.Module, Tensor], None]
"""Called with the name of a weight, its layer, and the layer's inputs, (tokens, inputs)."""


@contextmanager
def adding_inputs(
    model: nn.Module, parameters: Mapping[str, Tensor], add: Add
) -> Iterator[Tensors]:
    """Call a function with what the layers of these weights get, without padding.

    Yields: a dictionary whose `tokens` say which tokens of the batch are none, (batch, length).
    """
    names = {id(p): name for name, p in parameters.items()}
    kept: Tensors = {}

    def calling(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows, tokens = inputs[0], kept["tokens"]
            if rows.shape[:-1] == tokens.shape:  # a table of relative positions has no padding
                rows = rows[tokens]
            add(name, module, rows.reshape(-1, rows.shape[-1]))

        return hook

    with ExitStack() as hooks:
        for module in model.modules():
            name = names.get(id(getattr(module, "weight", None)))
            if name is not None:
                hooks.enter_context(module.register_forward_pre_hook(calling(name)))
        yield kept
