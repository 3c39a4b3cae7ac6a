"""What a plan's runs say about matching: of each network, and over sparsities and tasks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

from tombola.base.errors import SpecError
from tombola.study.statistics.multiple_testing import holm, sign_flip
from tombola.study.table.grouping import by_network
from tombola.study.table.row import Row
from tombola.study.table.table import refuse_mixed_rows
from tombola.study.verdicts.comparison import MARGIN_UNKNOWN, ONE_SEED, Comparison
from tombola.study.verdicts.dense_spread import DenseSpread, dense_spreads
from tombola.study.verdicts.paired_t import (
    highest_matching,
    paired_t,
    within_one_dense_sd,
    within_one_pooled_sd,
)
from tombola.study.verdicts.published import published_difference
from tombola.study.verdicts.universality import ALPHA, Universality, p_matching, universality
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED, FIXED_TICKET, SEARCH, Verdict

if TYPE_CHECKING:
    from tombola.study.verdicts.seeds_and_examples import ComponentsOf, SeedsAndExamples

__all__ = ["Family", "Matching", "NetworkVerdict", "OneRun", "likeliest", "matching"]

OneRun: TypeAlias = Callable[[Row], Verdict]
"""Gives the verdict on a single run, over its test examples."""

WHAT = ("plan", "arm", "name", "source", "target")
"""Columns that identify a search."""


@dataclass(frozen=True, kw_only=True)
class NetworkVerdict:
    """One network on one task at one sparsity, against dense."""

    pair: Comparison
    verdict: Verdict | None
    """None where there is none, for the reason that `why` gives."""
    why: str
    p_value: float
    """One-sided P value of "within the margin": the t test over seeds."""
    adjusted_p_value: float
    """The P value by Holm, over the tasks of its family."""
    sign_flip_p_value: float | None
    """The exact sign-flip test's, where this number of seeds can reach the corrected level."""
    within_dense_sd: bool | None
    """Descriptive: the paper's rule, read literally."""
    within_pooled_sd: bool | None
    """Descriptive: the paper's rule, as its table must mean it."""
    components: "SeedsAndExamples | None" = None
    """How much it varies over seeds and over test examples, if predictions are known."""

    @property
    def row(self) -> Row:
        """The first seed's row; all seeds share everything but seed and scores."""
        return self.pair.first[0]

    @property
    def reason(self) -> str | None:
        """The premise that fails, so that nothing is decided; `why` has the details."""
        if self.verdict is not None:
            return self.verdict.reason
        return self.why if self.pair.reason == ONE_SEED else self.pair.reason

    @property
    def next_seed(self) -> float:
        """The chance that one seed more would decide; 0 where it is decided, or can't be."""
        outlook = self.verdict.outlook if self.verdict else None
        return outlook.next_seed if outlook else 0.0

    def to_json(self) -> dict[str, Any]:
        """The verdict, the P values and the keys of the runs."""
        plain = self.row.to_json()
        return {name: plain[name] for name in (*WHAT, "sparsity")} | {
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
            "seeds_and_examples": None if self.components is None else self.components.to_json(),
            "published": published_difference(self.pair),
            "runs": self.pair.keys,
        }


