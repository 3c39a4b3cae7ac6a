"""Which networks of a plan match their dense network: on each task, on which, on all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from typing import Any, TypeAlias

from tombola.base.errors import SpecError
from tombola.study.claims.published import published_difference
from tombola.study.statistics.multiplicity import holm, sign_flip
from tombola.study.table.row import Row
from tombola.study.table.table import refuse_mixed_rows
from tombola.study.verdicts.comparisons import ONE_SEED, Comparison, group
from tombola.study.verdicts.matching import (
    highest_winning,
    paired_t,
    within_one_dense_sd,
    within_one_pooled_sd,
)
from tombola.study.verdicts.spread import Spread, spreads
from tombola.study.verdicts.universal import ERROR, Everywhere, everywhere, p_matching
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED, FIXED_TICKET, SEARCH, Verdict

__all__ = ["Family", "Judged", "Matching", "OneRun", "matching"]

Places: TypeAlias = tuple[str, list[tuple[int, int]]]
"""A source, and the number of a search and the place in it of each network."""
OneRun: TypeAlias = Callable[[Row], Verdict]
"""Judges the one run that there is, over its test examples."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One network on one task at one sparsity, against dense."""

    pair: Comparison
    verdict: Verdict | None
    """None where nothing can be said, for the reason that `why` gives."""
    why: str
    p_value: float
    """One-sided, that it is within the margin: the t test over seeds."""
    adjusted_p_value: float
    """By Holm, over the tasks of its family."""
    sign_flip_p_value: float | None
    """Of the exact sign-flip test, where so few seeds can reach the corrected level."""
    within_dense_sd: bool | None
    """Descriptive: the paper's rule, read literally."""
    within_pooled_sd: bool | None
    """Descriptive: the paper's rule, as its table must mean it."""

    @property
    def row(self) -> Row:
        """The first seed's; all but seed and scores is that of every seed."""
        return self.pair.first[0]

    @property
    def reason(self) -> str | None:
        """Why nothing is decided, where a premise fails; `why` has the details."""
        if self.verdict is not None:
            return self.verdict.reason
        return self.why if self.pair.reason == ONE_SEED else self.pair.reason

    def to_json(self) -> dict[str, Any]:
        """What is said of it, and the keys of its runs."""
        plain = self.row.to_json()
        return {name: plain[name] for name in ("arm", "name", "source", "target", "sparsity")} | {
            "seeds": [each.seed for each in self.pair.first],
            "gaps": self.pair.gaps,
            "status": "undecided" if self.verdict is None else self.verdict.status,
            "reason": self.reason,
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "why": self.why,
            "p_value": self.p_value,
            "adjusted_p_value": self.adjusted_p_value,
            "sign_flip_p_value": self.sign_flip_p_value,
            "within_one_dense_sd": self.within_dense_sd,
            "within_one_pooled_sd": self.within_pooled_sd,
            "published": published_difference(self.pair),
            "runs": self.pair.keys,
        }


@dataclass(frozen=True)
class Family:
    """The networks of one arm and one kind, on all their tasks."""

    arm: str
    name: str
    source: str
    """The task that moved tickets come from; empty if each is its task's own."""
    sparsities: tuple[Decimal, ...]
    """The different ones; one, unless each task has another."""
    answer: Everywhere

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        sparsities = [f"{each:f}" for each in self.sparsities]
        return {**vars(self), "sparsities": sparsities, "answer": vars(self.answer)}


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Everything that a plan's runs say about matching."""

    judged: list[Judged]
    highest: list[tuple[Judged, Decimal | None]]
    """A search, by its first network, and the highest winning sparsity, if there is one."""
    families: list[Family]
    """By rounds: which and whether all of them match."""
    spreads: list[Spread]

    def to_json(self) -> dict[str, Any]:
        """As `tombola matching --json` writes it."""
        return {
            "networks": [each.to_json() for each in self.judged],
            "highest_winning_sparsity": [
                {name: getattr(first.row, name) for name in ("arm", "name", "source", "target")}
                | {"sparsity": None if sparsity is None else f"{sparsity:f}"}
                for first, sparsity in self.highest
            ],
            "every_task": [each.to_json() for each in self.families],
            "dense": [vars(each) for each in self.spreads],
        }


def matching(table: Iterable[Row], one_run: OneRun | None = None) -> Matching:
    """Verdicts on every pruned network of a plan.

    Args:
        table: rows of the plan, done or not.
        one_run: judges a network of which there is one run only; without it nothing is said.

    Raises: SpecError, if runs on one task have different numerics.
    """
    table = list(table)
    refuse_mixed_rows(table)
    spread = {(each.plan, each.task): each for each in spreads(table)}
    searches = _searches(table)
    judged: list[list[Judged]] = [[] for _ in searches]
    families = []
    for source, places in _families(searches):
        pairs = [searches[number][place] for number, place in places]
        for (number, _), each in zip(places, _judged(pairs, spread, one_run), strict=True):
            judged[number].append(each)
        if len(pairs) > 1:
            families.append(_family(pairs, source))
    return Matching(
        judged=[each for search in judged for each in search],
        highest=[(search[0], _highest(search)) for search in judged],
        families=families,
        spreads=list(spread.values()),
    )


