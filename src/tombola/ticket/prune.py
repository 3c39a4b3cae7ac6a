"""Scores and a sparsity make a mask: exact to the last tie, without sorting every score."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from math import ceil, floor, sqrt
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tombola.base.errors import SpecError
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.schedule import pruned_count

__all__ = ["NaNScoresError", "check_scores", "keep_top", "permuted_like", "random_like"]

_CHUNK = 1 << 18
"""Weights compared at once; few enough for their copies to stay in a cache."""

_SAMPLE = 1 << 17
_SIGMAS = 5

T = TypeVar("T")
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def keep_top(scores: Tensors, mask: Mask, *, sparsity: Decimal) -> Mask:
    """Keep the best-scored weights, ranked across all tensors together.

    Args:
        scores: name -> float32, float16 or bfloat16 tensor of the parameter's shape; a higher
            score is kept longer, -0.0 equals +0.0, infinities are allowed.
        mask: name -> bool tensor, same shapes; what is pruned stays pruned.
        sparsity: fraction of the whole scope that is pruned afterwards, in [0, 1).

    Returns: a new mask with exactly round(sparsity x size) pruned weights.
    Raises: SpecError, if the mask is already sparser or a score is NaN or of another type;
        TicketError, if names or shapes differ.
    Source: Chen et al. 2020, Algorithm 1; ties are pruned by name, then position.
    """
    mask.check(scores, "scores")
    scores = {name: score.detach().cpu() for name, score in scores.items()}  # once, not at each use
    check_scores(scores)
    count = pruned_count(sparsity, mask.size) - mask.pruned
    if count < 0:
        raise SpecError(
            f"expected a mask of at most {sparsity} sparsity, got {mask.sparsity:.6g}. "
            f"Masks only shrink: ask for a higher sparsity or start from a denser mask."
        )
    return _prune(scores, mask, count) if count else mask


def random_like(mask: Mask, generator: torch.Generator) -> Mask:
    """A random mask that prunes as many weights of each tensor, drawn in the order of names."""

    def scatter(kept: Tensor) -> Tensor:
        order = torch.randperm(kept.numel(), generator=generator, device=generator.device)
        return kept.reshape(-1)[order.to(kept.device)].reshape(kept.shape)

    return Mask({name: scatter(kept) for name, kept in mask.items()})


def permuted_like(mask: Mask, generator: torch.Generator) -> Mask:
    """A mask with the lines along each axis of each tensor in random order, drawn by name."""

    def move(kept: Tensor) -> Tensor:
        for axis, size in enumerate(kept.shape):
            order = torch.randperm(size, generator=generator, device=generator.device)
            kept = kept.index_select(axis, order.to(kept.device))
        return kept

    return Mask({name: move(kept) for name, kept in mask.items()})


class NaNScoresError(SpecError):
    """Scores are not numbers."""


def check_scores(scores: Tensors) -> None:
    """Refuse scores of another type, or that are not numbers.

    Raises: SpecError, with the name of the tensor; NaNScoresError, if they are not numbers.
    """
    for name, tensor in scores.items():
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise SpecError(
                f"scores are float32, float16 or bfloat16, got {tensor.dtype} for {name}. "
                f"Convert them with .float()."
            )
    largest = _each(lambda name: _flat(scores[name]).max(initial=-np.inf), scores)
    for name, score in zip(scores, largest, strict=True):
        if np.isnan(score):
            raise NaNScoresError(
                f"scores are numbers, got NaN for {name}. The training probably diverged: "
                f"try a lower learning rate."
            )


def _prune(scores: Tensors, mask: Mask, count: int) -> Mask:
    """Prune the `count` lowest-scored kept weights; count > 0."""
    threshold, pruned_ties, ties = _threshold(scores, mask, count)

    def above(name: str) -> Bools:
        kept = _flat(scores[name]) > threshold
        kept &= _flat_kept(mask[name])
        return kept

    kept = dict(zip(mask, _each(above, mask), strict=True))
    if pruned_ties < ties:
        for name, flat in kept.items():
            equal = np.flatnonzero((_flat(scores[name]) == threshold) & _flat_kept(mask[name]))
            flat[equal[pruned_ties:]] = True
            pruned_ties = max(pruned_ties - len(equal), 0)
    shapes = mask.shapes
    return Mask({name: torch.from_numpy(kept[name]).reshape(shapes[name]) for name in mask})


def _threshold(scores: Tensors, mask: Mask, rank: int) -> tuple[np.float32, int, int]:
    """The rank-th lowest score of a kept weight (rank > 0).

    A sample says between which two scores it lies, almost certainly; the kept weights below are
    counted, and those between are ordered. If the sample was wrong, all are ordered.

    Returns: the score, how many weights of exactly that score to prune, and how many there are.
    """
    below, between = _between(scores, mask, *_bracket(scores, mask, rank))
    if not below < rank <= below + between.size:
        below, between = _between(scores, mask, -np.inf, np.inf)
    place = rank - below - 1
    between.partition(place)
    threshold = between[place]
    lower = int(np.count_nonzero(between < threshold))
    return threshold, place + 1 - lower, int(np.count_nonzero(between == threshold))


def _bracket(scores: Tensors, mask: Mask, rank: int) -> tuple[float, float]:
    """Two scores that the rank-th lowest of a kept weight lies between, if a sample is fair."""
    if mask.size <= 2 * _SAMPLE:  # no sample would be much smaller
        return -np.inf, np.inf
    stride = mask.size // _SAMPLE | 1  # odd, so as to meet every column of most matrices
    drawn = np.concatenate(
        [_flat(scores[n])[::stride][_flat_kept(mask[n])[::stride]] for n in mask]
    )
    share = rank / (mask.size - mask.pruned)
    slack = _SIGMAS * sqrt(share * (1 - share) * drawn.size) + 1
    low, high = floor(share * drawn.size - slack), ceil(share * drawn.size + slack)
    if places := [place for place in (low, high) if 0 <= place < drawn.size]:
        drawn.partition(places)
    return (
        float(drawn[low]) if low >= 0 else -np.inf,
        float(drawn[high]) if high < drawn.size else np.inf,
    )


def _between(scores: Tensors, mask: Mask, low: float, high: float) -> tuple[int, Floats]:
    """How many kept weights score below `low`, and the scores from there to `high`."""

    def tensor(name: str) -> tuple[int, list[Floats]]:
        flat, kept = _flat(scores[name]), _flat_kept(mask[name])
        below, found = 0, []
        for at in range(0, flat.size, _CHUNK):
            piece, kept_piece = flat[at : at + _CHUNK], kept[at : at + _CHUNK]
            under = piece < low
            under &= kept_piece
            below += int(np.count_nonzero(under))
            inside = piece <= high
            inside &= kept_piece
            inside ^= under  # what is under is below high, too
            found.append(piece[inside])
        return below, found

    counts, pieces = zip(*_each(tensor, mask), strict=True)
    return sum(counts), np.concatenate([piece for found in pieces for piece in found])


def _each(do: Callable[[str], T], names: Iterable[str]) -> list[T]:
    """The results of a function for each tensor, in their order, computed on torch's threads."""
    every = list(names)
    threads = min(torch.get_num_threads(), len(every))
    if threads <= 1:  # of a matrix at a time, a pool would take longer to start than its work
        return [do(name) for name in every]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(do, every))


def _flat(scores: Tensor) -> Floats:
    return cast(Floats, scores.detach().to("cpu", torch.float32).reshape(-1).numpy())


def _flat_kept(kept: Tensor) -> Bools:
    return cast(Bools, kept.cpu().reshape(-1).numpy())
