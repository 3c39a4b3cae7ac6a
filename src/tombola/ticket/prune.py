"""Scores and a sparsity -> a mask; exact to the last tie, without sorting."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tombola.errors import SpecError
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.schedule import dead_count

__all__ = ["keep_top", "random_like"]

_CHUNK = 1 << 18
"""Weights looked at together; small enough for their copies to stay in a cache."""

_HALF = 1 << 15
_ZERO = np.float32(0)

Floats = NDArray[np.float32]
Ints = NDArray[np.signedinteger[Any]]
Bools = NDArray[np.bool_]


def keep_top(scores: Tensors, mask: Mask, *, sparsity: Decimal) -> Mask:
    """Keep the best-scored living weights of all tensors together.

    Args:
        scores: name -> float32, float16 or bfloat16 tensor of the parameter's shape; higher
            lives longer, -0.0 equals +0.0, infinities are welcome.
        mask: name -> bool tensor, same shapes; what is dead stays dead.
        sparsity: fraction of the whole scope dead afterwards, in [0, 1).

    Returns: a new mask with exactly round(sparsity x size) dead entries.
    Raises: SpecError, if the mask is already sparser or a score is NaN or of another type;
        TicketError, if names or shapes differ.
    Source: Chen et al. 2020, Algorithm 1; ties die by name, then position.
    """
    mask.check(scores, "scores")
    for name in mask:
        _check(name, scores[name])
    doomed = dead_count(sparsity, mask.size) - mask.dead
    if doomed < 0:
        raise SpecError(
            f"expected a mask with at most {sparsity} dead, got {mask.sparsity:.6g}. "
            f"Masks only shrink: ask for a higher sparsity or start from a denser mask."
        )
    return _remove(scores, mask, doomed) if doomed else mask


def random_like(mask: Mask, generator: torch.Generator) -> Mask:
    """A random mask with as many dead weights in each tensor, drawn in the order of names."""

    def scatter(alive: Tensor) -> Tensor:
        order = torch.randperm(alive.numel(), generator=generator, device=generator.device)
        return alive.reshape(-1)[order.to(alive.device)].reshape(alive.shape)

    return Mask({name: scatter(alive) for name, alive in mask.items()})


def _check(name: str, scores: Tensor) -> None:
    if scores.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise SpecError(
            f"scores are float32, float16 or bfloat16, got {scores.dtype} for {name}. "
            f"Convert them with .float()."
        )
    if scores.numel() and np.isnan(_flat(scores).max()):
        raise SpecError(
            f"scores are numbers, got NaN for {name}. The training probably diverged: "
            f"try a lower learning rate."
        )


def _remove(scores: Tensors, mask: Mask, doomed: int) -> Mask:
    """Kill the `doomed` lowest living weights; doomed > 0."""
    threshold, dying, ties = _threshold(scores, mask, doomed)
    kept: Tensors = {}
    for name in mask:
        flat, alive = _flat(scores[name]), _flat_alive(mask[name])
        above = flat >= threshold if dying == 0 else flat > threshold
        above &= alive
        if 0 < dying < ties:
            equal = np.flatnonzero((flat == threshold) & alive)
            above[equal[dying:]] = True
            dying, ties = max(dying - len(equal), 0), ties - len(equal)
        kept[name] = torch.from_numpy(above).reshape(mask[name].shape)
    return Mask(kept)


def _threshold(scores: Tensors, mask: Mask, rank: int) -> tuple[Floats, int, int]:
    """The rank-th lowest score of a living weight (rank > 0), by counting twice.

    The bits of a float, read as an integer, rise with it where it is positive and fall where it
    is negative. So a histogram of the upper 16 bits says which of them the threshold has, and
    one of the lower 16 bits of those that have the same upper bits says which score it is.

    Returns: the score, how many weights of exactly that score are to die, and how many there are.
    """

    def count_upper(bits: Ints, alive: Bools) -> Ints:
        bins = (bits >> 16) + (_HALF + 1)
        bins *= alive  # the dead fall into bin 0
        return np.bincount(bins, minlength=2 * _HALF + 1)

    def count_lower(bits: Ints, alive: Bools) -> Ints:
        inside = (bits >> 16) == upper
        inside &= alive
        return np.bincount(bits[inside] & 0xFFFF, minlength=2 * _HALF)

    counts = _count(count_upper, scores, mask)[1:]
    place, rank, _ = _find(np.concatenate([counts[:_HALF][::-1], counts[_HALF:]]), rank)
    upper = place - _HALF if place >= _HALF else -1 - place
    counts = _count(count_lower, scores, mask)
    place, rank, ties = _find(counts[::-1] if upper < 0 else counts, rank)
    lower = 2 * _HALF - 1 - place if upper < 0 else place
    return np.array((upper << 16) | lower, dtype=np.int32).view(np.float32), rank, ties


def _find(counts: Ints, rank: int) -> tuple[int, int, int]:
    """The bin that holds the rank-th entry, the rank within that bin, and the bin's count."""
    totals = counts.cumsum()
    place = int(np.searchsorted(totals, rank))
    return place, rank - int(totals[place] - counts[place]), int(counts[place])


def _count(count: Callable[[Ints, Bools], Ints], scores: Tensors, mask: Mask) -> Ints:
    """The sum of `count` over pieces of all tensors: score bits (-0.0 as +0.0) and who is alive.

    Counts are integers, so the order in which threads finish can't change them.
    """

    def tensor(name: str) -> Ints:
        flat, alive = _flat(scores[name]), _flat_alive(mask[name])
        starts = range(0, max(flat.size, 1), _CHUNK)
        pieces = ((flat[at : at + _CHUNK] + _ZERO, alive[at : at + _CHUNK]) for at in starts)
        return cast(Ints, sum(count(piece.view(np.int32), living) for piece, living in pieces))

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return cast(Ints, sum(pool.map(tensor, mask)))


def _flat(scores: Tensor) -> Floats:
    return cast(Floats, scores.detach().to("cpu", torch.float32).reshape(-1).numpy())


def _flat_alive(alive: Tensor) -> Bools:
    return cast(Bools, alive.cpu().reshape(-1).numpy())
