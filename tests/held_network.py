"""A network that is held: trained, written to, and looked at."""

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from small_network import BATCH, revived
from tombola.ticket.hold.places import masked_parameters
from tombola.ticket.ticket import Ticket


def train(model: nn.Module, optimizer: Optimizer, steps: int = 3) -> None:
    for _ in range(steps):

        def loss() -> float:
            optimizer.zero_grad()
            value: Tensor = model(**BATCH).loss
            value.backward()
            return float(value.detach())

        optimizer.step(loss)


def rewrite(model: nn.Module, ticket: Ticket) -> None:
    for weight in masked_parameters(model, ticket.mask).values():
        weight.data.fill_(1.0)
    assert revived(model, ticket)


def gradient_norm_of_pruned(model: nn.Module, ticket: Ticket) -> float:
    model.zero_grad()
    model(**BATCH).loss.backward()
    return float(
        sum(
            weight.grad[~ticket.mask[name]].abs().sum()
            for name, weight in masked_parameters(model, ticket.mask).items()
            if weight.grad is not None
        )
    )


def global_hooks() -> Any:
    from torch.optim import optimizer

    return optimizer._global_optimizer_post_hooks
