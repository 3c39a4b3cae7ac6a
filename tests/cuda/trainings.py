"""Trainings of tiny networks that take a second, on a card or on a CPU."""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from architectures import load, save
from tombola.base.specs import TrainSpec
from tombola.finders.finder import FINDERS
from tombola.lab.run.evidence.of_workspace import WorkspaceEvidence
from tombola.models.network import Network
from tombola.tasks.examples import Examples
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.task import Task
from tombola.ticket.mask import Mask, Tensors
from tombola.training.loop import FitResult, fit
from tombola.training.steps import ignore_step

__all__ = [
    "CASES",
    "DEVICE",
    "PRECISIONS",
    "SPEC",
    "WITHOUT_DROPOUT",
    "Case",
    "case",
    "found",
    "half",
    "needs_card",
]

DEVICE: Any = "cuda" if torch.cuda.is_available() else "cpu"
ENCODERS = ("bert", "roberta", "modernbert")
CASES = [(name, kind) for name in ENCODERS for kind in TASK_KINDS]
"""Encoder and kind of task."""
SPEC = TrainSpec(epochs=4, batch_size=2, learning_rate=1e-3, weight_decay=0.1, seed=3)
"""Eight steps."""
DROPOUTS = {
    "modernbert": ("attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout")
}
WITHOUT_DROPOUT = {
    name: dict.fromkeys(
        DROPOUTS.get(name, ("hidden_dropout_prob", "attention_probs_dropout_prob")), 0.0
    )
    for name in ENCODERS
}


def needs_card(reason: str) -> pytest.MarkDecorator:
    """Skips a test on a CPU."""
    return pytest.mark.skipif(DEVICE == "cpu", reason=reason)


PRECISIONS = [
    "fp32",
    "bf16",
    pytest.param("fp16", marks=needs_card("fp16 trains on a card only")),
]


@dataclass
class Case:
    """A network with a head, four examples and a mask, to be trained any number of times."""

    network: Network
    task: Task
    examples: Examples
    mask: Mask

    def train(self, spec: TrainSpec = SPEC, **more: Any) -> tuple[FitResult, Tensors]:
        """Train from the pre-trained weights: what was done, and the weights on the CPU."""
        self.network.rewind(spec.seed)
        done = fit(
            *(self.network, self.task, self.examples, self.mask, spec), scope="encoder", **more
        )
        return done, self.network.weights()

    def under_mask(self) -> dict[str, torch.nn.Parameter]:
        """The parameters under the mask."""
        return self.network.scope("encoder")


def half(network: Network) -> Mask:
    """A mask that keeps half of the encoder's weights, chosen at random."""
    drawn = torch.Generator().manual_seed(0)
    scope = network.scope("encoder")
    return Mask({n: torch.rand(w.shape, generator=drawn) < 0.5 for n, w in scope.items()})


def case(folder: Path, name: str, kind: str, **changes: Any) -> Case:
    """A case on a new network, whose files are written into the folder first if need be.

    Args:
        folder: of this name and these changes.
        name: of an architecture.
        kind: of the task.
        changes: of the architecture's configuration.
    """
    place = folder if folder.exists() else save(name, folder, **changes)
    network, task, examples = load(place, kind)
    return Case(network, task, examples, half(network))


SMALL = {"every": 1, "examples": 4, "batches": 1, "steps": 2, "members": 2}
"""Knobs of finders, for those that have them."""


def found(one: Case, name: str, precision: str = "fp32", **knobs: Any) -> Mask:
    """The mask that a finder makes of the pre-trained network, of eight steps if it trains."""
    one.network.rewind(SPEC.seed)
    full = Mask.full(one.network.scope("encoder"))
    workspace = SimpleNamespace(
        network=one.network,
        task=one.task,
        training=lambda recipe: one.examples,
        full=lambda scope: full,
    )
    data = SimpleNamespace(recipe=replace(SPEC, precision=precision))
    job = SimpleNamespace(data=data, scope="encoder", scores=name)
    evidence = WorkspaceEvidence(cast(Any, workspace), cast(Any, job), ignore_step, full)
    finder = FINDERS[name]
    own = {knob: x for knob, x in SMALL.items() if knob in finder.spec.__dataclass_fields__}
    spec = finder.spec(sparsity=Decimal("0.5"), **{**own, **knobs})
    mask: Mask = finder.make(evidence, spec, full).mask
    assert all(kept.device.type == "cpu" for kept in mask.values())
    return mask
