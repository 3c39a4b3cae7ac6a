"""Verdicts on one ticket over several seeds: the paired-t interval against a margin.

A score is in percentage points (0 to 100) everywhere in this file, and so are differences,
margins, intervals and standard deviations. A seed is one complete search, paired with the dense
run of the same seed.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from math import sqrt

import numpy as np

from tombola.base.errors import SpecError
from tombola.study.statistics.interval import FloatArray, ends, paired_scores
from tombola.study.statistics.outlook import outlook
from tombola.study.statistics.power import LEAST_DENSE_RUNS, seeds_needed
from tombola.study.verdicts.verdict import SEARCH, Verdict, check_margin, status_of

__all__ = ["highest_matching", "paired_t", "within_one_dense_sd", "within_one_pooled_sd"]


def paired_t(
    dense: Sequence[float],
    ticket: Sequence[float],
    *,
    margin: float,
    sparsity: Decimal | None,
    resolution: float,
    level: float = 0.90,
    estimand: str = SEARCH,
    dense_sd: float | None = None,
) -> Verdict:
    """The primary test: the paired-t interval of ticket minus dense, against the margin.

    Args:
        dense: score of the dense run of each seed, in points; two seeds or more.
        ticket: score of the ticket of the same seeds, in the same order.
        margin: how far below dense still counts as matching, in points.
        sparsity: the sparsity of the ticket.
        resolution: what one test example is worth, in points. It bounds the spread from below:
            equal differences on few examples are no certainty.
        level: coverage of the interval.
        estimand: SEARCH, or FIXED_TICKET for one ticket on fresh seeds.
        dense_sd: standard deviation of ten or more dense runs, in points, for `seeds_needed`. By
            default that of `dense`, if these are ten or more: that of fewer is too rough.

    Returns: a verdict. Its `seeds_needed` is for 80 % power, and None where the runs already were
        that many.
    Raises: SpecError, for fewer than two seeds, unequal lengths, or a score that is not finite.
    """
    check_margin(margin, level)
    pairs = paired_scores(dense, ticket)
    seeds = pairs.shape[1]
    differences = pairs[1] - pairs[0]
    mean, low, high = ends(differences, (1 - level) / 2, resolution=resolution)
    verdict = Verdict(
        status=status_of((low, high), margin),
        sparsity=sparsity,
        difference=mean,
        interval=(low, high),
        margin=margin,
        level=level,
        estimand=estimand,
        seeds=seeds,
    )
    if verdict.status != "undecided":
        return verdict
    more = outlook(differences, margin, level, resolution)
    return replace(_planned(verdict, pairs[0], dense_sd, resolution), outlook=more)


def _planned(
    undecided: Verdict, dense: FloatArray, dense_sd: float | None, resolution: float
) -> Verdict:
    """A verdict with the seeds that it needs, if the spread of dense is known."""
    if dense_sd is None and dense.size >= LEAST_DENSE_RUNS:
        dense_sd = _sd(dense)
    if dense_sd is None or undecided.margin == 0:
        return undecided
    needed = seeds_needed(dense_sd, undecided.margin, level=undecided.level, resolution=resolution)
    return replace(undecided, seeds_needed=needed if needed > undecided.seeds else None)


def highest_matching(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The sparsest matching ticket below which every tested one is matching too.

    Fixed-sequence testing: each verdict at full level, stop at the first that is not matching or
    undecided. A ticket matching above a failure does not count.

    Args:
        verdicts: the verdicts on one task, from the lowest sparsity upward.

    Returns: None, if the first one fails.
    Raises: SpecError, if the sparsities do not rise.
    """
    sparsities = [verdict.sparsity for verdict in verdicts]
    known = [sparsity for sparsity in sparsities if sparsity is not None]
    if len(known) < len(sparsities) or any(b <= a for a, b in itertools.pairwise(known)):
        raise SpecError(
            "fixed-sequence testing takes one verdict per sparsity, lowest first, "
            f"got sparsities {', '.join(map(str, sparsities))}."
        )
    passed = list(itertools.takewhile(lambda verdict: verdict.status == "matching", verdicts))
    return passed[-1] if passed else None


def within_one_dense_sd(dense: Sequence[float], ticket: Sequence[float]) -> bool:
    """Descriptive, the paper's rule read literally: mean within one sd of dense runs.

    It rewards noisy training: with five runs, a ticket truly a full standard deviation worse
    passes about 46 % of the time.

    Args:
        dense: scores of two or more dense runs, in points.
        ticket: scores of the ticket's runs, of the same seeds.
    """
    pairs = paired_scores(dense, ticket)
    return bool(np.mean(pairs[1]) >= np.mean(pairs[0]) - _sd(pairs[0]))


def within_one_pooled_sd(dense: Sequence[float], ticket: Sequence[float]) -> bool:
    """Descriptive, the reading with which the paper's table agrees: one pooled sd.

    Args: as for within_one_dense_sd(); the pooled variance is the mean of the two.
    """
    pairs = paired_scores(dense, ticket)
    pooled = sqrt((_sd(pairs[0]) ** 2 + _sd(pairs[1]) ** 2) / 2)
    return bool(np.mean(pairs[1]) >= np.mean(pairs[0]) - pooled)


def _sd(scores: FloatArray) -> float:
    return float(np.std(scores, ddof=1))
