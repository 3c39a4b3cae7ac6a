"""What the rows of a plan lack to decide a part of a claim."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from tombola.base.rounding import percent
from tombola.finders.rewind import RewindSpec
from tombola.study.claims.claim import Decision, PartResult
from tombola.study.claims.rules import ClaimPart, Trend
from tombola.study.table.grouping import by_plan
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import MARGIN_UNKNOWN, Comparison, first_reason
from tombola.study.verdicts.selection import NetworkFilter, other_rounds
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED

__all__ = ["gaps", "left_out", "no_comparison", "reason_of", "run_keys"]

PLAIN = {
    "structure": "unstructured",
    "knobs": "with the finder's default knobs",
    "budget": "without a budget",
    "distill": "without a teacher",
    "distill_temperature": "without a teacher",
    "init": "from the pre-trained weights",
    "swept": "at the recipe's learning rate",
}
"""Term -> what it is called where it is the default."""


def gaps(pairs: Iterable[Comparison]) -> list[str]:
    """Each comparison that can't be tested, and why."""
    found = ((pair, _gap(pair)) for pair in pairs)
    return [f"{pair.about()}: {gap}" for pair, gap in found if gap]


def _gap(pair: Comparison) -> str:
    if pair.diverged:
        runs = ", ".join(f"{what}, seed {seed}" for seed, what, _ in pair.diverged)
        return f"diverged: {runs}"
    if pair.gaps:
        return f"seed{'' if len(pair.gaps) == 1 else 's'} {', '.join(map(str, pair.gaps))}"
    if pair.margin is None:
        return MARGIN_UNKNOWN
    if len(pair.first) < 2:
        return "a second seed"
    return f"{DENSE_HAS_NOT_LEARNED}: {pair.unlearned}" if pair.unlearned else ""


def reason_of(status: Decision, pairs: Iterable[Comparison], missing: Sequence[str]) -> str | None:
    """Why a part is undecided, if not for its interval."""
    if status != "undecided":
        return None
    return first_reason(pairs) or next(iter(missing), None)


def _which(networks: NetworkFilter, table: Sequence[Row]) -> str:
    """Which networks are lacking, if the plan has the same of another finder or on other terms."""
    of_finder = {name: replace(networks, finder=name) for name in {row.finder for row in table}}
    if any(of_finder[row.finder].admits(row) for row in table):
        return f" (of {networks.finder}'s tickets)"
    terms = _lacking(networks, table)
    return f" ({', '.join(terms)})" if terms else ""


def _lacking(networks: NetworkFilter, table: Iterable[Row]) -> list[str]:
    """The terms that keep the first of some networks from being admitted, if they alone do."""
    mine = (row for row in table if row.kind in networks.kinds)
    others = (like for row in mine if (like := networks.like(row)).admits(row))
    found = next((other for other in others if other != networks), networks)
    other = [name for name in PLAIN if getattr(found, name) != getattr(networks, name)]
    return list(dict.fromkeys(_named(networks, name) for name in other))


def _named(networks: NetworkFilter, name: str) -> str:
    """A term of some networks, in words."""
    value = getattr(networks, name)
    if value == getattr(NetworkFilter, name):
        return PLAIN[name]
    return f"of {name} {' '.join(value) if isinstance(value, tuple) else value}"


def left_out(rule: ClaimPart | Trend, table: Sequence[Row]) -> list[str]:
    """Tasks of a plan whose networks were found or trained on other terms than the rule's."""
    by_task: dict[str, list[Row]] = {}
    for row in table:
        by_task.setdefault(row.target, []).append(row)
    return [
        f"{networks} on {task} ({', '.join(terms)})"
        for networks in (rule.first, rule.minus)
        for task, rows in by_task.items()
        if not any(map(networks.admits, rows)) and (terms := _lacking(networks, rows))
    ] + _in_other_rounds(rule, table)


def _in_other_rounds(rule: ClaimPart | Trend, table: Sequence[Row]) -> list[str]:
    """Tasks of a plan whose searches took other rounds than the paper's."""
    tasks: dict[tuple[NetworkFilter, str], list[str]] = {}
    for networks in dict.fromkeys((rule.first, rule.minus)):
        for task, several in other_rounds(networks, table).items():
            tasks.setdefault((networks, _listed(several)), []).append(task)
    paper = percent(RewindSpec.step)
    return [
        f"{networks} on {', '.join(on)} in rounds of {paper} each (here {rounds})"
        for (networks, rounds), on in tasks.items()
    ]


def _listed(several: Iterable[Iterable[Decimal]]) -> str:
    return ", and ".join(", ".join(map(percent, rounds)) for rounds in several)


def no_comparison(rule: ClaimPart | Trend, table: Sequence[Row], unit: str) -> PartResult:
    """The result for a part of which no plan has rows."""
    nothing = "no plan has" if len(by_plan(table)) > 1 else "the plan has no"
    absent = [
        f"{nothing} {networks}{_which(networks, table)}{rule.span}"
        for networks in (rule.first, rule.minus)
        if networks.kinds != ("dense",) and not any(map(networks.admits, table))
    ]
    missing = absent or _in_other_rounds(rule, table)
    missing = missing or [f"{nothing} {rule.first} to compare with {rule.minus}{rule.span}"]
    return PartResult(
        says=rule.says,
        status="undecided",
        reason=missing[0],
        effect=None,
        interval=None,
        bound=0.0,
        unit=unit,
        missing=tuple(missing),
    )


def run_keys(pairs: Iterable[Comparison]) -> tuple[str, ...]:
    """Keys of all runs of some comparisons, each once."""
    return tuple(dict.fromkeys(key for pair in pairs for key in pair.keys))
