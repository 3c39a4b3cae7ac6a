"""Evidence of a BERT of width 16, by autograd alone."""

from collections.abc import Collection, Iterator

import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from small_network import network
from tombola.finders.layout import Layout
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.scope import scope_parameters

__all__ = ["ToyEvidence"]


class ToyEvidence:
    """A network with a head, and six examples of five tokens."""

    layout = Layout(heads=2)

    def __init__(self) -> None:
        self.model: BertForSequenceClassification = network()
        self.model.eval()
        drawn = torch.Generator().manual_seed(1)
        self.ids = torch.randint(0, 40, (6, 5), generator=drawn)
        self.labels = torch.tensor([0, 1, 1, 0, 1, 0])
        self.parameters = scope_parameters(self.model, "encoder")
        self.weights = {name: p.detach().clone() for name, p in self.parameters.items()}

    def loss(self, rows: slice) -> Tensor:
        """The mean loss over some examples."""
        loss: Tensor = self.model(input_ids=self.ids[rows], labels=self.labels[rows]).loss
        return loss

    def example_gradients(self, examples: int, mask: Mask | None = None) -> Iterator[Tensors]:
        """By autograd, example after example."""
        if mask is not None:
            mask.fill(self.parameters)
        for row in range(examples):
            loss = self.loss(slice(row, row + 1))
            found = torch.autograd.grad(loss, [*self.parameters.values()])
            yield dict(zip(self.parameters, found, strict=True))
        with torch.no_grad():
            for name, weight in self.weights.items():
                self.parameters[name].copy_(weight)

    def progress(self, done: int, of: int) -> None:
        """Nobody waits."""

    def squared_gradients(
        self, examples: int, mask: Mask | None = None, *, estimate: int = 0, estimates: int = 1
    ) -> Tensors:
        """The mean of their squares."""
        found = [*self.example_gradients(examples, mask)]
        return {n: torch.stack([each[n].square() for each in found]).mean(0) for n in self.weights}

    def fisher_blocks(
        self, examples: int, size: int, weights: Tensors, *, estimate: int = 0, estimates: int = 1
    ) -> Tensors:
        """Blocks of the mean of the whole matrix of products."""
        with torch.no_grad():
            for name, weight in weights.items():
                self.parameters[name].copy_(weight)
        found = [*self.example_gradients(examples)]
        return {name: self._blocks([each[name] for each in found], size) for name in self.weights}

    def _blocks(self, gradients: list[Tensor], size: int) -> Tensor:
        flat = torch.stack([gradient.flatten() for gradient in gradients])
        pieces = [flat[:, at : at + size] for at in range(0, flat.shape[1], size)]
        blocks = torch.zeros(len(pieces), size, size)
        for block, piece in zip(blocks, pieces, strict=True):
            block[: piece.shape[1], : piece.shape[1]] = piece.T @ piece / len(gradients)
        return blocks

    def gate_gradients(self, examples: int, names: Collection[str]) -> Tensors:
        """By weights and their gradients."""
        found = [*self.example_gradients(examples)]
        return {
            n: torch.stack([(self.weights[n] * each[n]).sum(0) for each in found]) for n in names
        }
