"""The main job: find a ticket by iterative magnitude pruning, and compare it.

Every training is kept as soon as it ends; what is kept is not done again.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from tombola.lab.bench import Bench, Watch
from tombola.lab.runs import Run, Runs
from tombola.registry import Registry
from tombola.specs import EvaluateSpec, FindSpec
from tombola.study.matching import FIXED_TICKET, SEARCH, Verdict, bootstrap, paired_t, refuse_mixed
from tombola.task.models import stream
from tombola.ticket.mask import Mask, jaccard
from tombola.ticket.prune import keep_top, random_like
from tombola.ticket.schedule import path
from tombola.ticket.score import SCORERS, Evidence

__all__ = ["CONTROLS", "Search", "evaluate", "find", "overlap", "summary", "verdict"]

ZERO = Decimal(0)

Control = Callable[[Bench, Mask, Decimal, int], tuple[Mask, str]]
"""(bench, the ticket's mask, sparsity, seed) -> mask of the control, and what it starts from."""
CONTROLS: Registry[Control] = Registry("control")


@CONTROLS.register("random")
def random(bench: Bench, ticket: Mask, sparsity: Decimal, seed: int) -> tuple[Mask, str]:
    """Weights die by chance, anywhere in the scope (RP of Chen et al. 2020)."""
    generator = torch.Generator().manual_seed(stream(seed, "random mask"))
    scores = SCORERS["random"](Evidence(weights=dict(ticket), generator=generator))
    return keep_top(scores, bench.full, sparsity=sparsity), "pretrained"


@CONTROLS.register("layer-random")
def layer_random(bench: Bench, ticket: Mask, sparsity: Decimal, seed: int) -> tuple[Mask, str]:
    """Weights die by chance, as many in each matrix as in the ticket."""
    generator = torch.Generator().manual_seed(stream(seed, "layer-random mask"))
    return random_like(ticket, generator), "pretrained"


@CONTROLS.register("one-shot")
def one_shot(bench: Bench, ticket: Mask, sparsity: Decimal, seed: int) -> tuple[Mask, str]:
    """The smallest pre-trained weights die, without any training (OMP of Chen et al. 2020)."""
    return bench.one_shot(sparsity), "pretrained"


@CONTROLS.register("reinit")
def reinit(bench: Bench, ticket: Mask, sparsity: Decimal, seed: int) -> tuple[Mask, str]:
    """The ticket's mask over fresh random weights."""
    return ticket, "reinit"


@CONTROLS.register("shuffle")
def shuffle(bench: Bench, ticket: Mask, sparsity: Decimal, seed: int) -> tuple[Mask, str]:
    """The ticket's mask over the pre-trained weights of each matrix in random order."""
    return ticket, "shuffle"


@dataclass
class Search:
    """One seed's complete search."""

    seed: int
    dense: Run
    rounds: dict[Decimal, Run]
    """Sparsity -> the run of the network masked to it."""
    masks: dict[Decimal, Mask]
    controls: dict[str, Run]

    def all(self) -> list[Run]:
        """Every run of the search."""
        return [self.dense, *self.rounds.values(), *self.controls.values()]


def find(bench: Bench, spec: FindSpec, runs: Runs, watch: Watch) -> list[Search]:
    """Search once for each seed.

    Source: Chen et al. 2020, Algorithm 1, rewinding to the pre-trained weights, with the fresh
    head of the seed in every round.
    """
    sparsities = path(spec.schedule, sparsity=spec.sparsity, step=spec.step)
    each = 1 + len(sparsities) + len(spec.controls)
    watch.plan(each * len(spec.seeds), bench.steps)
    searches = []
    for seed in spec.seeds:
        search = _imp(bench, sparsities, seed, runs, watch)
        ticket = search.masks[spec.sparsity]
        for name in spec.controls:
            mask, init = CONTROLS[name](bench, ticket, spec.sparsity, seed)
            search.controls[name] = bench.train(
                runs, f"seed-{seed}/{name}", mask, seed=seed, init=init, watch=watch
            )
        searches.append(search)
    refuse_mixed(runs.numerics)
    return searches


def _imp(
    bench: Bench, sparsities: Sequence[Decimal], seed: int, runs: Runs, watch: Watch
) -> Search:
    """Train, drop the smallest weights, rewind, again."""
    mask, rounds, masks = bench.full, {}, {}
    for here, following in pairwise((ZERO, *sparsities, None)):
        assert here is not None
        name = f"seed-{seed}/imp-{here:f}" if here else f"seed-{seed}/dense"
        masks[here] = mask
        rounds[here] = bench.train(runs, name, mask, seed=seed, prune_to=following, watch=watch)
        mask = rounds[here].mask
    return Search(seed, rounds.pop(ZERO), rounds, masks, {})


def evaluate(
    bench: Bench, mask: Mask, spec: EvaluateSpec, runs: Runs, watch: Watch
) -> tuple[list[Run], list[Run]]:
    """The dense network and the masked one, for each fresh seed."""
    watch.plan(2 * len(spec.seeds), bench.steps)
    dense, masked = [], []
    for seed in spec.seeds:
        dense.append(bench.train(runs, f"seed-{seed}/dense", bench.full, seed=seed, watch=watch))
        name = f"seed-{seed}/ticket"
        masked.append(bench.train(runs, name, mask, seed=seed, init=spec.init, watch=watch))
    refuse_mixed(runs.numerics)
    return dense, masked


def verdict(
    bench: Bench, dense: Sequence[Run], ticket: Sequence[Run], sparsity: Decimal, *, fixed: bool
) -> Verdict:
    """Is it matching: over seeds if there are several, else over the examples of the one run."""
    if len(dense) > 1:
        return paired_t(
            [run.score for run in dense],
            [run.score for run in ticket],
            margin=bench.task.margin,
            sparsity=sparsity,
            estimand=FIXED_TICKET if fixed else SEARCH,
        )
    return bootstrap(
        bench.score(dense[0]),
        bench.score(ticket[0]),
        examples=len(bench.test),
        margin=bench.task.margin,
        sparsity=sparsity,
        generator=np.random.default_rng(stream(0, "bootstrap")),
    )


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """The scores of the runs in points, with mean and standard deviation (null for one run)."""
    values = [run.score for run in runs]
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"values": values, "mean": statistics.fmean(values), "std": std}


def overlap(bench: Bench, searches: Sequence[Search], sparsity: Decimal) -> list[float]:
    """Jaccard index of each seed's dead weights with those of the one-shot mask."""
    one_shot_mask = bench.one_shot(sparsity)
    return [jaccard(search.masks[sparsity], one_shot_mask) for search in searches]
