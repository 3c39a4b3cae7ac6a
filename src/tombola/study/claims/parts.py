"""A part of a claim that is a difference: above or below a bound, on some, most or all tasks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tombola.base.rounding import percent
from tombola.study.claims.claim import Decision, PartResult
from tombola.study.claims.gaps import gaps, left_out, no_comparison, reason_of, run_keys
from tombola.study.claims.rules import QUANTIFIERS, ClaimPart
from tombola.study.statistics.multiple_testing import at_least
from tombola.study.table.row import Row
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.published import published_difference
from tombola.study.verdicts.selection import comparisons

__all__ = ["decide_part"]


@dataclass(frozen=True)
class _Question:
    """The comparisons on one task, or between one pair of tasks.

    A sweep of rates is one question, however many comparisons it makes: all of them must hold.
    """

    pairs: Sequence[Comparison]
    p_values: Sequence[float]
    """P value of each comparison."""
    opposite_p_values: Sequence[float]
    """P value of the opposite of each."""

    @classmethod
    def of(cls, part: ClaimPart, pairs: Sequence[Comparison]) -> "_Question":
        """The tests of every comparison."""
        shown, denied = (
            [pair.p_value(part.margins, above=above) for pair in pairs]
            for above in (part.above, not part.above)
        )
        counted = [
            p if pair.sparsity <= part.denied_at_most else 1.0
            for p, pair in zip(denied, pairs, strict=True)
        ]
        return cls(pairs, shown, counted)

    @property
    def p_value(self) -> float:
        """P value of "all of them hold"."""
        return at_least(self.p_values, len(self.p_values))

    @property
    def opposite_p_value(self) -> float:
        """P value of "the opposite of one of them holds"."""
        return at_least(self.opposite_p_values, 1)

    def deciding(self, *, opposite: bool) -> Comparison:
        """The least convincing comparison; for the opposite, the most convincing."""
        numbers = range(len(self.pairs))
        if opposite:
            return self.pairs[min(numbers, key=self.opposite_p_values.__getitem__)]
        return self.pairs[
            max(numbers, key=lambda n: (self.p_values[n], -self.opposite_p_values[n]))
        ]


@dataclass(frozen=True)
class _Weighed:
    """All questions of a part, tested together."""

    questions: Sequence[_Question]
    needed: int
    """How many of them must hold."""

    @classmethod
    def of(cls, part: ClaimPart, pairs: Sequence[Comparison]) -> "_Weighed":
        """The tests of some comparisons."""
        questions = _questions(part, pairs)
        return cls(questions, QUANTIFIERS[part.quantifier](len(questions)))

    @property
    def spare(self) -> int:
        """How many must fail, so that too few hold."""
        return len(self.questions) - self.needed + 1

    @property
    def p_value(self) -> float:
        """P value of the part."""
        return at_least([each.p_value for each in self.questions], self.needed)

    @property
    def opposite_p_value(self) -> float:
        """P value of its opposite."""
        return at_least([each.opposite_p_value for each in self.questions], self.spare)

    def deciding(self, *, opposite: bool) -> _Question:
        """The question that the P value rests on."""
        if opposite:
            ranked = sorted(self.questions, key=lambda each: each.opposite_p_value)
            return ranked[self.spare - 1]
        ranked = sorted(self.questions, key=lambda each: (each.p_value, -each.opposite_p_value))
        return ranked[self.needed - 1]


def decide_part(part: ClaimPart, table: Sequence[Row], error: float, opposite: float) -> PartResult:
    """Whether a part is shown, or its opposite.

    Args:
        part: a part of a claim.
        table: rows of a plan, done or not.
        error: chance of calling the part reproduced that is not.
        opposite: chance of calling it contradicted that is not.
    """
    pairs = comparisons(table, part.first, part.minus, part.span)
    if not pairs:
        return no_comparison(part, table, "points")
    weighed = _Weighed.of(part, pairs)
    missing = [*gaps(pairs), *_too_few(part, pairs), *_too_sparse(part, pairs)]
    status = _status(part, pairs, weighed, error, opposite)
    question = weighed.deciding(opposite=status == "contradicted")
    pair = question.deciding(opposite=status == "contradicted")
    shown = error / weighed.spare
    denied = opposite / weighed.needed / len(question.pairs)
    effect, interval = _effect(pair, *((shown, denied) if part.above else (denied, shown)))
    return PartResult(
        says=part.says,
        status=status,
        reason=reason_of(status, pairs, missing),
        effect=effect,
        interval=interval,
        bound=_bound(part, pair),
        unit="points",
        about=_about(pair, pairs),
        holds=sum(all(_holds(part, pair) for pair in each.pairs) for each in weighed.questions),
        of=len(weighed.questions),
        needed=weighed.needed,
        p_value=weighed.p_value,
        opposite_p_value=weighed.opposite_p_value,
        published=published_difference(pair),
        missing=(*missing, *left_out(part, table)),
        runs=run_keys(pairs),
    )


def _questions(part: ClaimPart, pairs: Sequence[Comparison]) -> list[_Question]:
    """What the quantifier counts: tasks or pairs of tasks; for "some", any comparison will do, in
    all plans that make it."""
    found: dict[Any, list[Comparison]] = {}
    for pair in pairs:
        both = (pair.first[0], (pair.second or pair.first)[0])
        sources = tuple(row.source for row in both if row.moved)
        names = tuple((row.arm, row.name) for row in both)
        alone = (*names, pair.sparsity) if part.quantifier == "some" else ()
        found.setdefault((pair.first[0].target, sources, alone), []).append(pair)
    return [_Question.of(part, mine) for mine in found.values()]


def _status(
    part: ClaimPart, pairs: Sequence[Comparison], weighed: _Weighed, error: float, opposite: float
) -> Decision:
    refutable = part.quantifier == "every" or _several_tasks(pairs)
    if weighed.opposite_p_value < opposite and refutable:
        return "contradicted"
    shown = weighed.p_value < error and not _too_few(part, pairs)
    return "reproduced" if shown else "undecided"


def _about(pair: Comparison, pairs: Iterable[Comparison]) -> str:
    """A comparison in words, with its plan if there are several."""
    plans = {each.first[0].plan for each in pairs}
    return f"{pair.about()}, plan {pair.first[0].plan}" if len(plans) > 1 else pair.about()


def _effect(
    pair: Comparison, lower: float, upper: float
) -> tuple[float | None, tuple[float, float] | None]:
    """Mean and interval of a comparison with an error rate for each end; None if it has gaps."""
    if not pair.complete:
        return None, None
    mean, low, high = pair.ends(lower, upper)
    return mean, (low, high)


def _bound(part: ClaimPart, pair: Comparison) -> float | None:
    """The bound of a part, in points."""
    return None if pair.margin is None else part.margins * pair.margin


def _holds(part: ClaimPart, pair: Comparison) -> bool:
    bound = _bound(part, pair)
    if not pair.differences or bound is None:
        return False
    over = float(np.mean(pair.differences)) - bound
    return over > 0 if part.above else over < 0


def _too_few(part: ClaimPart, pairs: Sequence[Comparison]) -> list[str]:
    """One task is not every task."""
    lacks = part.quantifier != "some" and not _several_tasks(pairs)
    return ["a second task"] if lacks else []


def _several_tasks(pairs: Iterable[Comparison]) -> bool:
    """Whether they are about two tasks or more; one refutes "every", and nothing else."""
    return len({pair.first[0].target for pair in pairs}) > 1


def _too_sparse(part: ClaimPart, pairs: Iterable[Comparison]) -> list[str]:
    """A note on failures at sparsities so high that they contradict nothing."""
    tasks = [
        pair.first[0].target
        for pair in pairs
        if pair.sparsity > part.denied_at_most and not _holds(part, pair)
    ]
    span = f"{percent(part.span.least)} to {percent(part.denied_at_most)}"
    note = f"{part.first} from {span} on {', '.join(tasks)}: failing above contradicts nothing"
    return [note] if tasks else []
