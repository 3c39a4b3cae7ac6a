"""One network with the head of a task, and the task's data: where masked networks are trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import torch

from tombola.errors import ModelError
from tombola.lab.order import Order
from tombola.specs import TrainSpec
from tombola.task.baselines import trivial_score
from tombola.task.data import Examples, encode, read_split
from tombola.task.models import Network, load_network, stream
from tombola.task.tasks import Task, load_task
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.scope import whole_model_size
from tombola.ticket.score import SCORERS, Evidence

__all__ = ["Bench", "Benches"]


@dataclass
class Bench:
    """A network, a task, and the task's data as far as somebody has asked for them."""

    network: Network
    task: Task
    folder: Path | None
    _encoded: dict[tuple[str, int, int], Examples] = field(default_factory=dict)
    _trivial: dict[tuple[int, int], float] = field(default_factory=dict)

    @classmethod
    def open(cls, order: Order) -> "Bench":
        """Load the network of an order.

        Raises: ModelError, if it can't be loaded.
        """
        task = load_task(order.task)
        network = load_network(order.model, task.kind, len(task.labels))
        network.scope(order.scope)
        return cls(network, task, None if order.folder is None else Path(order.folder))

    def check(self, fingerprint: str) -> None:
        """Refuse a network that is not the one whose name stands in a job.

        Raises: ModelError, if it has changed.
        """
        if self.network.fingerprint != fingerprint:
            raise ModelError(
                f"expected the network {fingerprint[:12]} in {self.network.name!r}, got "
                f"{self.network.fingerprint[:12]}: it has changed. Run the same command again."
            )

    def training(self, spec: TrainSpec) -> Examples:
        """Tokenised examples of the training split."""
        return self._examples("train", spec.max_length, 0)

    def test(self, spec: TrainSpec) -> Examples:
        """Tokenised examples of the split that scores come from."""
        return self._examples(self.task.test_split, spec.max_length, spec.test_limit)

    def _examples(self, split: str, max_length: int, limit: int) -> Examples:
        name = (split, max_length, limit)
        if name not in self._encoded:
            rows = read_split(self.task, split, self.folder)[: limit or None]
            encoded = encode(rows, self.task, self.network.tokenizer, max_length=max_length)
            self.network.check_length(int(max(encoded.lengths)))
            self._encoded[name] = encoded
        return self._encoded[name]

    def trivial(self, spec: TrainSpec) -> float:
        """Score of the trivial baseline on the test split, in points."""
        name = (spec.max_length, spec.test_limit)
        if name not in self._trivial:
            self._trivial[name] = trivial_score(
                self.network, self.task, self.training(spec), self.test(spec)
            )
        return self._trivial[name]

    @property
    def backbone_size(self) -> int:
        """Weights of the whole backbone, embeddings included."""
        return whole_model_size(self.network.model)

    def full(self, scope: str) -> Mask:
        """The mask of the dense network."""
        return Mask.full(self.network.scope(scope))

    def prune(self, spec: Mapping[str, Any], base: Mask, scope: str) -> Mask:
        """Kill the lowest-scored living weights of the network as it stands.

        Args:
            spec: of a prune job: scores, sparsity, seed.
            base: what is dead already.
            scope: the weights that may die.
        """
        evidence = Evidence(
            weights={name: p.detach().cpu() for name, p in self.network.scope(scope).items()},
            generator=torch.Generator().manual_seed(stream(spec.get("seed", 0), "random mask")),
            heads=int(getattr(self.network.model.config, "num_attention_heads", 0)),
        )
        scores = SCORERS[spec["scores"]](evidence)
        return keep_top(scores, base, sparsity=Decimal(spec["sparsity"]))


class Benches:
    """The network that a process works with; the next one takes its place."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str | None], Bench] = {}

    def of(self, order: Order) -> Bench:
        """The bench for an order, loaded unless it is at hand."""
        name = (order.model, order.task, order.folder)
        if name not in self._open:
            self._open.clear()
            self._open[name] = Bench.open(order)
        return self._open[name]