@dataclass(frozen=True)
class Family:
    """The networks of one arm and one kind, on all their tasks."""

    plan: str
    arm: str
    name: str
    source: str
    """The task that transferred tickets come from; empty if each is its task's own."""
    sparsities: tuple[Decimal, ...]
    """The distinct sparsities: one, unless the plan gives each task its own."""
    answer: Universality

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        sparsities = [f"{each:f}" for each in self.sparsities]
        return {**vars(self), "sparsities": sparsities, "answer": vars(self.answer)}


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Verdicts on all networks of a plan, and on their families."""

    judged: list[NetworkVerdict]
    highest: list[tuple[NetworkVerdict, Decimal | None]]
    """The first network of each search, and the highest sparsity up to which all match, if any."""
    families: list[Family]
    """Round by round: on which tasks, and whether on all of them, networks match."""
    spreads: list[DenseSpread]

    @property
    def next_seed(self) -> NetworkVerdict | None:
        """The undecided network that one seed more would most likely settle."""
        return likeliest(self.judged)

    def by_plan(self) -> dict[str, "Matching"]:
        """Name of a plan -> what is about it."""
        names = [*(each.row.plan for each in self.judged), *(each.plan for each in self.spreads)]
        return {
            name: Matching(
                judged=[each for each in self.judged if each.row.plan == name],
                highest=[each for each in self.highest if each[0].row.plan == name],
                families=[each for each in self.families if each.plan == name],
                spreads=[each for each in self.spreads if each.plan == name],
            )
            for name in dict.fromkeys(names)
        }

    def to_json(self) -> dict[str, Any]:
        """The answer as `tombola matching --json` writes it."""
        most = self.next_seed
        return {
            "networks": [each.to_json() for each in self.judged],
            "highest_winning_sparsity": [
                {name: getattr(first.row, name) for name in WHAT}
                | {"sparsity": None if sparsity is None else f"{sparsity:f}"}
                for first, sparsity in self.highest
            ],
            "next_seed": None
            if most is None
            else {name: getattr(most.row, name) for name in WHAT}
            | {"sparsity": f"{most.pair.sparsity:f}", "probability": most.next_seed},
            "every_task": [each.to_json() for each in self.families],
            "dense": [vars(each) for each in self.spreads],
        }


def likeliest(judged: Iterable[NetworkVerdict]) -> NetworkVerdict | None:
    """The undecided network that one seed more would most likely settle; None if there is none."""
    most = max(judged, key=lambda each: each.next_seed, default=None)
    return most if most and most.next_seed else None


def matching(
    table: Iterable[Row],
    one_run: OneRun | None = None,
    components: "ComponentsOf | None" = None,
) -> Matching:
    """Verdicts on every pruned network of a plan.

    Args:
        table: rows of the plan, done or not.
        one_run: gives the verdict on a network with a single run; without it there is none.
        components: gives the components of variance of networks with several.

    Raises: MixedNumericsError, if runs on one task have different numerics.
    """
    table = list(table)
    refuse_mixed_rows(table)
    spread = {(each.plan, each.task): each for each in dense_spreads(table)}
    searches = _searches(table)
    judged: list[list[NetworkVerdict]] = [[] for _ in searches]
    families = []
    for source, places in _families(searches):
        pairs = [searches[number][place] for number, place in places]
        for (number, _), each in zip(places, _judged(pairs, spread, one_run), strict=True):
            judged[number].append(each)
        if len(pairs) > 1:
            families.append(_family(pairs, source))
    return Matching(
        judged=[_with_components(each, components) for search in judged for each in search],
        highest=[(search[0], _highest(search)) for search in judged],
        families=families,
        spreads=list(spread.values()),
    )


def _with_components(judged: NetworkVerdict, components: "ComponentsOf | None") -> NetworkVerdict:
    return judged if components is None else replace(judged, components=components(judged.pair))


def _searches(table: Iterable[Row]) -> list[list[Comparison]]:
    """Networks that differ in nothing but sparsity, lowest first, each against dense."""
    found: dict[tuple[str, ...], list[Comparison]] = {}
    pruned = (row for row in table if row.sparsity is not None and row.kind != "connectivity")
    for rows in by_network(pruned):
        row = rows[0]
        search = (row.plan, row.arm, row.name, row.source, row.target)
        found.setdefault(search, []).append(Comparison(rows))
    return [sorted(search, key=lambda pair: pair.sparsity) for search in found.values()]


def _families(searches: Sequence[Sequence[Comparison]]) -> list[tuple[str, list[tuple[int, int]]]]:
    """The source of each family's tickets, and the search and place in it of each network.

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
    """The verdict on a network from its finished runs, or why there is none."""
    if why := _unfinished(pair):
        return None, why
    if len(pair.first) > 1:
        verdict = _over_seeds(pair, sd)
    elif one_run is None:
        return None, ONE_SEED
    else:
        try:
            verdict = one_run(pair.first[0])
        except SpecError as error:  # about this network alone; the others have their verdicts
            return None, str(error).rstrip(".")
    if pair.unlearned:
        verdict = verdict.without_premise(DENSE_HAS_NOT_LEARNED, pair.unlearned)
    return verdict, ""


