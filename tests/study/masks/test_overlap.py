"""Overlap compared with chance: exact moments, the mean Jaccard index, agreement of several."""

import numpy as np
import pytest
import torch
from scipy import stats

from tombola.base.errors import SpecError, TicketError
from tombola.study.masks.overlap import agreement, overlap
from tombola.ticket.mask import Mask, jaccard
from tombola.ticket.prune import random_like

SHAPES = {"a": (40, 20), "b": (10, 30), "c": (7, 11)}
PRUNED = ({"a": 500, "b": 60, "c": 77}, {"a": 200, "b": 150, "c": 0})


def drawn(pruned: dict[str, int], seed: int) -> Mask:
    """A mask with a given number of weights pruned in each matrix."""
    generator, kept = torch.Generator().manual_seed(seed), {}
    for name, shape in SHAPES.items():
        flat = torch.ones(shape[0] * shape[1], dtype=torch.bool)
        flat[torch.randperm(len(flat), generator=generator)[: pruned[name]]] = False
        kept[name] = flat.reshape(shape)
    return Mask(kept)


A, B = drawn(PRUNED[0], 1), drawn(PRUNED[1], 2)


def exact_law() -> np.ndarray:
    """The distribution of the intersection: that of each matrix, folded together."""
    law = np.ones(1)
    for name, shape in SHAPES.items():
        size, one, other = shape[0] * shape[1], PRUNED[0][name], PRUNED[1][name]
        law = np.convolve(law, stats.hypergeom.pmf(np.arange(size + 1), size, one, other))
    return law


def test_mean_and_variance_by_chance_are_exact() -> None:
    whole, _ = overlap(A, B)
    law = exact_law()
    counts = np.arange(law.size)
    mean = float(counts @ law)
    assert whole.expected == pytest.approx(mean, rel=1e-9)
    assert whole.variance == pytest.approx(float((counts - mean) ** 2 @ law), rel=1e-9)


def test_the_jaccard_by_chance_is_its_exact_mean() -> None:
    whole, _ = overlap(A, B)
    law = exact_law()
    counts, total = np.arange(law.size), sum(whole.pruned)
    possible = law > 0
    mean = float((counts[possible] / (total - counts[possible])) @ law[possible])
    assert whole.chance == pytest.approx(mean, abs=1e-6)
    first_order = whole.expected / (total - whole.expected)
    assert abs(whole.chance - mean) < 0.1 * abs(first_order - mean)


def test_chance_is_what_random_masks_do() -> None:
    whole, _ = overlap(A, B)
    generator = torch.Generator().manual_seed(3)
    pairs = [(random_like(A, generator), random_like(B, generator)) for _ in range(300)]
    drawn = [overlap(*pair)[0] for pair in pairs]
    error = np.std([each.jaccard for each in drawn]) / np.sqrt(len(drawn))
    assert np.mean([each.jaccard for each in drawn]) == pytest.approx(whole.chance, abs=4 * error)
    z = [each.z for each in drawn if each.z is not None]
    assert len(z) == len(drawn)
    assert np.mean(z) == pytest.approx(0, abs=0.25)
    assert np.std(z) == pytest.approx(1, abs=0.2)


def test_the_jaccard_is_that_of_the_masks() -> None:
    whole, each = overlap(A, B)
    assert whole.jaccard == jaccard(A, B)
    assert [one.matrix for one in each] == list(A)
    assert whole.both == sum(one.both for one in each)
    assert whole.pruned == (A.pruned, B.pruned)


def test_equal_masks_overlap_wholly_and_chance_has_no_say_where_nothing_is_pruned() -> None:
    same, _ = overlap(A, A)
    assert same.jaccard == 1.0
    assert same.z is not None
    assert same.z > 10
    full = Mask.full({name: torch.empty(shape) for name, shape in SHAPES.items()})
    none, _ = overlap(full, full)
    assert (none.jaccard, none.chance, none.z) == (1.0, 1.0, None)
    single, _ = overlap(Mask({"a": torch.tensor([False])}), Mask({"a": torch.tensor([False])}))
    assert (single.jaccard, single.chance, single.z) == (1.0, 1.0, None)


def test_masks_of_other_networks_are_refused() -> None:
    other = Mask({name: torch.ones(3, 3, dtype=torch.bool) for name in SHAPES})
    for compare in (lambda: overlap(A, other), lambda: agreement([A, B, other])):
        with pytest.raises(TicketError, match="differ first at a: the mask has"):
            compare()


def test_agreement_counts_each_weight_and_chance_is_the_mean_of_random_masks() -> None:
    masks = [A, B, drawn(PRUNED[0], 4)]
    found = agreement(masks)
    assert sum(found.weights) == A.size
    assert sum(found.expected) == pytest.approx(A.size)
    assert sum(k * count for k, count in enumerate(found.weights)) == sum(m.pruned for m in masks)
    generator = torch.Generator().manual_seed(5)
    random = [agreement([random_like(m, generator) for m in masks]).weights for _ in range(60)]
    error = np.std(random, axis=0) / np.sqrt(len(random))
    assert np.abs(np.mean(random, axis=0) - found.expected) == pytest.approx(0, abs=4 * error.max())
    with pytest.raises(SpecError, match="two masks or more, got 1"):
        agreement([A])
