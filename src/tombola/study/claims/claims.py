"""The claims of the paper, each decided by its rule from the rows of a plan.

A claim is reproduced if each of its parts is shown, contradicted if the opposite of one is shown,
and undecided otherwise: for want of runs, or because they don't tell. Either error has at most the
chance that the rules name, however many comparisons a claim takes. A comparison decides nothing
before all its seeds are there, so that looking early costs nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from tombola.base.rounding import percent
from tombola.study.claims.published import published_difference
from tombola.study.claims.rules import QUANTIFIERS, Part, Rule, Rules, Trend, read_rules
from tombola.study.statistics.interval import FloatArray
from tombola.study.statistics.multiplicity import at_least
from tombola.study.statistics.trend import TAU, kendall
from tombola.study.table.row import Row
from tombola.study.table.table import refuse_mixed_rows
from tombola.study.verdicts.comparisons import Comparison, comparisons, first_reason
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED

__all__ = ["Claim", "Finding", "claims", "decide"]

Decision: TypeAlias = Literal["reproduced", "contradicted", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the rows say about one part of a claim."""

    says: str
    status: Decision
    reason: str | None
    """Why it is undecided, if not for the interval: a premise that fails, or what is missing."""
    effect: float | None
    """Difference of the comparison that decides, in points; or Kendall's tau."""
    interval: tuple[float, float] | None
    """Its ends; the part is decided where they lie on one side of the bound."""
    bound: float
    unit: str
    about: str = ""
    """The comparison that decides."""
    holds: int = 0
    """On how many tasks, or pairs of tasks, the difference is on the right side of the bound,
    tested or not."""
    of: int = 0
    """Tasks, or pairs of tasks, that the plan has; of "some", comparisons."""
    needed: int = 0
    """In how many of them it must be."""
    p_value: float = 1.0
    """Of the part."""
    opposite_p_value: float = 1.0
    """Of its opposite."""
    published: float | None = None
    """The same effect in the paper."""
    missing: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, what becomes of it, and why."""

    id: int
    claim: str
    status: Decision
    findings: tuple[Finding, ...] = field(default=())

    @property
    def deciding(self) -> Finding:
        """The finding with the claim's status; the least convincing one, if they all have."""
        if self.status == "contradicted":
            return min(self.findings, key=lambda part: part.opposite_p_value)
        return max(self.findings, key=lambda part: part.p_value)

    @property
    def reason(self) -> str | None:
        """Why it is undecided, if not for the intervals: what dense has not learned first."""
        reasons = [part.reason for part in self.findings if part.reason]
        if self.status != "undecided" or not reasons:
            return None
        return DENSE_HAS_NOT_LEARNED if DENSE_HAS_NOT_LEARNED in reasons else reasons[0]

    def to_json(self) -> dict[str, Any]:
        """As `tombola claims --json` writes it."""
        told = self.deciding
        return {
            "id": self.id,
            "claim": self.claim,
            "status": self.status,
            "reason": self.reason,
            "effect": told.effect,
            "interval": None if told.interval is None else list(told.interval),
            "runs": sorted({key for part in self.findings for key in part.runs}),
            "unit": told.unit,
            "published": told.published,
            "missing": list(dict.fromkeys(m for part in self.findings for m in part.missing)),
            "parts": [_plain(part) for part in self.findings],
        }


def _plain(part: Finding) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(part).items()
        if name != "runs"
    }


def claims(table: Sequence[Row], rules: Rules | None = None) -> list[Claim]:
    """Every claim of the paper.

    Args:
        table: rows of a plan, done or not.
        rules: how they are decided; those of Chen et al. 2020.

    Raises: SpecError, if runs that are compared have different numerics.
    """
    refuse_mixed_rows(table)
    rules = rules or read_rules()
    return [decide(rule, table, rules.error) for rule in rules.rules]


def decide(rule: Rule, table: Sequence[Row], error: float) -> Claim:
    """One claim, with at most that chance of either error."""
    if rule.trend:
        findings: tuple[Finding, ...] = (_follow(rule.trend, table, error),)
    else:
        opposite = error / len(rule.parts)
        findings = tuple(_weigh(part, table, error, opposite) for part in rule.parts)
    statuses = {part.status for part in findings}
    status: Decision = "undecided"
    if "contradicted" in statuses:
        status = "contradicted"
    elif statuses == {"reproduced"}:
        status = "reproduced"
    return Claim(id=rule.id, claim=rule.claim, status=status, findings=findings)


# --- a difference against a bound --------------------------------------------


