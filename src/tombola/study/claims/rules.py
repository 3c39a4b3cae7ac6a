"""How the claims of a paper are decided, read from `catalog/claims/`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

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
    """The same in words."""
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


@cache
def read_rules(paper: str = "chen-2020") -> Rules:
    """The rules of a paper's claims."""
    content = construct(compose(read_yaml_text(CATALOG / f"{paper}.yaml")))
    return Rules(content["error"], tuple(map(_rule, content["claims"])))


def _rule(fields: Mapping[str, Any]) -> Rule:
    return Rule(
        id=fields["id"],
        claim=fields["claim"],
        parts=tuple(map(_part, fields.get("parts", ()))),
        trend=Trend(**_pairs(fields["trend"])) if "trend" in fields else None,
    )


def _part(fields: Mapping[str, Any]) -> ClaimPart:
    [direction] = {"above", "below"} & fields.keys()
    return ClaimPart(
        **_pairs(fields),
        above=direction == "above",
        margins=fields[direction],
        denied_at_most=Decimal(str(fields.get("denied_at_most", ClaimPart.denied_at_most))),
        quantifier=fields["in"],
    )


def _pairs(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The wording, and which networks are compared at which sparsities."""
    span = fields["sparsity"]
    return {
        "says": fields["says"],
        "first": _which(fields["first"]),
        "minus": _which(fields["minus"]),
        "span": SparsityRange(
            least=Decimal(str(span.get("from", SparsityRange.least))),
            most=Decimal(str(span.get("to", SparsityRange.most))),
            take=span.get("take", SparsityRange.take),
        ),
    }


def _which(fields: Mapping[str, Any]) -> NetworkFilter:
    lists: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return NetworkFilter(**lists)