def _searches(table: Iterable[Row]) -> list[list[Comparison]]:
    """Networks that differ in nothing but sparsity, lowest first, each against dense."""
    found: dict[tuple[str, ...], list[Comparison]] = {}
    pruned = (row for row in table if row.sparsity is not None and row.kind != "connectivity")
    for rows in group(pruned):
        row = rows[0]
        search = (row.plan, row.arm, row.name, row.source, row.target)
        found.setdefault(search, []).append(Comparison(rows))
    return [sorted(search, key=lambda pair: pair.sparsity) for search in found.values()]


def _families(searches: Sequence[Sequence[Comparison]]) -> list[Places]:
    """The task that the tickets of each family come from, and where its networks are.

    The last networks of an arm's searches are one family, those before the last another, and so
    on: the same sparsity on all tasks, unless the plan gives each task another. Lowest first.
    """
    firsts = [search[0].first[0] for search in searches]
    moving = {(row.plan, row.arm) for row in firsts if row.moved}
    found: dict[tuple[str, str, str, str, int], list[tuple[int, int]]] = {}
    for number, (row, search) in enumerate(zip(firsts, searches, strict=True)):
        source = row.source if (row.plan, row.arm) in moving else ""
        for place in range(len(search)):
            family = (row.plan, row.arm, row.name, source, place - len(search))
            found.setdefault(family, []).append((number, place))
    order = sorted(found, key=lambda family: family[-1])
    return [(family[-2], found[family]) for family in order]


def _judge(
    pair: Comparison, sd: float | None, one_run: OneRun | None
) -> tuple[Verdict | None, str]:
    """The verdict on what is there of a network, or why there is none."""
    for seed, what, key in pair.diverged:
        return None, f"{what}, seed {seed} ({key[:12]}), diverged"
    if not pair.seeds:
        return None, "no seed is there yet"
    if pair.gaps:  # whoever looks at every step is fooled more often than the level says
        there = f"{len(pair.seeds)} of {len(pair.first)} seeds are there"
        return None, f"{there}, and a verdict takes all of them"
    if len(pair.first) == 1:
        if one_run is None:
            return None, ONE_SEED
        try:
            verdict = one_run(pair.first[0])
        except SpecError as error:  # about this network alone; the others have their verdicts
            return None, str(error).rstrip(".")
    else:
        one_mask = len({row.mask_key for row in pair.first}) == 1
        dense, ticket = _scores(pair)
        verdict = paired_t(
            dense,
            ticket,
            margin=pair.margin,
            sparsity=pair.first[0].sparsity,
            resolution=pair.resolution,
            estimand=FIXED_TICKET if one_mask else SEARCH,
            dense_sd=sd,
        )
    if pair.unlearned:
        verdict = verdict.without_premise(DENSE_HAS_NOT_LEARNED, pair.unlearned)
    return verdict, ""


def _scores(pair: Comparison) -> tuple[list[float], list[float]]:
    """Of dense and of the network, for the seeds that have both."""
    both = [(r.dense, r.score) for r in pair.first if r.dense is not None and r.score is not None]
    return [dense for dense, _ in both], [score for _, score in both]


def _judged(
    pairs: Sequence[Comparison], spread: Mapping[tuple[str, str], Spread], one_run: OneRun | None
) -> Iterator[Judged]:
    """A family: what is said of each network, and with what correction for the others."""
    p_values = [p_matching(pair) for pair in pairs]
    for pair, p_value, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
        known = spread.get((pair.first[0].plan, pair.first[0].target))
        verdict, why = _judge(pair, known.planning_sd if known else None, one_run)
        dense, ticket = _scores(pair)
        flipped = None
        if pair.tells:
            flipped = sign_flip(pair.differences, -pair.margin, level=ERROR, tests=len(pairs))
        if flipped is not None:  # equal differences are likelier than their signs say
            flipped = max(flipped, pair.p_resolved(-pair.margin))
        yield Judged(
            pair=pair,
            verdict=verdict,
            why=why,
            p_value=p_value,
            adjusted_p_value=adjusted,
            sign_flip_p_value=flipped,
            within_dense_sd=within_one_dense_sd(dense, ticket) if pair.tells else None,
            within_pooled_sd=within_one_pooled_sd(dense, ticket) if pair.tells else None,
        )


def _highest(search: Sequence[Judged]) -> Decimal | None:
    """Of the networks below the first that is unfinished, or of which nothing can be said."""
    finished = takewhile(lambda each: each.verdict and not each.pair.gaps, search)
    winning = highest_winning([each.verdict for each in finished if each.verdict])
    return winning.sparsity if winning else None


def _family(pairs: Sequence[Comparison], source: str) -> Family:
    row = pairs[0].first[0]
    sparsities = sorted({pair.sparsity for pair in pairs})
    return Family(row.arm, row.name, source, tuple(sparsities), everywhere(pairs))
