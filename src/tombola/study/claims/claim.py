"""A claim of a paper: its status, and the result for each of its parts."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tombola.study.verdicts.verdict import DENSE_HAS_NOT_LEARNED

__all__ = ["Claim", "Decision", "PartResult"]

Decision: TypeAlias = Literal["reproduced", "contradicted", "undecided"]


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """What the rows of a plan show about one part of a claim."""

    says: str
    status: Decision
    reason: str | None
    """Why it is undecided, if not for the interval: a premise that fails, or what is missing."""
    effect: float | None
    """Difference of the comparison that decides, in points; or Kendall's tau."""
    interval: tuple[float, float] | None
    """The ends of its interval; the part is decided where they lie on one side of the bound."""
    bound: float | None
    """None as long as the margin that it is a multiple of isn't known."""
    unit: str
    about: str = ""
    """The comparison that decides."""
    holds: int = 0
    """On how many tasks, or pairs of tasks, the difference is on the right side of the bound,
    tested or not."""
    of: int = 0
    """Tasks, or pairs of tasks, that the plan has; comparisons, where "some" must hold."""
    needed: int = 0
    """In how many of them it must hold."""
    p_value: float = 1.0
    """The P value of the part."""
    opposite_p_value: float = 1.0
    """The P value of its opposite."""
    published: float | None = None
    """The effect in the paper."""
    missing: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields except the runs, which the claim lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if name != "runs"
        }


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, its status, and what that rests on."""

    id: int
    claim: str
    status: Decision
    parts: tuple[PartResult, ...] = field(default=())

    @property
    def deciding(self) -> PartResult:
        """The part with the claim's status; the least convincing one, if they all have it."""
        if self.status == "contradicted":
            return min(self.parts, key=lambda part: part.opposite_p_value)
        return max(self.parts, key=lambda part: part.p_value)

    @property
    def tested(self) -> bool:
        """Whether any run bears on it."""
        return any(part.runs for part in self.parts)

    @property
    def reason(self) -> str | None:
        """Why it is undecided, if not for the intervals: what dense has not learned first."""
        reasons = [part.reason for part in self.parts if part.reason]
        if self.status != "undecided" or not reasons:
            return None
        return DENSE_HAS_NOT_LEARNED if DENSE_HAS_NOT_LEARNED in reasons else reasons[0]

    def to_json(self) -> dict[str, Any]:
        """The answer as `tombola claims --json` writes it."""
        deciding = self.deciding
        return {
            "id": self.id,
            "claim": self.claim,
            "status": self.status,
            "reason": self.reason,
            "effect": deciding.effect,
            "interval": None if deciding.interval is None else list(deciding.interval),
            "runs": sorted({key for part in self.parts for key in part.runs}),
            "unit": deciding.unit,
            "published": deciding.published,
            "missing": list(dict.fromkeys(m for part in self.parts for m in part.missing)),
            "parts": [part.to_json() for part in self.parts],
        }
