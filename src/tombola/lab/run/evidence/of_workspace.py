"""What a finder looks at, from the network and the data of a workspace."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.attention import SDPBackend, sdpa_kernel

from tombola.base.errors import SpecError
from tombola.base.specs import TrainSpec
from tombola.finders.evidence import AfterBackward, AfterStep, Pruner, check_batches, check_examples
from tombola.lab.run.compute import Compute
from tombola.lab.run.evidence.example_gradients import (
    ExampleGradients,
    OneExample,
    add_hessian_product,
    added,
    calls_of,
    splits_by_example,
)
from tombola.lab.run.evidence.layer_inputs import input_products, squared_inputs, transposed
from tombola.lab.run.evidence.watched_training import (
    Pruning,
    calling,
    part_of,
    under,
    zero_gradients,
)
from tombola.lab.run.workspace import Workspace
from tombola.plan.job_spec import PruneJob
from tombola.tasks.data.batches import training_batches
from tombola.tasks.distillation import Teacher
from tombola.tasks.examples import Batch
from tombola.ticket.mask import Mask, Tensors
from tombola.training.checkpoint import Checkpoint
from tombola.training.distributed import accelerator
from tombola.training.gradient import differentiating, to_device
from tombola.training.loop import fit
from tombola.training.steps import OnStep

__all__ = ["WorkspaceEvidence"]


@dataclass
class WorkspaceEvidence:
    """The network of a workspace as it stands, and its task; see `finders.evidence.Evidence`."""

    workspace: Workspace
    job: PruneJob
    step: OnStep
    """Called with the optimizer steps done and the steps in all."""
    base: Mask
    """What is pruned already, and stays so."""
    teacher: Teacher | None = None
    """What a network learns from while a mask is trained, besides the labels."""
    checkpoint: Callable[[str], Checkpoint] | None = None
    """Name of a training within the job -> the place where it is kept while it lasts."""
    compute: Compute = field(default_factory=Compute)
    """Compute so far, without its time."""
    earlier_seconds: float = 0.0
    """Seconds of its trainings before this process resumed them."""
    _trainings: int = 0
    _done: int = 0
    """Steps of the trainings before this one."""
    _start: Tensors | None = None
    """All weights as they were before the first of several trainings."""
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

    def _count(self, batch: Batch, *, backward: int = 1) -> None:
        """Count a forward pass, and some backward ones."""
        tokens = int(batch["attention_mask"].sum())
        self.compute += Compute(forward_tokens=tokens, backward_tokens=backward * tokens)

    def _watched(self, batches: int) -> Iterator[Batch]:
        """The first batches of a training; reports how many of them have been read."""
        for number, batch in enumerate(self._batches(batches)):
            self.step(number, batches)
            yield batch

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
            for batch in self._watched(batches):
                arithmetic.backward(batch, scaler, save=False)
                self._count(batch)
        found = added(self._parameters(), batches)
        network.model.zero_grad()
        return found

    def activations(self, batches: int) -> Tensors:
        """Name -> sum over tokens of the squared inputs of each linear layer, (inputs,), or
        (inputs, 1) where the weight is stored as (inputs, outputs)."""
        if batches not in self._activations:
            model, read = self._model(), self._forward(batches)
            self._activations[batches] = squared_inputs(model, self._parameters(), read)
        return self._activations[batches]

    def input_products(self, batches: int, weights: Tensors, names: Collection[str]) -> Tensors:
        """Name -> sum over tokens of the products of its layer's inputs, (inputs, inputs)."""
        _ = self.weights  # as they are
        parameters = self._parameters()
        some = {name: p for name, p in parameters.items() if name in names}
        with under(Mask.full(parameters), parameters), torch.no_grad():
            for name, weight in weights.items():
                parameters[name].copy_(weight)
            return input_products(self._model(), some, self._forward(batches))

    def _model(self) -> nn.Module:
        """The network, on its device and without dropout."""
        model: nn.Module = self.workspace.network.model.to(accelerator().device).eval()
        return model

    def _forward(self, batches: int) -> Iterator[Batch]:
        """The first batches of a training, counted as forward passes."""
        for batch in self._watched(batches):
            yield batch
            self._count(batch, backward=0)

    @property
    def transposed(self) -> frozenset[str]:
        """Weights that are stored as (inputs, outputs)."""
        return transposed(self.workspace.network.model, self._parameters())

    def example_gradients(self, examples: int, mask: Mask | None = None) -> Iterator[Tensors]:
        """Name -> gradient of the loss of one example, as float32 on the CPU, for each of them."""
        network, here = self.workspace.network, accelerator()
        _ = self.weights  # as they are without the mask
        network.model.to(here.device).eval()
        scaler = GradScaler(here.device.type, enabled=False)
        with (
            under(mask, self._parameters()),
            differentiating(network, self.workspace.task, self._recipe, here) as arithmetic,
        ):
            for batch in self._example_batches(examples):
                for row in range(len(batch["input_ids"])):
                    network.model.zero_grad()
                    one = {name: tensor[row : row + 1] for name, tensor in batch.items()}
                    arithmetic.backward(one, scaler, save=False)
                    self._count(one)
                    yield added(self._parameters())
        network.model.zero_grad()

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

    def squared_gradients(
        self, examples: int, mask: Mask | None = None, *, look: int = 0, looks: int = 1
    ) -> Tensors:
        """Name -> mean over examples of the squared gradient of one, as float32 on the CPU."""
        _ = self.weights  # as they are without the mask
        parameters, done = self._parameters(), look * examples
        total = {name: torch.zeros_like(p.detach()).float() for name, p in parameters.items()}
        with under(mask, self._parameters()):
            for part in self._parts(examples, parameters):
                part.add_squares(total)
                done += part.examples
                self.step(done, looks * examples)
        return {name: squares.cpu() / examples for name, squares in total.items()}

    def gate_gradients(self, examples: int, names: Collection[str]) -> Tensors:
        """Name -> gradient of a gate on each input, (examples, inputs), as float32 on the CPU."""
        parameters = {name: p for name, p in self._parameters().items() if name in names}
        found: list[Tensors] = []
        done = 0
        for part in self._parts(examples, parameters):
            found.append({name: part.gates(name, p) for name, p in parameters.items()})
            done += part.examples
            self.step(done, examples)
        return {name: torch.cat([each[name] for each in found]).cpu() for name in names}

    def _parts(self, examples: int, parameters: Mapping[str, Tensor]) -> Iterator[ExampleGradients]:
        """The gradients of the first examples of a training, by batch where possible."""
        network, here, every = (
            self.workspace.network,
            accelerator(),
            self._example_batches(examples),
        )
        network.model.to(here.device).eval()
        self._count(first := next(every), backward=0)
        if not splits_by_example(network.model, parameters, to_device(first, here.device)):
            yield from map(OneExample, self.example_gradients(examples))
            return
        plain = replace(self._recipe, compile=False, gradient_checkpointing=False)
        with differentiating(network, self.workspace.task, plain, here) as arithmetic:
            for batch in chain([first], every):
                parts = min(plain.accumulation, len(batch["input_ids"]))
                for rows in torch.arange(len(batch["input_ids"])).tensor_split(parts):
                    part = {name: tensor[rows] for name, tensor in batch.items()}
                    self._count(part)
                    yield calls_of(arithmetic, parameters, to_device(part, here.device))

    def progress(self, done: int, of: int) -> None:
        """Report how far the mask is."""
        self.step(done, of)

    def hessian_product(self, batches: int, vectors: Tensors) -> Tensors:
        """Name -> Hessian of the mean loss over these batches times vectors, on the CPU."""
        network, recipe, here = self.workspace.network, self._recipe, accelerator()
        network.model.to(here.device).eval()
        network.model.zero_grad()
        parameters = self._parameters()
        along = [(p, vectors[name].to(here.device)) for name, p in parameters.items()]
        plain = replace(recipe, precision="fp32", compile=False, gradient_checkpointing=False)
        with (
            differentiating(network, self.workspace.task, plain, here),
            sdpa_kernel(SDPBackend.MATH),  # the others have no second derivative
        ):
            for batch in self._watched(batches):
                add_hessian_product(network.model, to_device(batch, here.device), along)
                self._count(batch, backward=2)
        found = added(self._parameters(), batches)
        network.model.zero_grad()
        return found

    def _part(self, parts: int, part: int) -> TrainSpec:
        """The recipe of one of several short trainings, each from where the first begins."""
        network, recipe = self.workspace.network, self._recipe
        if self._start is None:
            self._start = network.weights()
        network.load(self._start)
        return part_of(recipe, len(self.workspace.training(recipe)), parts, part)

    def _checkpoint(self) -> Checkpoint | None:
        """Where the next training is kept."""
        self._trainings += 1
        return self.checkpoint(f"training {self._trainings}") if self.checkpoint else None

    def train(
        self,
        *,
        after_backward: "AfterBackward | None" = None,
        after_step: "AfterStep | None" = None,
        pruner: Pruner | None = None,
        frozen: bool = False,
        parts: int = 1,
        part: int = 0,
    ) -> Tensors:
        """Train the network by the recipe, pruned meanwhile by a pruner; name -> trained weight."""
        workspace = self.workspace
        recipe = self._part(parts, part) if parts > 1 else self._recipe
        if frozen:  # nor does weight decay move anything
            recipe = replace(recipe, weight_decay=0.0)
        _ = self.weights  # as they were before

        def watch(done: int, steps: int, loss: float | None = None) -> None:
            self.step(self._done + done, steps * parts, loss)
            if after_step:
                after_step(done, self._now())

        def differentiated() -> None:
            if pruner:
                pruner.before_step(self._live(), self._gradients_now())
            if frozen:
                zero_gradients(workspace.network.model)

        with calling(after_backward, self._parameters()):
            done = fit(
                workspace.network,
                workspace.task,
                workspace.training(recipe),
                self.base,
                recipe,
                scope=self.job.scope,
                on_step=watch,
                on_gradient=differentiated,
                companion=Pruning(pruner, self._live) if pruner else None,
                checkpoint=self._checkpoint() if not (after_backward or after_step) else None,
                replay=after_backward is None,
                teacher=self.teacher,
            )
        taught = done.tokens if self.teacher else 0
        self.compute += Compute.of_training(done.tokens, done.steps, teacher_tokens=taught)
        self.earlier_seconds += done.earlier_seconds
        self._done += done.steps
        if fault := done.diverged:
            raise SpecError(f"the training of the mask {fault}. Take a lower learning rate.")
        return self._now()
