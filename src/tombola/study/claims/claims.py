"""The claims of a paper, each decided by its rule from the rows of one or more plans.

A claim is reproduced if each of its parts is shown, contradicted if the opposite of one is shown,
and undecided otherwise: because runs are missing, or because the intervals are too wide. Either
error has at most the chance that the rules name, however many comparisons a claim takes. A
comparison decides nothing before all its seeds are there, so looking early costs nothing.
"""

from collections.abc import Sequence

from tombola.study.claims.claim import Claim, Decision, PartResult
from tombola.study.claims.parts import decide_part
from tombola.study.claims.rules import Rule, Rules, read_rules
from tombola.study.claims.trends import decide_trend
from tombola.study.table.grouping import by_plan
from tombola.study.table.row import Row
from tombola.study.table.table import refuse_mixed_rows

__all__ = ["decide_claim", "decide_claims"]


def decide_claims(table: Sequence[Row], rules: Rules | None = None) -> list[Claim]:
    """Every claim of a paper.

    Args:
        table: rows of one or more plans, done or not. Networks are compared within a plan; on a
            task that several plans have, a difference must hold in each of them.
        rules: how the claims are decided; by default those of Chen et al. 2020.

    Raises: MixedNumericsError, if runs that are compared have different numerics.
    """
    for rows in by_plan(table).values():
        refuse_mixed_rows(rows)
    rules = rules or read_rules()
    return [decide_claim(rule, table, rules.error) for rule in rules.rules]


def decide_claim(rule: Rule, table: Sequence[Row], error: float) -> Claim:
    """One claim, with at most that chance of either error."""
    if rule.trend:
        parts: tuple[PartResult, ...] = (decide_trend(rule.trend, table, error),)
    else:
        opposite = error / len(rule.parts)
        parts = tuple(decide_part(part, table, error, opposite) for part in rule.parts)
    return Claim(id=rule.id, claim=rule.claim, status=_status(parts), parts=parts)


def _status(parts: Sequence[PartResult]) -> Decision:
    statuses = {part.status for part in parts}
    if "contradicted" in statuses:
        return "contradicted"
    return "reproduced" if statuses == {"reproduced"} else "undecided"
