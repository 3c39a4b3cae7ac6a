"""One network, one task, its data: where a masked network is trained and scored."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path

import torch

from tombola.lab.runs import Run, Runs
from tombola.specs import TrainSpec
from tombola.study.matching import refuse_mixed
from tombola.task.baselines import trivial_score
from tombola.task.data import Examples, data_fingerprint, encode, read_split
from tombola.task.metrics import METRICS
from tombola.task.models import Network, load_network
from tombola.task.tasks import Task
from tombola.task.train import evaluate, fit, numerics, steps_of
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.scope import whole_model_size
from tombola.ticket.score import SCORERS, Evidence

__all__ = ["Bench", "Watch"]


class Watch:
    """Somebody who is told how an experiment goes; this one keeps it to himself."""

    def plan(self, trainings: int, steps: int) -> None:
        """So many trainings are coming, of so many steps each."""

    def start(self, name: str) -> None:
        """A training begins."""

    def step(self) -> None:
        """One step of it is done."""

    def finish(self, name: str, score: float, *, kept: bool) -> None:
        """A training has ended with that score, or was kept from an earlier sitting."""


@dataclass
class Bench:
    """A network, a task and its tokenised data."""

    network: Network
    task: Task
    training: Examples
    test: Examples
    scope: str
    spec: TrainSpec
    """The recipe; its seed is replaced by each run's."""
    data: str
    """Fingerprint of the data."""

    @classmethod
    def open(
        cls, model: str, task: Task, spec: TrainSpec, *, scope: str, folder: Path | None = None
    ) -> "Bench":
        """Load the network and the data.

        Args:
            model: an embedded name, a folder or a hub id.
            task: what to train on.
            spec: the recipe.
            scope: the weights that may be pruned.
            folder: data from elsewhere than the package.

        Raises: ModelError, DataError, SpecError.
        """
        rows, held_out = (read_split(task, name, folder) for name in ("train", task.test_split))
        network = load_network(model, task.kind, len(task.labels))
        network.scope(scope)
        training, test = (
            encode(split, task, network.tokenizer, max_length=spec.max_length)
            for split in (rows, held_out)
        )
        network.check_length(max(*training.lengths, *test.lengths))
        return cls(
            network=network,
            task=task,
            training=training,
            test=test,
            scope=scope,
            spec=spec,
            data=data_fingerprint(rows, held_out),
        )

    @property
    def steps(self) -> int:
        """Optimizer steps of one training."""
        return steps_of(len(self.training), self.spec)

    @property
    def full(self) -> Mask:
        """The mask of the dense network."""
        return Mask.full(self.network.scope(self.scope))

    @property
    def trivial(self) -> float:
        """Score of the trivial baseline on the test split, in points."""
        return trivial_score(self.network, self.task, self.training, self.test)

    def whole_model_sparsity(self, mask: Mask) -> float:
        """Dead weights as a fraction of the whole backbone, embeddings included."""
        return mask.dead / whole_model_size(self.network.model)

    def score(self, run: Run) -> Callable[..., float]:
        """Test examples, by number -> the run's score on them, in points."""
        metric = METRICS[self.task.metric]
        return lambda numbers: metric(run.outcome[numbers])

    def train(
        self,
        runs: Runs,
        name: str,
        mask: Mask,
        *,
        seed: int,
        init: str = "pretrained",
        prune_to: Decimal | None = None,
        watch: Watch,
    ) -> Run:
        """Train and score the masked network of a seed, unless that was done before.

        Args:
            runs: where it is kept.
            name: under which name.
            mask: which weights live.
            seed: of head, data order and dropout.
            init: what the living weights start from.
            prune_to: sparsity of the mask taken from the trained magnitudes; None to take none.
            watch: told how it goes.

        Raises: SpecError, if runs kept from before were made with other numerics.
        """
        run = runs.load(name, mask.shapes)
        if run is None:
            refuse_mixed([*runs.numerics, numerics(self.spec)])
            watch.start(name)
            run = self._train(mask, seed, init, prune_to, watch)
            runs.save(name, run)
            watch.finish(name, run.score, kept=False)
        else:
            watch.finish(name, run.score, kept=True)
        return run

    def _train(
        self, mask: Mask, seed: int, init: str, prune_to: Decimal | None, watch: Watch
    ) -> Run:
        began = time.monotonic()
        spec = replace(self.spec, seed=seed)
        self.network.rewind(seed, init=init, scope=self.scope)
        done = fit(
            self.network,
            self.task,
            self.training,
            mask,
            spec,
            scope=self.scope,
            watch=lambda *_: watch.step(),
        )
        if prune_to is not None:
            mask = keep_top(self._magnitudes(), mask, sparsity=prune_to)
        outcome = evaluate(self.network, self.task, self.test)
        facts = {
            **asdict(done),
            "seconds": time.monotonic() - began,
            "numerics": numerics(spec),
        }
        score = METRICS[self.task.metric](outcome)
        return Run(score=score, outcome=outcome, facts=facts, mask=mask)

    def _magnitudes(self) -> dict[str, torch.Tensor]:
        parameters = self.network.scope(self.scope)
        weights = {name: parameter.detach().cpu() for name, parameter in parameters.items()}
        return SCORERS["magnitude"](Evidence(weights=weights))

    def one_shot(self, sparsity: Decimal) -> Mask:
        """The mask of the largest pre-trained weights."""
        self.network.rewind(0)
        return keep_top(self._magnitudes(), self.full, sparsity=sparsity)
