"""How the claims of a paper are decided, read from `catalog/claims/`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from math import ceil
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from tombola.base.records import RecordReader
from tombola.base.yaml_text import compose, construct, read_yaml_text
from tombola.study.verdicts.selection import NetworkFilter, SparsityRange

__all__ = ["QUANTIFIERS", "ClaimPart", "Rule", "Rules", "Trend", "read_rules"]

CATALOG = Path(__file__).parents[2] / "catalog" / "claims"

QUANTIFIERS: Mapping[str, Callable[[int], int]] = {
    "some": lambda number: 1,
    "most": lambda number: number // 2 + 1,
    "nearly every": lambda number: ceil(0.9 * number),
    "every": lambda number: number,
}
"""Number of tasks or pairs of tasks -> how many of them must hold."""


@dataclass(frozen=True, kw_only=True)
class ClaimPart:
    """A difference that lies above or below a bound in some, most or all comparisons."""

    says: str
    """The rule in words."""
    first: NetworkFilter
    minus: NetworkFilter
    span: SparsityRange
    above: bool
    """Whether the difference is above the bound, or below it."""
    margins: float
    """The bound, in margins of the task."""
    denied_at_most: Decimal = Decimal(1)
    """A comparison at a higher sparsity is no evidence for the opposite."""
    quantifier: str
    """In how many of the comparisons: one of QUANTIFIERS."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A difference that rises with the training examples of the source."""

    says: str
    first: NetworkFilter
    minus: NetworkFilter
    span: SparsityRange


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one claim is decided: all its parts, or its trend."""

    id: int
    claim: str
    parts: tuple[ClaimPart, ...] = ()
    trend: Trend | None = None


@dataclass(frozen=True)
class Rules:
    """The rules for the claims of one paper."""

    error: float
    """Chance of calling a claim reproduced, or of calling it contradicted, that is not."""
    rules: tuple[Rule, ...]


WrittenRange = TypedDict(
    "WrittenRange",
    {"from": Decimal, "to": Decimal, "take": Literal["all", "lowest", "highest"]},
    total=False,
)


class WrittenTrend(TypedDict):
    """A trend as its file has it."""

    says: str
    first: NetworkFilter
    minus: NetworkFilter
    sparsity: WrittenRange


WrittenPart = TypedDict(
    "WrittenPart",
    {
        "says": str,
        "first": NetworkFilter,
        "minus": NetworkFilter,
        "sparsity": WrittenRange,
        "denied_at_most": NotRequired[Decimal],
        "above": NotRequired[float],
        "below": NotRequired[float],
        "in": Literal["some", "most", "nearly every", "every"],
    },
)


class WrittenRule(TypedDict):
    """A rule as its file has it."""

    id: int
    claim: str
    parts: NotRequired[list[WrittenPart]]
    trend: NotRequired[WrittenTrend]


class WrittenRules(TypedDict):
    """The rules of a paper as their file has them."""

    version: Literal[1]
    error: float
    claims: list[WrittenRule]


@cache
def read_rules(paper: str = "chen-2020") -> Rules:
    """The rules of a paper's claims."""
    path = CATALOG / f"{paper}.yaml"
    reader = RecordReader(where=path.name, remedy="Fix the file.")
    content = construct(compose(read_yaml_text(path)))
    written = reader.read(WrittenRules, content, what="a paper's claims")
    return Rules(written["error"], tuple(map(_rule, written["claims"])))


def _rule(written: WrittenRule) -> Rule:
    return Rule(
        id=written["id"],
        claim=written["claim"],
        parts=tuple(map(_part, written.get("parts", ()))),
        trend=_trend(written["trend"]) if "trend" in written else None,
    )


def _trend(written: WrittenTrend) -> Trend:
    return Trend(
        says=written["says"],
        first=written["first"],
        minus=written["minus"],
        span=_range(written["sparsity"]),
    )


def _part(written: WrittenPart) -> ClaimPart:
    above = "above" in written
    return ClaimPart(
        says=written["says"],
        first=written["first"],
        minus=written["minus"],
        span=_range(written["sparsity"]),
        above=above,
        margins=written["above"] if above else written["below"],
        denied_at_most=written.get("denied_at_most", ClaimPart.denied_at_most),
        quantifier=written["in"],
    )


def _range(written: WrittenRange) -> SparsityRange:
    return SparsityRange(
        least=written.get("from", SparsityRange.least),
        most=written.get("to", SparsityRange.most),
        take=written.get("take", SparsityRange.take),
    )
