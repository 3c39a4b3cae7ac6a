"""What a finder looks at, from the network and the data of a workspace."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from tombola.base.errors import SpecError
from tombola.base.specs import TrainSpec
from tombola.finders.evidence import AfterBackward, AfterStep, Pruner, check_batches
from tombola.lab.run.workspace import Workspace
from tombola.plan.job_spec import PruneJob
from tombola.tasks.examples import Batch
from tombola.ticket.mask import Tensors
from tombola.training.distributed import accelerator
from tombola.training.gradient import differentiating, to_device
from tombola.training.loop import fit, training_batches

__all__ = ["WorkspaceEvidence"]


@dataclass
class WorkspaceEvidence:
    """The network of a workspace as it stands, and its task; see `finders.evidence.Evidence`."""

    workspace: Workspace
    job: PruneJob
    step: Callable[[int, int], None]
    """Called with the optimizer steps done and the steps in all."""
    _gradients: dict[int, Tensors] = field(default_factory=dict)
    _activations: dict[int, Tensors] = field(default_factory=dict)

    @cached_property
    def weights(self) -> Tensors:
        """Name -> weight of the scope, on the CPU."""
        return self._now()

    def _now(self) -> Tensors:
        return {name: p.detach().cpu().clone() for name, p in self._parameters().items()}

    def _live(self) -> Tensors:
        """Name -> weight of the scope, where the network has it."""
        return {name: p.detach() for name, p in self._parameters().items()}

    def _gradients_now(self) -> Tensors:
        """Name -> gradient of those that have one, where the network has it."""
        return {n: p.grad for n, p in self._parameters().items() if p.grad is not None}

    def _parameters(self) -> dict[str, nn.Parameter]:
        return self.workspace.network.scope(self.job.scope)

    @property
    def heads(self) -> int:
        """Attention heads of a block; 0 if the configuration has none."""
        return self.workspace.network.attention_heads

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

    def gradients(self, batches: int) -> Tensors:
        """Name -> gradient of the mean loss over these batches, as float32 on the CPU."""
        if batches not in self._gradients:
            self._gradients[batches] = self._mean_gradients(batches)
        return self._gradients[batches]

    def _mean_gradients(self, batches: int) -> Tensors:
        network, here = self.workspace.network, accelerator()
        network.model.to(here.device).eval()
        network.model.zero_grad()
        scaler = GradScaler(here.device.type, enabled=False)
        with differentiating(network, self.workspace.task, self._recipe, here) as arithmetic:
            for batch in self._batches(batches):
                arithmetic.backward(batch, scaler, save=False)
        found = {
            name: torch.zeros_like(p, device="cpu")
            if p.grad is None
            else p.grad.detach().float().cpu() / batches
            for name, p in self._parameters().items()
        }
        network.model.zero_grad()
        return found

    def activations(self, batches: int) -> Tensors:
        """Name -> sum over tokens of the squared inputs of each linear layer, (inputs,)."""
        if batches not in self._activations:
            self._activations[batches] = self._squared_inputs(batches)
        return self._activations[batches]

    @torch.no_grad()
    def _squared_inputs(self, batches: int) -> Tensors:
        model, device = self.workspace.network.model, accelerator().device
        model.to(device).eval()
        names = {id(p): name for name, p in self._parameters().items()}
        found: Tensors = {}
        kept: dict[str, Tensor] = {}

        def count(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                rows = inputs[0][kept["tokens"]] if inputs[0].ndim == 3 else inputs[0]
                squares = rows.reshape(-1, rows.shape[-1]).double().square().sum(0).cpu()
                found[name] = found[name] + squares if name in found else squares

            return hook

        with ExitStack() as hooks:
            for module in model.modules():
                weight = getattr(module, "weight", None)
                if id(weight) in names:
                    hook = module.register_forward_pre_hook(count(names[id(weight)]))
                    hooks.enter_context(hook)
            for batch in self._batches(batches):
                here = to_device(batch, device)
                kept["tokens"] = here["attention_mask"].bool()
                model(**here)
        return {name: squares.float() for name, squares in found.items()}

    def train(
        self,
        *,
        after_backward: "AfterBackward | None" = None,
        after_step: "AfterStep | None" = None,
        pruner: Pruner | None = None,
    ) -> Tensors:
        """Train the network by the recipe, pruned meanwhile by a pruner; name -> trained weight."""
        workspace, recipe = self.workspace, self._recipe
        _ = self.weights  # as they were before

        def watch(done: int, steps: int) -> None:
            if pruner:
                pruner.after_step(done, steps, self._live())
            self.step(done, steps)
            if after_step:
                after_step(done, self._now())

        def differentiated() -> None:
            if pruner:
                pruner.before_step(self._live(), self._gradients_now())

        with ExitStack() as hooks:
            for name, parameter in self._parameters().items() if after_backward else ():
                hooks.enter_context(parameter.register_hook(_calling(after_backward, name)))
            done = fit(
                workspace.network,
                workspace.task,
                workspace.training(recipe),
                workspace.full(self.job.scope),
                recipe,
                scope=self.job.scope,
                on_step=watch,
                on_gradient=differentiated,
                replay=after_backward is None,
            )
        if done.diverged:
            raise SpecError(
                f"the training of the mask {done.diverged}. Take a lower learning rate."
            )
        return self._now()


def _calling(after_backward: "AfterBackward | None", name: str) -> Callable[[Tensor], None]:
    def hook(gradient: Tensor) -> None:
        if after_backward:
            after_backward(name, gradient.detach().cpu())

    return hook
