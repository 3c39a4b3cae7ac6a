"""Finders side by side on one task at one sparsity: score, verdict, cost and rank."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from tombola.base.rounding import percent, unrounded
from tombola.study.leaderboard.cost import Cost, frontier
from tombola.study.leaderboard.ranks import LEVEL, Ranking, ranking
from tombola.study.statistics.interval import score_ends
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.matching import NetworkVerdict, OneRun, likeliest, matching
from tombola.study.verdicts.transfer import MeanDifference
from tombola.study.verdicts.universality import ALPHA

if TYPE_CHECKING:
    from tombola.study.verdicts.seeds_and_examples import ComponentsOf

__all__ = ["Board", "BoardEntry", "Leaderboard", "boards_of", "leaderboard"]

Entrant: TypeAlias = tuple[NetworkVerdict, list[str], Cost | None, bool]
"""A network, the other arms with its runs, its cost, and whether it is on the frontier."""


@dataclass(frozen=True, kw_only=True)
class BoardEntry:
    """The tickets of one arm on a board."""

    judged: NetworkVerdict
    """The verdict against dense."""
    also: tuple[str, ...]
    """Other arms, whose runs are all among these."""
    score: tuple[float, float, float] | None
    """Mean, lower and upper end of its 90 % interval over seeds, in points; None for fewer than two
    seeds, and while any is missing."""
    minus_one_shot: MeanDifference | None
    """None for one-shot pruning itself, and if the plan has none."""
    cost: Cost | None
    ranks: tuple[int, int]
    """Best and worst rank on the board."""
    on_frontier: bool
    """Whether no other ticket on this task at this sparsity, of any budget, costs as little and
    scores as high, by means."""

    @property
    def row(self) -> Row:
        """The first seed's row."""
        return self.judged.row

    @property
    def title(self) -> str:
        """The arm, and the others with its runs beside it."""
        also = f" (also {', '.join(self.also)})" if self.also else ""
        return f"{self.row.title}{also}"

    @property
    def mean(self) -> float | None:
        """Mean score of the seeds that are done."""
        return _mean(self.judged)

    def to_json(self) -> dict[str, Any]:
        """The numbers, with the verdict of `matching`."""
        score = self.score
        return self.judged.to_json() | {
            "title": self.title,
            "also": [*self.also],
            "finder": self.row.kind,
            "dense": [row.dense for row in self.judged.pair.first],
            "learning_rate": self.row.learning_rate,
            "score": {
                "mean": self.mean,
                "interval": None if score is None else [*score[1:]],
                "values": [row.score for row in self.judged.pair.first],
            },
            "minus_one_shot": None if self.minus_one_shot is None else asdict(self.minus_one_shot),
            "cost": None if self.cost is None else asdict(self.cost),
            "ranks": [*self.ranks],
            "on_frontier": self.on_frontier,
        }


@dataclass(frozen=True, kw_only=True)
class Board:
    """The tickets of a plan on one task at one sparsity on equal terms, the best mean first."""

    plan: str
    task: str
    sparsity: Decimal
    budget: float | None
    """The budget of each search in trainings; None if the plan sets none."""
    distill: float | None
    """Share of the loss that comes from the dense network as a teacher; None without one."""
    metric: str
    entries: tuple[BoardEntry, ...]
    ranking: Ranking

    @property
    def title(self) -> str:
        """Task, sparsity, and the terms on which the tickets were found and trained."""
        budget = "" if self.budget is None else f", budget {unrounded(self.budget)}"
        distill = "" if self.distill is None else f", distill {unrounded(self.distill)}"
        return f"{self.task} at {percent(self.sparsity)}{budget}{distill}"

    @property
    def winner(self) -> BoardEntry | None:
        """The entry that is shown to be better than every other; None if none is."""
        place = self.ranking.winner
        return None if place is None else self.entries[place]

    def to_json(self) -> dict[str, Any]:
        """The board as `tombola leaderboard --json` writes it."""
        titles = [entry.title for entry in self.entries]
        return {
            "plan": self.plan,
            "title": self.title,
            "task": self.task,
            "sparsity": f"{self.sparsity:f}",
            "budget": self.budget,
            "distill": self.distill,
            "metric": self.metric,
            "level": 1 - LEVEL,
            "winner": self.winner.title if self.winner else None,
            "shown": [
                asdict(each) | {"better": titles[each.better], "worse": titles[each.worse]}
                for each in self.ranking.shown
            ],
            "entries": [entry.to_json() for entry in self.entries],
        }


@dataclass(frozen=True)
class Leaderboard:
    """The boards of a plan."""

    boards: list[Board]

    @property
    def next_seed(self) -> NetworkVerdict | None:
        """The undecided network that one more seed would most likely settle."""
        return likeliest(entry.judged for board in self.boards for entry in board.entries)

    def to_json(self) -> dict[str, Any]:
        """The leaderboard as `tombola leaderboard --json` writes it."""
        most = self.next_seed
        return {
            "boards": [board.to_json() for board in self.boards],
            "next_seed": None
            if most is None
            else {
                "plan": most.row.plan,
                "about": most.pair.about(),
                "probability": most.next_seed,
            },
        }


