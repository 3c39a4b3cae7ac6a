"""Learning-rate rewinding: iterative magnitude pruning that never rewinds weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.base.errors import SpecError
from tombola.finders.allocations import keep_best
from tombola.finders.evidence import Evidence
from tombola.finders.finder import Pruned, finder
from tombola.finders.rewind import RewindSpec, prune_and_rewind
from tombola.finders.scores import magnitude

if TYPE_CHECKING:
    from tombola.ticket.mask import Mask

__all__ = ["LearningRateRewindingSpec", "learning_rate_rewinding"]


@dataclass(frozen=True, kw_only=True)
class LearningRateRewindingSpec(RewindSpec):
    """Learning-rate rewinding: how fast weights are pruned."""

    no_rewind: bool = True
    """Never rewind weights, which is what this finder is: only the learning rate begins anew."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.no_rewind:
            raise SpecError(
                "learning-rate-rewinding never rewinds weights, got no_rewind false. Use imp."
            )


@finder(
    "learning-rate-rewinding",
    LearningRateRewindingSpec,
    plan=prune_and_rewind,
    scores="magnitude",
    label="learning-rate rewinding",
    source="Renda et al. 2020",
)
def learning_rate_rewinding(
    evidence: Evidence, spec: LearningRateRewindingSpec, mask: "Mask"
) -> Pruned:
    """Train, prune the smallest weights, train on by the whole schedule, again.

    The same trainings as `imp --no-rewind`, the standard pruning of Chen et al. 2020, under the
    name of the paper that compares it with rewinding.
    """
    return Pruned(keep_best(magnitude(evidence.weights), mask, spec, evidence.layout))
