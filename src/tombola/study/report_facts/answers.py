"""What the runs of a plan say, in sentences, each with the runs behind it."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from tombola.base.rounding import percent
from tombola.study.claims.claim import Claim
from tombola.study.report_facts.run_list import RunList
from tombola.study.table.row import Row
from tombola.study.verdicts.matching import Family, Matching, NetworkVerdict
from tombola.study.verdicts.universality import Universality
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED

__all__ = ["answers", "highest_text"]

STATUSES = ("reproduced", "contradicted", "undecided")


def answers(
    judged: Sequence[Matching], claims: Sequence[tuple[Claim, list[int]]], runs: RunList
) -> list[dict[str, Any]]:
    """The verdicts in words, the most general ones first.

    Args:
        judged: the verdicts on each plan.
        claims: each claim, with the runs that it rests on.
        runs: the runs of all plans.

    Returns: plan, text and runs of each sentence; no plan where it is about all of them.
    """
    return [
        *_of_claims(claims),
        *(answer for found in judged for answer in _of_families(found, runs)),
        *(answer for found in judged for answer in _of_searches(found, runs)),
    ]


def highest_text(first: NetworkVerdict, sparsity: Decimal | None) -> str:
    """The highest winning sparsity of a search, in words.

    Args:
        first: the verdict on its lowest sparsity.
        sparsity: the highest up to which all of them match, if any.
    """
    if first.pair.gaps:
        return "diverged" if first.pair.diverged else "unfinished"
    if first.pair.margin is None:
        return "unfinished"
    star = "*" if first.verdict and first.verdict.seeds == 1 else ""
    if sparsity is None:
        return f"no winning ticket shown, tested from the lowest sparsity upward{star}"
    return f"highest winning sparsity {percent(sparsity)}{star}"


def _of_claims(claims: Sequence[tuple[Claim, list[int]]]) -> Iterator[dict[str, Any]]:
    """How many of the paper's claims are reproduced."""
    if not claims:
        return
    statuses: list[str] = [claim.status for claim, _ in claims]
    counts = ", ".join(f"{statuses.count(each)} {each}" for each in STATUSES)
    runs = sorted({run for _, mine in claims for run in mine})
    text = f"Claims of the paper that these runs bear on: {counts}."
    yield {"plan": "", "text": text, "runs": runs}


def _of_families(found: Matching, runs: RunList) -> Iterator[dict[str, Any]]:
    """Whether the networks of an arm match on every task, for each of its sparsities."""
    for family in found.families:
        mine = [each for each in found.judged if _is_in(each, family)]
        keys = (key for each in mine for key in each.pair.keys)
        text = f"{_networks(family)} {_family_text(family.answer)}."
        plan = mine[0].row.plan
        yield {"plan": plan, "text": text, "runs": runs.places(plan, keys)}


def _networks(family: Family) -> str:
    """What a family is, such as "tickets (imp) at 70 %"."""
    name = "" if family.name == family.arm else f" ({family.name})"
    source = f" from {family.source}" if family.source else ""
    return f"{family.arm}{name}{source} at {', '.join(map(percent, family.sparsities))}:"


def _family_text(answer: Universality) -> str:
    every = f"dense on every one of {answer.tasks} tasks"
    text = {
        "matching": f"match {every}",
        "not matching": f"do not match dense on at least one of {answer.tasks} tasks",
        "undecided": f"it is undecided whether they match {every}",
    }[answer.status]
    parts = {
        "shown to match, by Holm": () if answer.status == "matching" else answer.matching,
        "unfinished": answer.unfinished,
        "diverged": answer.diverged,
        DENSE_HAS_NOT_LEARNED: answer.unlearned,
    }
    named = (f"; {what}: {', '.join(tasks)}" for what, tasks in parts.items() if tasks)
    return text + "".join(named)


def _is_in(each: NetworkVerdict, family: Family) -> bool:
    row = each.row
    named = (row.arm, row.name) == (family.arm, family.name)
    return named and family.source in ("", row.source) and row.sparsity in family.sparsities


def _of_searches(found: Matching, runs: RunList) -> Iterator[dict[str, Any]]:
    """The highest winning sparsity of each search on its own task."""
    keys: dict[tuple[str, ...], list[str]] = {}
    for each in found.judged:
        keys.setdefault(_search(each.row), []).extend(each.pair.keys)
    for first, sparsity in found.highest:
        row = first.row
        if row.is_own_ticket:
            text = f"{row.arm} on {row.target}: {highest_text(first, sparsity)}."
            places = runs.places(row.plan, keys[_search(row)])
            yield {"plan": row.plan, "text": text, "runs": places}


def _search(row: Row) -> tuple[str, ...]:
    """What all rows of a search share, at whatever sparsity."""
    return row.arm, row.name, row.source, row.target
