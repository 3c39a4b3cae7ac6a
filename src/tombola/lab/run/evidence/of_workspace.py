"""What a finder looks at, from the network and the data of a workspace."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.nn.attention import SDPBackend, sdpa_kernel

from tombola.base.errors import SpecError, TrainingDivergedError
from tombola.base.specs import TrainSpec
from tombola.finders.evidence import AfterBackward, AfterStep, Pruner
from tombola.lab.run.allotment import memory
from tombola.lab.run.compute import Compute
from tombola.lab.run.evidence.example_gradients import (
    ExampleGradients,
    OneExample,
    add_hessian_product,
    added,
    calls_of,
    splits_by_example,
)
from tombola.lab.run.evidence.layer_inputs import input_products, squared_inputs
from tombola.lab.run.evidence.network_and_data import NetworkAndData
from tombola.lab.run.evidence.watched_training import (
    Pruning,
    at_weights,
    calling,
    part_of,
    under,
    zero_gradients,
)
from tombola.tasks.distillation import FeatureTeacher, Teacher
from tombola.ticket.mask import Mask, Tensors
from tombola.training.checkpoint import Checkpoint
from tombola.training.determinism import repeatable
from tombola.training.distributed import accelerator
from tombola.training.gradient import differentiating, to_device
from tombola.training.loop import FitResult, fit
from tombola.training.steps import Diverged

__all__ = ["SearchDivergedError", "WorkspaceEvidence"]

GIB = 1 << 30


class SearchDivergedError(TrainingDivergedError):
    """Ends the search for a mask whose training diverged."""

    def __init__(self, fault: Diverged) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass
class WorkspaceEvidence(NetworkAndData):
    """The network of a workspace as it stands, and its task; see `finders.evidence.Evidence`."""

    teacher: Teacher | None = None
    """What a network learns from while a mask is trained, besides the labels."""
    checkpoint: Callable[[str], Checkpoint] | None = None
    """Name of a training within the job -> the place where it is kept while it lasts."""
    earlier_seconds: float = 0.0
    """Seconds of its trainings before this process resumed them."""
    steps: int = 0
    """Steps of its trainings so far."""
    _trainings: int = 0
    _done: int = 0
    """Steps of the trainings before this one."""
    _start: Tensors | None = None
    """All weights as they were before the first of several trainings."""
    _gradients: dict[int, Tensors] = field(default_factory=dict)
    _activations: dict[int, Tensors] = field(default_factory=dict)

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
        self._remember_weights()
        parameters = self._parameters()
        some = {name: p for name, p in parameters.items() if name in names}
        with at_weights(weights, parameters), torch.no_grad():
            return input_products(self._model(), some, self._forward(batches))

    def example_gradients(self, examples: int, mask: Mask | None = None) -> Iterator[Tensors]:
        """Name -> gradient of the loss of one example, as float32 on the CPU, for each of them."""
        network, here = self.workspace.network, accelerator()
        self._remember_weights()
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

    def squared_gradients(
        self, examples: int, mask: Mask | None = None, *, estimate: int = 0, estimates: int = 1
    ) -> Tensors:
        """Name -> mean over examples of the squared gradient of one, as float32 on the CPU."""
        self._remember_weights()
        parameters, device = self._parameters(), accelerator().device  # not there yet, perhaps
        total = {name: torch.zeros(p.shape, device=device) for name, p in parameters.items()}
        with under(mask, parameters):
            for part in self._estimated(examples, estimate, estimates):
                part.add_squares(total)
        return {name: squares.cpu() / examples for name, squares in total.items()}

    def fisher_blocks(
        self, examples: int, size: int, weights: Tensors, *, estimate: int = 0, estimates: int = 1
    ) -> Tensors:
        """Name -> mean over examples of the products of `size` consecutive gradients, as float32 on
        the CPU, (blocks, size, size)."""
        self._remember_weights()
        parameters = self._parameters()
        _check_room(size, sum(p.numel() for p in parameters.values()))
        total = {
            name: torch.zeros(-(-p.numel() // size), size, size, device=accelerator().device)
            for name, p in parameters.items()
        }
        with at_weights(weights, parameters):
            for part in self._estimated(examples, estimate, estimates):
                part.add_blocks(total)
        return {name: blocks.div_(examples).cpu() for name, blocks in total.items()}

    def _estimated(
        self, examples: int, estimate: int, estimates: int
    ) -> Iterator[ExampleGradients]:
        """The gradients of the first examples of a training; reports how far all estimates are."""
        done = estimate * examples
        for part in self._parts(examples, self._parameters()):
            yield part
            done += part.examples
            self.step(done, estimates * examples)

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
                    there = to_device(part, here.device)
                    yield repeatable(partial(calls_of, arithmetic, parameters, there))

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
                there = to_device(batch, here.device)
                repeatable(
                    partial(add_hessian_product, network.model, there, along),
                    network.model.zero_grad,
                )
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

    def _teacher(self, share: float) -> Teacher | FeatureTeacher | None:
        """The pre-trained network, if a share of the loss is learned from it, or the recipe's."""
        return FeatureTeacher.of(self.workspace.network, share) if share else self.teacher

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
        feature_distill: float = 0.0,
        parts: int = 1,
        part: int = 0,
    ) -> Tensors:
        """Train the network by the recipe, while a pruner prunes it; name -> trained weight."""
        workspace, teacher = self.workspace, self._teacher(feature_distill)
        recipe = self._part(parts, part) if parts > 1 else self._recipe
        if frozen:
            recipe = replace(recipe, weight_decay=0.0)  # it moves weights
        self._remember_weights()
        parameters = self._parameters()  # finding them takes 7 ms in BERT-base
        live = partial(_detached, parameters)

        def watch(done: int, steps: int, loss: float | None = None) -> None:
            self.steps = self._done + done
            self.step(self.steps, steps * parts, loss)
            if after_step:
                after_step(done, self._now())

        def differentiated() -> None:
            if pruner:
                gradients = {n: p.grad for n, p in parameters.items() if p.grad is not None}
                pruner.before_step(live(), gradients)
            if frozen:
                zero_gradients(workspace.network.model)

        with calling(after_backward, parameters):
            done = fit(
                workspace.network,
                workspace.task,
                workspace.training(recipe),
                self.base,
                recipe,
                scope=self.job.scope,
                on_step=watch,
                on_gradient=differentiated,
                companion=Pruning(pruner, live) if pruner else None,
                checkpoint=self._checkpoint() if not (after_backward or after_step) else None,
                replay=after_backward is None,
                teacher=teacher,
            )
        return self._trained(done, taught=teacher is not None)

    def _trained(self, done: FitResult, *, taught: bool) -> Tensors:
        """Count a training that has ended; name -> trained weight."""
        tokens = done.tokens if taught else 0
        self.compute += Compute.of_training(done.tokens, done.steps, teacher_tokens=tokens)
        self.earlier_seconds += done.earlier_seconds
        self._done += done.steps
        if done.diverged:
            raise SearchDivergedError(done.diverged)
        return self._now()


def _detached(parameters: Mapping[str, Tensor]) -> Tensors:
    return {name: p.detach() for name, p in parameters.items()}


def _check_room(size: int, weights: int) -> None:
    """Refuse blocks of a Fisher matrix that are larger than the memory of this machine."""
    needed, there = 4 * size * weights / GIB, memory() / GIB
    if needed > there:
        raise SpecError(
            f"the Fisher matrix in blocks of {size} takes {needed:,.1f} GiB, and this machine has "
            f"{there:,.1f}. Use a smaller block_size."
        )