@dataclass(frozen=True)
class _Place:
    """The comparisons on one task, or between one pair of tasks.

    A sweep of rates is one question, however many comparisons it makes: all of them must hold.
    """

    pairs: Sequence[Comparison]
    shown: Sequence[float]
    """P value of each comparison."""
    denied: Sequence[float]
    """P value of the opposite of each."""

    @classmethod
    def of(cls, part: Part, pairs: Sequence[Comparison]) -> "_Place":
        """Tests every comparison."""
        shown, denied = (
            [pair.p_value(part.margins * pair.margin, above=above) for pair in pairs]
            for above in (part.above, not part.above)
        )
        counted = [
            p if pair.sparsity <= part.denied_at_most else 1.0
            for p, pair in zip(denied, pairs, strict=True)
        ]
        return cls(pairs, shown, counted)

    @property
    def p_value(self) -> float:
        """That all of them hold."""
        return at_least(self.shown, len(self.shown))

    @property
    def opposite_p_value(self) -> float:
        """That one of them does not."""
        return at_least(self.denied, 1)

    def deciding(self, *, opposite: bool) -> Comparison:
        """The least convincing one; of the opposite, the most convincing."""
        numbers = range(len(self.pairs))
        if opposite:
            return self.pairs[min(numbers, key=self.denied.__getitem__)]
        return self.pairs[max(numbers, key=lambda n: (self.shown[n], -self.denied[n]))]


def _places(part: Part, pairs: Sequence[Comparison]) -> list[_Place]:
    """What the quantifier counts: tasks or pairs of tasks; for "some", any comparison will do."""
    found: dict[Any, list[Comparison]] = {}
    for pair in pairs:
        both = (pair.first[0], (pair.second or pair.first)[0])
        moved = tuple(row.source for row in both if row.moved)
        own = tuple(pair.runs) if part.quantifier == "some" else ()
        found.setdefault((pair.first[0].target, moved, own), []).append(pair)
    return [_Place.of(part, mine) for mine in found.values()]


def _weigh(part: Part, table: Sequence[Row], error: float, opposite: float) -> Finding:
    pairs = comparisons(table, part.first, part.minus, part.span)
    if not pairs:
        return _nothing(part, table, "points")
    places = _places(part, pairs)
    needed = QUANTIFIERS[part.quantifier](len(places))
    p_value = at_least([place.p_value for place in places], needed)
    spare = len(places) - needed + 1
    opposite_p_value = at_least([place.opposite_p_value for place in places], spare)
    missing = [*_gaps(pairs), *_too_few(part, pairs), *_too_sparse(part, pairs)]
    status: Decision = "undecided"
    order = sorted(places, key=lambda place: (place.p_value, -place.opposite_p_value))
    place = order[needed - 1]
    if opposite_p_value < opposite and (part.quantifier == "every" or _several(pairs)):
        status = "contradicted"
        place = sorted(places, key=lambda place: place.opposite_p_value)[spare - 1]
    elif p_value < error and not _too_few(part, pairs):
        status = "reproduced"
    pair = place.deciding(opposite=status == "contradicted")
    mine, theirs = error / spare, opposite / needed / len(place.pairs)
    effect = interval = None
    if pair.complete:
        lower, upper = (mine, theirs) if part.above else (theirs, mine)
        effect, *both = pair.ends(lower, upper)
        interval = (both[0], both[1])
    return Finding(
        says=part.says,
        status=status,
        reason=_reason(status, pairs, missing),
        effect=effect,
        interval=interval,
        bound=part.margins * pair.margin,
        unit="points",
        about=pair.about(),
        holds=sum(all(_holds(part, pair) for pair in place.pairs) for place in places),
        of=len(places),
        needed=needed,
        p_value=p_value,
        opposite_p_value=opposite_p_value,
        published=published_difference(pair),
        missing=tuple(missing),
        runs=_runs(pairs),
    )


def _holds(part: Part, pair: Comparison) -> bool:
    if not pair.differences:
        return False
    over = float(np.mean(pair.differences)) - part.margins * pair.margin
    return over > 0 if part.above else over < 0


def _too_few(part: Part, pairs: Sequence[Comparison]) -> list[str]:
    """One task is not every task."""
    return ["a second task"] * (part.quantifier != "some" and not _several(pairs))


def _several(pairs: Iterable[Comparison]) -> bool:
    """Whether they are about two tasks or more; one refutes "every", and nothing else."""
    return len({pair.first[0].target for pair in pairs}) > 1


def _too_sparse(part: Part, pairs: Iterable[Comparison]) -> list[str]:
    """Where not even a failure would tell."""
    tasks = [
        pair.first[0].target
        for pair in pairs
        if pair.sparsity > part.denied_at_most and not _holds(part, pair)
    ]
    span = f"{percent(part.span.least)} to {percent(part.denied_at_most)}"
    told = f"{part.first} from {span} on {', '.join(tasks)}: failing above contradicts nothing"
    return [told] * bool(tasks)