def _unfinished(pair: Comparison) -> str:
    """What a verdict lacks: a run, or the margin; empty if it lacks nothing."""
    for seed, what, key in pair.diverged:
        return f"{what}, seed {seed} ({key[:12]}), diverged"
    if not pair.seeds:
        return "no seed is there yet"
    if pair.gaps:  # looking at every step would be wrong more often than the level says
        there = f"{len(pair.seeds)} of {len(pair.first)} seeds are there"
        return f"{there}, and a verdict takes all of them"
    return MARGIN_UNKNOWN if pair.margin is None else ""


def _over_seeds(pair: Comparison, sd: float | None) -> Verdict:
    assert pair.margin is not None
    one_mask = len({row.mask_key for row in pair.first}) == 1
    dense, ticket = _scores(pair)
    return paired_t(
        dense,
        ticket,
        margin=pair.margin,
        sparsity=pair.first[0].sparsity,
        resolution=pair.resolution,
        estimand=FIXED_TICKET if one_mask else SEARCH,
        dense_sd=sd,
    )


def _scores(pair: Comparison) -> tuple[list[float], list[float]]:
    """Scores of dense and of the network, for the seeds that have both."""
    both = [(r.dense, r.score) for r in pair.first if r.dense is not None and r.score is not None]
    return [dense for dense, _ in both], [score for _, score in both]


def _judged(
    pairs: Sequence[Comparison],
    spread: Mapping[tuple[str, str], DenseSpread],
    one_run: OneRun | None,
) -> Iterator[NetworkVerdict]:
    """The verdicts on one family, with P values corrected for its size."""
    p_values = [p_matching(pair) for pair in pairs]
    for pair, p_value, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
        known = spread.get((pair.first[0].plan, pair.first[0].target))
        verdict, why = _judge(pair, known.planning_sd if known else None, one_run)
        dense, ticket = _scores(pair)
        yield NetworkVerdict(
            pair=pair,
            verdict=verdict,
            why=why,
            p_value=p_value,
            adjusted_p_value=adjusted,
            sign_flip_p_value=_sign_flip(pair, len(pairs)),
            within_dense_sd=within_one_dense_sd(dense, ticket) if pair.testable else None,
            within_pooled_sd=within_one_pooled_sd(dense, ticket) if pair.testable else None,
        )


def _sign_flip(pair: Comparison, tests: int) -> float | None:
    if not pair.testable or pair.margin is None:
        return None
    flipped = sign_flip(pair.differences, -pair.margin, level=ALPHA, tests=tests)
    if flipped is None:
        return None
    # equal differences are likelier than their signs say
    return max(flipped, pair.p_resolved(-pair.margin))


def _highest(search: Sequence[NetworkVerdict]) -> Decimal | None:
    """The highest matching sparsity below the first network that has no verdict."""
    finished = takewhile(lambda each: each.verdict and not each.pair.gaps, search)
    highest = highest_matching([each.verdict for each in finished if each.verdict])
    return highest.sparsity if highest else None


def _family(pairs: Sequence[Comparison], source: str) -> Family:
    row = pairs[0].first[0]
    sparsities = sorted({pair.sparsity for pair in pairs})
    return Family(row.plan, row.arm, row.name, source, tuple(sparsities), universality(pairs))
