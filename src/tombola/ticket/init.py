"""What the weights under a mask start from.

An initialisation changes the weights of the scope only: embeddings, biases, normalisation and
the pooler, where it is out of scope, stay pre-trained.
"""

from typing import Protocol

import torch
from torch import Tensor

from tombola.registry import Registry
from tombola.ticket.mask import Tensors

__all__ = ["INITS", "Init"]


class Init(Protocol):
    """Pre-trained weights of the scope -> the weights to start from; nothing in place."""

    def __call__(self, weights: Tensors, generator: torch.Generator, *, std: float) -> Tensors:
        """Draw in the order of names; `std` is the network's initializer_range."""


INITS: Registry[Init] = Registry("initialisation")


@INITS.register("pretrained")
def pretrained(weights: Tensors, generator: torch.Generator, *, std: float) -> Tensors:
    """theta_0: the pre-trained weights themselves, shared and not copied."""
    del generator, std
    return {name: weights[name].detach() for name in sorted(weights)}


@INITS.register("reinit")
def reinit(weights: Tensors, generator: torch.Generator, *, std: float) -> Tensors:
    """theta_0': fresh weights from a normal distribution with mean 0 and deviation `std`.

    Source: Chen et al. 2020, who draw the embeddings anew as well; here they stay pre-trained.
    """

    def draw(weight: Tensor) -> Tensor:
        fresh = torch.randn(weight.shape, generator=generator, device=generator.device)
        return (fresh * std).to(weight)

    return {name: draw(weights[name]) for name in sorted(weights)}


@INITS.register("shuffle")
def shuffle(weights: Tensors, generator: torch.Generator, *, std: float) -> Tensors:
    """theta_0'': the pre-trained values of each tensor in a random order.

    Source: Chen et al. 2020.
    """
    del std

    def permute(weight: Tensor) -> Tensor:
        order = torch.randperm(weight.numel(), generator=generator, device=generator.device)
        return weight.detach().reshape(-1)[order.to(weight.device)].reshape(weight.shape)

    return {name: permute(weights[name]) for name in sorted(weights)}
