"""Bytes of the optimizer's state after a step, of a network of BERT-base's size and of its tickets.

    python benchmarks/optimizer_state.py

Weights, gradients and masks are drawn at random: the state has the same size for any of them.
"""

import torch
from transformers import BertConfig, BertForSequenceClassification

from tombola.base.specs import TrainSpec
from tombola.kernel.fused.adamw import KeptAdamW, held, optimizer_of
from tombola.kernel.packed import FUSED
from tombola.ticket.mask import Mask
from tombola.ticket.scope import scope_parameters

CASES = (("encoder", 0.5), ("encoder", 0.9), ("encoder+pooler", 0.9), ("encoder", 0.95))
"""Scopes, and the sparsities of their tickets."""


def state_bytes(model: torch.nn.Module, scope: str, sparsity: float) -> int:
    """Bytes of the state after one step."""
    parameters, optimizer = scope_parameters(model, scope), optimizer_of(model, TrainSpec(), FUSED)
    assert isinstance(optimizer, KeptAdamW), "the C extension was not built"
    mask = Mask({name: torch.rand_like(w) >= sparsity for name, w in parameters.items()})
    with held(optimizer, model, parameters, mask, reader=None, ranks=1):
        optimizer.step()
        tensors = [each for state in optimizer.state.values() for each in state.values()]
        return sum(each.numel() * each.element_size() for each in tensors)


def main() -> None:
    """Print a row for each ticket, next to the dense network."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    dense = state_bytes(model, "encoder", 0.0)
    print(f"dense: {dense:,} bytes")
    for scope, sparsity in CASES:
        size = state_bytes(model, scope, sparsity)
        print(f"{scope} at {sparsity:.0%}: {size:,} bytes, {size / dense:.3f} of dense")


if __name__ == "__main__":
    main()