def leaderboard(
    table: Iterable[Row],
    one_run: OneRun | None = None,
    components: "ComponentsOf | None" = None,
) -> Leaderboard:
    """The tickets of all finders on each task at each sparsity.

    Tickets that were found on the task itself, or by weights alone, are on the board; controls,
    transferred tickets and those trained again on fresh seeds are not.

    Args:
        table: rows of plans, done or not.
        one_run: gives the verdict on a network with a single run; without it there is none.
        components: gives the components of variance of networks with several.

    Raises: SpecError, if runs on one task have different numerics.
    """
    return boards_of(matching(table, one_run, components).judged)


def boards_of(judged: Iterable[NetworkVerdict]) -> Leaderboard:
    """The boards of networks that have been judged; see `leaderboard`."""
    places: dict[tuple[str, str, Decimal], list[NetworkVerdict]] = {}
    for each in judged:
        if each.row.is_ticket and not each.row.moved:
            place = (each.row.plan, each.row.target, each.pair.sparsity)
            places.setdefault(place, []).append(each)
    boards = [board for _, mine in sorted(places.items()) for board in _boards(mine)]
    return Leaderboard(boards)


def _boards(networks: Sequence[NetworkVerdict]) -> list[Board]:
    """The boards of one task and sparsity, the smallest budget first."""
    costs = [Cost.of(each.pair.first) for each in networks]
    best = frontier(
        [
            (cost.trainings if cost else None, _mean(each))
            for cost, each in zip(costs, networks, strict=True)
        ]
    )
    one_shots = [each for each in networks if _is_one_shot(each.row)]
    terms: dict[tuple[float, float], dict[NetworkVerdict, tuple[Cost | None, bool]]] = {}
    for each, cost, first in zip(networks, costs, best, strict=True):
        at = (each.row.budget or 0.0, each.row.distill or 0.0)
        terms.setdefault(at, {})[each] = cost, first
    return [
        _board([(each, also, *mine[each]) for each, also in _same_runs([*mine])], one_shots)
        for _, mine in sorted(terms.items())
    ]


def _same_runs(networks: Sequence[NetworkVerdict]) -> list[tuple[NetworkVerdict, list[str]]]:
    """The networks, each with the titles of those whose runs are all among its own."""
    keys = [{row.key for row in each.pair.first} for each in networks]
    found: dict[int, list[str]] = {}
    for place in sorted(range(len(networks)), key=lambda place: -len(keys[place])):
        same = next((other for other in found if keys[place] <= keys[other]), None)
        if same is None:
            found[place] = []
        else:
            found[same].append(networks[place].row.title)
    return [(networks[place], found[place]) for place in sorted(found)]


def _board(entrants: Sequence[Entrant], one_shots: Sequence[NetworkVerdict]) -> Board:
    ordered = sorted(entrants, key=lambda entrant: -_known(_mean(entrant[0])))
    ranked = ranking([each.pair.first for each, *_ in ordered])
    first = ordered[0][0]
    return Board(
        plan=first.row.plan,
        task=first.row.target,
        sparsity=first.pair.sparsity,
        budget=first.row.budget,
        distill=first.row.distill,
        metric=first.row.metric,
        ranking=ranked,
        entries=tuple(
            BoardEntry(
                judged=each,
                also=tuple(also),
                score=_score(each.pair),
                minus_one_shot=_minus(each, one_shots),
                cost=cost,
                ranks=ranks,
                on_frontier=best,
            )
            for (each, also, cost, best), ranks in zip(ordered, ranked.ranks, strict=True)
        ),
    )


def _is_one_shot(row: Row) -> bool:
    """Whether a row is of one-shot pruning as such, in whatever units."""
    return (row.kind, row.knobs, row.variant) == ("one-shot", (), ())


def _minus(each: NetworkVerdict, one_shots: Sequence[NetworkVerdict]) -> MeanDifference | None:
    """Difference from one-shot pruning of the same units, or else of single weights, on the most
    similar terms."""
    usable = [one for one in one_shots if one.row.structure in ("", each.row.structure)]
    if not usable or each in one_shots:
        return None
    mine = _terms(each)
    other = min(usable, key=lambda one: [a != b for a, b in zip(_terms(one), mine, strict=True)])
    pair = Comparison.on_shared_seeds(each.pair.first, other.pair.first)
    return MeanDifference.of(pair) if pair.first else None


def _terms(each: NetworkVerdict) -> tuple[str | float | None, ...]:
    """The terms on which a ticket was found and trained, the most important first."""
    return each.row.structure, each.row.distill, each.row.budget, each.row.learning_rate


def _score(pair: Comparison) -> tuple[float, float, float] | None:
    if not pair.complete:
        return None
    scores = [row.score for row in pair.first if row.score is not None]
    return score_ends(scores, ALPHA, resolution=pair.resolution)


def _mean(each: NetworkVerdict) -> float | None:
    scores = [row.score for row in each.pair.first if row.score is not None]
    return sum(scores) / len(scores) if scores else None


def _known(mean: float | None) -> float:
    return float("-inf") if mean is None else mean
