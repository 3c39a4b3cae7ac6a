"""Two networks on one task, seed by seed: their differences, and what a test needs of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from tombola.base.rounding import percent
from tombola.study.statistics.interval import ends, p_above, p_below, p_resolved
from tombola.study.table.grouping import NetworkRows
from tombola.study.table.row import Row
from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED, not_learned

__all__ = ["MARGIN_UNKNOWN", "ONE_SEED", "SEEDS_MISSING", "Comparison", "first_reason"]

SEEDS_MISSING = "seeds are missing"
MARGIN_UNKNOWN = "the margin isn't known until dense is scored on dev"
ONE_SEED = "one seed says nothing about others"


@dataclass(frozen=True)
class Comparison:
    """One network minus another on one task, seed by seed; differences are in points."""

    first: NetworkRows
    second: NetworkRows | None = None
    """The other network, on the same seeds; None for the dense network, whose scores stand in the
    first's rows."""

    @classmethod
    def on_shared_seeds(cls, first: NetworkRows, second: NetworkRows) -> "Comparison":
        """Two networks on the seeds that the plan has for both."""
        theirs = {row.seed: row for row in second}
        ours = [row for row in first if row.seed in theirs]
        return cls(tuple(ours), tuple(theirs[row.seed] for row in ours))

    @property
    def margin(self) -> float | None:
        """The margin of the task, in points; None as long as it isn't known."""
        return self.first[0].margin

    @property
    def sparsity(self) -> Decimal:
        """The sparsity of the first network; 0 if nothing is pruned."""
        return self.first[0].sparsity or Decimal(0)

    @cached_property
    def _scores(self) -> list[tuple[float | None, float | None]]:
        if self.second is None:
            return [(row.score, row.dense) for row in self.first]
        return [
            # without a dense score, whether dense has learned the task is unknown
            (a.score, b.score if a.dense is not None else None)
            for a, b in zip(self.first, self.second, strict=True)
        ]

    @cached_property
    def differences(self) -> list[float]:
        """First minus second, for the seeds that have both scores."""
        return [a - b for a, b in self._scores if a is not None and b is not None]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the differences."""
        return self._seeds(scored=True)

    @property
    def gaps(self) -> list[int]:
        """Seeds for which a score, or that of dense, is missing or diverged."""
        return self._seeds(scored=False)

    def _seeds(self, *, scored: bool) -> list[int]:
        both = zip(self.first, self._scores, strict=True)
        return [row.seed for row, pair in both if (None not in pair) == scored]

    @cached_property
    def diverged(self) -> list[tuple[int, str, str]]:
        """Runs that will never have a score: seed, name and key; dense first."""
        found = [
            (row.seed, "dense", row.dense_key)
            for row in self.first
            if row.dense is None and row.dense_numerics is not None
        ]
        rows = (*self.first, *(self.second or ()))
        found += [(row.seed, row.name, row.key) for row in rows if row.state == "diverged"]
        return list(dict.fromkeys(found))

    @property
    def resolution(self) -> float:
        """How much one test example can change a score, in points; 100 if that is unknown."""
        rows = (*self.first, *(self.second or ()))
        return max((row.resolution for row in rows if row.resolution), default=100.0)

    @property
    def complete(self) -> bool:
        """Whether every seed is there, and there are two or more: an interval can be given."""
        return not self.gaps and len(self.first) > 1

    @property
    def finished(self) -> bool:
        """Whether the margin is known, too: a test can be made."""
        return self.complete and self.margin is not None

    @cached_property
    def unlearned(self) -> str:
        """Why dense counts as not having learned the task; empty if it has, or isn't there yet,
        and as long as the margin isn't known."""
        dense = [row.dense for row in self.first if row.dense is not None]
        constant = max((row.trivial for row in self.first if row.trivial is not None), default=None)
        if not dense or self.margin is None:
            return ""
        if constant is None:
            return "the score of a constant answer is unknown"
        return not_learned(dense, constant, self.margin)

    @property
    def testable(self) -> bool:
        """Whether a test can be made from which something follows."""
        return self.finished and not self.unlearned

    @property
    def dense_premise(self) -> str | None:
        """The premise that dense lacks, without which its task and seeds decide nothing."""
        of_dense = [seed for seed, what, _ in self.diverged if what == "dense"]
        if of_dense:
            return f"dense, seed {of_dense[0]}, diverged"
        if self.margin is None:
            return MARGIN_UNKNOWN
        return DENSE_HAS_NOT_LEARNED if self.unlearned else None

    @property
    def reason(self) -> str | None:
        """The premise that is lacking, so that nothing follows; None if all of them hold."""
        for seed, what, _ in self.diverged:
            return f"{what}, seed {seed}, diverged"
        if self.unlearned:
            return DENSE_HAS_NOT_LEARNED
        if self.gaps:
            return SEEDS_MISSING
        if self.margin is None:
            return MARGIN_UNKNOWN
        return None if self.complete else ONE_SEED

    def p_value(self, margins: float, *, above: bool) -> float:
        """Small, if the true difference is above, or below, a bound in margins of the task.

        Returns: 1.0 as long as seeds are missing or the margin isn't known, and if dense has not
            learned the task.
        """
        if not self.testable or self.margin is None:
            return 1.0
        test = p_above if above else p_below
        return test(self.differences, margins * self.margin, resolution=self.resolution)

    def p_resolved(self, bound: float) -> float:
        """The part of that P value, above, which the number of test examples allows."""
        return p_resolved(self.differences, bound, resolution=self.resolution)

    def ends(self, below: float, above: float | None = None) -> tuple[float, float, float]:
        """Mean, lower and upper end of the interval, with those error rates; see `ends`."""
        return ends(self.differences, below, above, resolution=self.resolution)

    @property
    def runs(self) -> list[tuple[str, str]]:
        """Keys of both runs of each seed, done or not."""
        if self.second is None:
            return [(row.key, row.dense_key) for row in self.first]
        return [(a.key, b.key) for a, b in zip(self.first, self.second, strict=True)]

    @cached_property
    def keys(self) -> list[str]:
        """Keys of all runs that have a score, each once."""
        keys = [row.key for row in self.first if row.score is not None]
        if self.second is None:
            keys += [row.dense_key for row in self.first if row.dense is not None]
        else:
            keys += [row.key for row in self.second if row.score is not None]
        return list(dict.fromkeys(keys))

    def about(self) -> str:
        """Which networks on which task, such as "imp - dense on mlm at 70 %"."""
        row = self.first[0]
        minus = "dense" if self.second is None else _title(self.second[0])
        at = "" if row.sparsity is None else f" at {percent(row.sparsity)}"
        return f"{_title(row)} - {minus} on {row.target}{at}"


def _title(row: Row) -> str:
    fresh = row.kind == "evaluate" and row.init != Row.init
    init = f"init {row.init}" if fresh else ""
    search = " ".join(filter(None, (row.structure, *row.knobs, *row.variant, init)))
    source = f" from {row.source}" if row.moved else ""
    return f"{row.name}{source}" + (f", {search}" if search else "")


def first_reason(pairs: Iterable[Comparison]) -> str | None:
    """The premise that some comparisons lack: what dense has not learned first of all."""
    reasons = [pair.reason for pair in pairs if pair.reason]
    return DENSE_HAS_NOT_LEARNED if DENSE_HAS_NOT_LEARNED in reasons else next(iter(reasons), None)
