"""The network and the data of a workspace, as a finder's job reads them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from torch import nn

from tombola.base.errors import SpecError
from tombola.base.specs import TrainSpec
from tombola.finders.evidence import check_batches, check_examples
from tombola.finders.layout import Layout
from tombola.lab.run.compute import Compute
from tombola.lab.run.workspace import Workspace
from tombola.plan.job_spec import PruneJobSpec
from tombola.tasks.data.batches import training_batches
from tombola.tasks.examples import Batch
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.scope import transposed
from tombola.training.distributed import accelerator
from tombola.training.steps import OnStep

__all__ = ["NetworkAndData"]


@dataclass
class NetworkAndData:
    """The network of a workspace as it stands, and its task's training data."""

    workspace: Workspace
    job: PruneJobSpec
    step: OnStep
    """Called with the optimizer steps done and the steps in all."""
    base: Mask
    """What is pruned already, and stays so."""
    compute: Compute = field(default_factory=Compute, init=False)
    """Compute so far, without its time."""

    @cached_property
    def weights(self) -> Tensors:
        """Name -> weight of the scope, on the CPU."""
        return self._now()

    def _remember_weights(self) -> None:
        """Take `weights` now, before the network changes."""
        _ = self.weights

    def _now(self) -> Tensors:
        return {name: p.detach().cpu().clone() for name, p in self._parameters().items()}

    def _parameters(self) -> dict[str, nn.Parameter]:
        return self.workspace.network.scope(self.job.scope)

    @cached_property
    def layout(self) -> Layout:
        """How the network stores its weights."""
        network = self.workspace.network
        return Layout(network.attention_heads, transposed(network.model, self._parameters()))

    @property
    def _recipe(self) -> TrainSpec:
        """The recipe, by which data are read.

        Raises: SpecError, for a finder that doesn't look at data.
        """
        if self.job.data is None:
            raise SpecError(
                f"expected a finder that looks at weights alone, got {self.job.scores!r} asking "
                "for data. Leave task_free=True out of its decorator."
            )
        return self.job.data.recipe

    def _batches(self, number: int) -> Iterator[Batch]:
        """The first batches of a training."""
        network, recipe = self.workspace.network, self._recipe
        examples = self.workspace.training(recipe)
        last = recipe.steps(len(examples))
        check_batches(number, last)
        every = training_batches(network, self.workspace.task, examples, recipe, first=0, last=last)
        return islice(every, number)

    def _count(self, batch: Batch, *, backward: int = 1) -> None:
        """Count a forward pass, and some backward ones."""
        tokens = int(batch["attention_mask"].sum())
        self.compute += Compute(forward_tokens=tokens, backward_tokens=backward * tokens)

    def _watched(self, batches: int) -> Iterator[Batch]:
        """The first batches of a training; reports how many of them have been read."""
        for number, batch in enumerate(self._batches(batches)):
            self.step(number, batches)
            yield batch

    def _example_batches(self, examples: int) -> Iterator[Batch]:
        """The batches with the first `examples` examples of a training; the last one may be cut."""
        recipe, left = self._recipe, examples
        rows = self.workspace.training(recipe)
        check_examples(examples, recipe, len(rows))
        for batch in self._batches(recipe.steps(len(rows))):
            some = {name: tensor[:left] for name, tensor in batch.items()}
            yield some
            left -= len(some["input_ids"])
            if not left:
                return

    def _model(self) -> nn.Module:
        """The network, on its device and without dropout."""
        model: nn.Module = self.workspace.network.model.to(accelerator().device).eval()
        return model

    def _forward(self, batches: int) -> Iterator[Batch]:
        """The first batches of a training, counted as forward passes."""
        for batch in self._watched(batches):
            yield batch
            self._count(batch, backward=0)

    def progress(self, done: int, of: int) -> None:
        """Report how far the mask is."""
        self.step(done, of)