def _gaps(pairs: Iterable[Comparison]) -> list[str]:
    missing = []
    for pair in pairs:
        if pair.diverged:
            told = ", ".join(f"{what}, seed {seed}" for seed, what, _ in pair.diverged)
            missing.append(f"{pair.about()}: diverged: {told}")
        elif pair.gaps:
            plural = "s" * (len(pair.gaps) > 1)
            missing.append(f"{pair.about()}: seed{plural} {', '.join(map(str, pair.gaps))}")
        elif len(pair.first) < 2:
            missing.append(f"{pair.about()}: a second seed")
        elif pair.unlearned:
            missing.append(f"{pair.about()}: {DENSE_HAS_NOT_LEARNED}: {pair.unlearned}")
    return missing


def _reason(status: Decision, pairs: Iterable[Comparison], missing: Sequence[str]) -> str | None:
    if status != "undecided":
        return None
    return first_reason(pairs) or next(iter(missing), None)


def _nothing(rule: Part | Trend, table: Sequence[Row], unit: str) -> Finding:
    """For whose rows the plan has nothing."""
    absent = [
        f"the plan has no {which}{rule.span}"
        for which in (rule.first, rule.minus)
        if which.kinds != ("dense",) and not any(map(which.admits, table))
    ]
    told = absent or [f"the plan has no {rule.first} beside {rule.minus}{rule.span}"]
    return Finding(
        says=rule.says,
        status="undecided",
        reason=told[0],
        effect=None,
        interval=None,
        bound=0.0,
        unit=unit,
        missing=tuple(told),
    )


def _runs(pairs: Iterable[Comparison]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for pair in pairs for key in pair.keys))


# --- a trend -----------------------------------------------------------------


def _follow(trend: Trend, table: Sequence[Row], error: float) -> Finding:
    pairs = comparisons(table, trend.first, trend.minus, trend.span)
    if not pairs:
        return _nothing(trend, table, TAU)
    sizes = {row.target: row.examples for row in table}
    sources = list(dict.fromkeys(pair.first[0].source for pair in pairs))
    missing = _gaps(pairs)
    if len(sources) < LEAST_SOURCES:
        missing.append(f"tickets of {LEAST_SOURCES} tasks, the plan has {len(sources)}")
    if unknown := [source for source in sources if source not in sizes]:
        missing.append(f"the number of training examples of {', '.join(unknown)}")
    examples = [sizes.get(source, 0) for source in sources]
    if len(set(examples)) == 1:
        missing.append("sources of different size")
    effects = _source_effects(pairs, sources)
    if len(effects) < 2:
        missing.append("two seeds that all sources have, and targets that they share")
    found = None if missing else kendall(examples, effects, error)
    status: Decision = "undecided"
    if found:
        effect, low, high = found.interval
        if found.rising_p_value < error and low > 0:
            status = "reproduced"
        elif found.falling_p_value < error and high < 0:
            status = "contradicted"
    return Finding(
        says=trend.says,
        status=status,
        reason=_reason(status, pairs, missing),
        effect=effect if found else None,
        interval=(low, high) if found else None,
        bound=0.0,
        unit=TAU,
        about=f"{len(sources)} sources",
        of=len(pairs),
        p_value=found.rising_p_value if found else 1.0,
        opposite_p_value=found.falling_p_value if found else 1.0,
        missing=tuple(missing),
        runs=_runs(pairs),
    )


LEAST_SOURCES = 4
"""Of fewer, no order is unlikely enough to be more than chance."""


def _source_effects(pairs: Sequence[Comparison], sources: Sequence[str]) -> FloatArray:
    """What a ticket's source adds to the difference [seeds, sources], up to a constant.

    A source is not moved to itself, so each has other targets than the next. Means over targets
    would rank the sources by the difficulty of what they were spared; source + target is fitted
    instead, by least squares, for each seed that all pairs have.
    """
    targets = list(dict.fromkeys(pair.first[0].target for pair in pairs))
    design = np.zeros((len(pairs), len(sources) + len(targets)))
    for line, pair in zip(design, pairs, strict=True):
        row = pair.first[0]
        line[[sources.index(row.source), len(sources) + targets.index(row.target)]] = 1
    by_seed = [dict(zip(pair.seeds, pair.differences, strict=True)) for pair in pairs]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    values = np.array([[mine[seed] for seed in seeds] for mine in by_seed])
    if not seeds or np.linalg.matrix_rank(design) < sum(map(len, (sources, targets))) - 1:
        return np.empty((0, len(sources)))  # nothing ranks sources that share no target
    effects: FloatArray = np.linalg.lstsq(design, values)[0][: len(sources)].T
    return effects.round(9)  # so that ties stay ties
