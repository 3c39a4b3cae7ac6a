"""What the weights under a mask start from.

An initialisation changes the weights of the scope only: embeddings, biases, normalisation and
the pooler, where it is out of scope, stay pre-trained.
"""

from typing import Protocol

import torch
from torch import Tensor

from tombola.base.errors import SpecError
from tombola.base.registry import Registry
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import blocks_of

__all__ = ["INITS", "Init"]


class Init(Protocol):
    """Pre-trained weights of the scope -> the weights to start from; nothing in place.

    What it returns may be the pre-trained tensors themselves, under other names, too.
    """

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


@INITS.register("shuffle-layers")
def shuffle_layers(weights: Tensors, generator: torch.Generator, *, std: float) -> Tensors:
    """The pre-trained matrices of each block in another block, all matrices of one together.

    One permutation of the blocks is drawn for each list of blocks; it may leave some in place, but
    never all.
    Weights outside of the blocks stay where they are.

    Raises: SpecError, with one block only, or blocks of different matrices.
    Source: the research code of Chen et al. 2020, where biases and normalisation stay.
    """
    del std
    moved = pretrained(weights, generator, std=0.0)
    lists = blocks_of(sorted(weights))
    if not lists:
        raise SpecError("shuffle-layers needs numbered blocks of weights, got none. Use shuffle.")
    for place, blocks in lists.items():
        numbers = _interchangeable(place, blocks, weights)
        for number, source in zip(numbers, _moving_order(len(numbers), generator), strict=True):
            for within, name in blocks[number].items():
                moved[name] = weights[blocks[numbers[source]][within]].detach().clone()
    return moved


@INITS.register("signs")
def signs(weights: Tensors, generator: torch.Generator, *, std: float) -> Tensors:
    """The signs of the pre-trained weights, all as large as the root mean square of their tensor.

    Source: the signed constants of Zhou et al. 2019, with the deviation of the fresh weights.
    """
    del generator, std

    def sign(weight: Tensor) -> Tensor:
        size = weight.detach().double().square().mean().sqrt()
        return (weight.detach().sign() * size).to(weight)

    return {name: sign(weights[name]) for name in sorted(weights)}


def _moving_order(count: int, generator: torch.Generator) -> list[int]:
    """A permutation of two things or more that isn't the identity."""
    while True:
        order: list[int] = torch.randperm(
            count, generator=generator, device=generator.device
        ).tolist()
        if order != sorted(order):
            return order


def _interchangeable(
    place: str, blocks: dict[int, dict[str, str]], weights: Tensors
) -> tuple[int, ...]:
    """The numbers of blocks that can change places; SpecError, if they can't."""
    numbers = tuple(blocks)
    if len(numbers) == 1:
        raise SpecError(
            f"shuffle-layers needs two blocks or more in {place!r}, got one. Use shuffle."
        )
    first = {within: weights[name].shape for within, name in blocks[numbers[0]].items()}
    for number in numbers[1:]:
        shapes = {within: weights[name].shape for within, name in blocks[number].items()}
        for within in sorted({*first, *shapes}):
            if first.get(within) != shapes.get(within):
                ours, theirs = (tuple(s.get(within, ())) or "none" for s in (first, shapes))
                raise SpecError(
                    f"shuffle-layers needs blocks of the same matrices in {place!r}, got {within} "
                    f"of shape {ours} in block {numbers[0]} and {theirs} in {number}. Use shuffle."
                )
    return numbers
