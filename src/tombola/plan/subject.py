"""What an experiment is done on: a network, a task and its data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tombola.base.errors import SpecError
from tombola.base.specs import TrainSpec
from tombola.base.specs.prune import HEADS_AND_NEURONS, N_OF_M, depends_on_outputs
from tombola.plan.identity import NetworkIdentity
from tombola.plan.job_spec import GivenMask
from tombola.tasks.input_counts import SplitCounts
from tombola.tasks.task import Task

__all__ = ["Subject"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network, a task and its data, as far as the names of results need them."""

    model: str
    """Name, folder or hub id: where the network is; never in a key."""
    fingerprint: str
    """Fingerprint of the pre-trained backbone."""
    config_digest: str = ""
    """Digest of what else decides results: configuration, tokenizer, pre-trained pooler and head.
    Empty for an embedded model, which comes with the package as it is."""
    task: Task
    recipe: TrainSpec
    """Its seed is replaced by that of each training."""
    data: str
    """Fingerprint of the rows."""
    examples: int
    """Training examples: rows of the split, or windows or blocks of them."""
    folder: str | None
    """Where the data are, None for the package's own; never in a key."""
    scope: str = "encoder"
    matrices: str = ""
    """Digest of the names in the scope that belong to no linear layer, which earlier scopes didn't
    hold; empty without any."""
    heads: int = 0
    """Attention heads of a block; 0 for an embedded model, or where the configuration has none."""
    refused: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Structure, N:4 for all with groups of four, allocation or initialisation -> why this
    network's scope, or a mask that starts from `pruned`, can't have it; never in a key."""
    transposed: frozenset[str] = frozenset()
    """Weights of the scope that are stored as (inputs, outputs)."""
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Name with stars -> weights of the blocks outside of the scope; never in a key."""
    drawn_head: tuple[str, ...] = ()
    """Parameters of a head that is pre-trained with the encoder, which the files lack, so that each
    seed draws them; never in a key."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of network and data; never in a key."""
    counts: Mapping[str, SplitCounts] = field(default_factory=dict, hash=False)
    """Split -> what was counted of it; never in a key."""
    pruned: GivenMask | None = None
    """What a search on it starts from, if not from the whole network."""
    pruned_on: str = ""
    """The task that this was found on; empty for none, or where that is unknown; never in a key."""
    dev: str = ""
    """Fingerprint of the dev split's rows, where something goes by a score on them; empty if
    nothing does, or there are none with labels."""

    @property
    def network(self) -> NetworkIdentity:
        """What names the network in a result."""
        return NetworkIdentity(
            model=self.fingerprint, matrices=self.matrices, config_digest=self.config_digest
        )

    def check(self, what: str) -> None:
        """Refuse a structure, an allocation or an initialisation that the network can't have.

        Raises: SpecError, with the reason.
        """
        if what not in self.refused and (pattern := N_OF_M.fullmatch(what)):
            what = f"N:{pattern[2]}"
        if what in self.refused:
            remedy = " Leave the control small-dense out." if what == HEADS_AND_NEURONS else ""
            raise SpecError(f"{self.refused[what]}{remedy}")

    def turned(self, structure: str, allocation: str) -> bool:
        """Whether a mask is made of transposed weights, as it goes by their outputs.

        Raises: SpecError, if the network can't have the structure or the allocation.
        """
        self.check(structure)
        self.check(allocation)
        return bool(self.transposed) and depends_on_outputs(structure, allocation)

    @property
    def steps(self) -> int:
        """Optimizer steps of one training."""
        return self.recipe.steps(self.examples)
