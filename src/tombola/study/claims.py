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

from tombola.study.claim_rules import QUANTIFIERS, Part, Rule, Rules, Trend, read_rules
from tombola.study.compare import Comparison, comparisons
from tombola.study.interval import ends, p_above, p_below
from tombola.study.multiple import at_least
from tombola.study.published import published_difference
from tombola.study.row import Row
from tombola.study.table import refuse_mixed_rows
from tombola.study.trend import TAU, kendall

__all__ = ["Claim", "Finding", "claims", "decide"]

Decision: TypeAlias = Literal["reproduced", "contradicted", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the rows say about one part of a claim."""

    says: str
    status: Decision
    effect: float | None
    """Difference of the comparison that decides, in points; or Kendall's tau."""
    interval: tuple[float, float] | None
    """Its ends; the part is decided where they lie on one side of the bound."""
    bound: float
    unit: str
    about: str = ""
    """The comparison that decides."""
    holds: int = 0
    """In how many comparisons the difference is on the right side of the bound, tested or not."""
    of: int = 0
    """Comparisons that the plan has."""
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

    def to_json(self) -> dict[str, Any]:
        """As `tombola claims --json` writes it."""
        told = self.deciding
        return {
            "id": self.id,
            "claim": self.claim,
            "status": self.status,
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


def _weigh(part: Part, table: Sequence[Row], error: float, opposite: float) -> Finding:
    pairs = comparisons(table, part.first, part.minus, part.span)
    if not pairs:
        return _nothing(part, table, "points")
    needed = QUANTIFIERS[part.quantifier](len(pairs))
    shown = [_p_value(part, pair, above=part.above) for pair in pairs]
    denied = [_p_value(part, pair, above=not part.above) for pair in pairs]
    p_value = at_least(shown, needed)
    opposite_p_value = at_least(denied, len(pairs) - needed + 1)
    missing = [*_gaps(pairs), *_too_few(part, pairs)]
    status: Decision = "undecided"
    if opposite_p_value < opposite:
        status = "contradicted"
    elif p_value < error and not _too_few(part, pairs):
        status = "reproduced"
    order = sorted(range(len(pairs)), key=lambda n: (shown[n], -denied[n]))
    pair = pairs[order[needed - 1]]
    mine, theirs = error / (len(pairs) - needed + 1), opposite / needed
    effect = interval = None
    if pair.complete:
        lower, upper = (mine, theirs) if part.above else (theirs, mine)
        effect, *both = ends(pair.differences, lower, upper)
        interval = (both[0], both[1])
    return Finding(
        says=part.says,
        status=status,
        effect=effect,
        interval=interval,
        bound=part.margins * pair.margin,
        unit="points",
        about=pair.about(),
        holds=sum(_holds(part, pair) for pair in pairs),
        of=len(pairs),
        needed=needed,
        p_value=p_value,
        opposite_p_value=opposite_p_value,
        published=published_difference(pair),
        missing=tuple(missing),
        runs=_runs(pairs),
    )


def _p_value(part: Part, pair: Comparison, *, above: bool) -> float:
    """Of one comparison; 1.0 as long as it isn't complete."""
    if not pair.complete:
        return 1.0
    test = p_above if above else p_below
    return test(pair.differences, part.margins * pair.margin)


def _holds(part: Part, pair: Comparison) -> bool:
    if not pair.differences:
        return False
    over = float(np.mean(pair.differences)) - part.margins * pair.margin
    return over > 0 if part.above else over < 0


def _too_few(part: Part, pairs: Sequence[Comparison]) -> list[str]:
    """One task is not every task."""
    one = part.quantifier != "some" and len({pair.first[0].target for pair in pairs}) < 2
    return ["a second task"] * one


def _gaps(pairs: Iterable[Comparison]) -> list[str]:
    missing = []
    for pair in pairs:
        if pair.gaps:
            plural = "s" * (len(pair.gaps) > 1)
            missing.append(f"{pair.about()}: seed{plural} {', '.join(map(str, pair.gaps))}")
        elif len(pair.first) < 2:
            missing.append(f"{pair.about()}: a second seed")
    return missing


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
    examples = [sizes.get(source, 0) for source in sources]
    if len(set(examples)) == 1:
        missing.append("sources of different size")
    found = None if missing else kendall(examples, _by_seed(pairs, sources), error)
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


def _by_seed(pairs: Sequence[Comparison], sources: Sequence[str]) -> Any:
    """Mean difference [seeds, sources] over the targets."""
    of_source = [[pair for pair in pairs if pair.first[0].source == source] for source in sources]
    return np.array([np.mean([pair.differences for pair in mine], axis=0) for mine in of_source]).T
