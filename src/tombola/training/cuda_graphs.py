"""Gradients as CUDA graphs: a step of hundreds of small kernels costs one launch.

Source: CUDA graphs as in https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tombola.ticket.mask import Mask, Tensors

__all__ = ["Recorder", "on_device", "recorder_of", "resident"]

Differentiate = Callable[[Tensors], Tensor]
"""Adds the gradient of a batch to the parameters' and returns its loss, without synchronising."""


def on_device(batch: Tensors, device: torch.device) -> Tensors:
    """A batch on a CUDA device, copied there behind what runs on it."""
    return {n: t.pin_memory().to(device, non_blocking=True) for n, t in batch.items()}


@dataclass(frozen=True)
class _Graph:
    """A recorded gradient, and the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    loss: Tensor

    def replay(self, batch: Tensors) -> Tensor:
        """The loss of a batch of the shapes recorded."""
        for name, own in self.inputs.items():
            own.copy_(batch[name].pin_memory(), non_blocking=True)
        self.graph.replay()
        return self.loss


class Recorder:
    """The recorded gradients of one network: one for each combination of shapes.

    A recorded gradient reads and writes where it was recorded. So the mask and the gradients stay
    in one place from one training of the network to the next.

    Args:
        model: a model on a CUDA device, where its parameters stay.
        device: its device.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device = device
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._places = self._now()
        self._gradients: list[Tensor | None] = [None for _ in self._parameters]
        self._mask = Mask({})
        self._graphs: dict[Hashable, _Graph] = {}
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def _now(self) -> list[int]:
        return [parameter.data_ptr() for parameter in self._parameters]

    def moved(self) -> bool:
        """Whether a parameter is somewhere else than before."""
        return self._now() != self._places

    def resident(self, mask: Mask) -> Mask:
        """The mask where recorded gradients read it, in place of the one before."""
        if mask.shapes == self._mask.shapes:
            for name, kept in self._mask.items():
                kept.copy_(mask[name])
        else:
            self._mask = Mask({n: kept.to(self.device, copy=True) for n, kept in mask.items()})
            self._graphs.clear()
            self._pool = torch.cuda.graph_pool_handle()  # that of no graph can't be taken again
        return Mask(self._mask)

    def begin(self, setting: Hashable) -> None:
        """Begin a training.

        Args:
            setting: all that decides which kernels run, but for shapes and numbers.
        """
        self._setting = setting
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.zero_()

    def __call__(self, batch: Tensors, differentiate: Differentiate) -> Tensor:
        """Add the gradient of a batch; zero gradients in place afterwards.

        Args:
            batch: on the CPU.
            differentiate: what is recorded. It isn't kept: it refers to the network, which would
                then last as long as its graphs.

        Returns: its loss, to be read before the next call.
        """
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in batch.items())
        key = (self._setting, shapes)
        if key not in self._graphs:
            state = torch.cuda.get_rng_state(self.device)
            try:
                self._graphs[key] = self._record(on_device(batch, self.device), differentiate)
            finally:
                torch.cuda.set_rng_state(state, self.device)  # recording draws nothing
        return self._graphs[key].replay(batch)

    def _record(self, inputs: Tensors, differentiate: Differentiate) -> _Graph:
        self._warm_up(inputs, differentiate)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            loss = differentiate(inputs)
        return _Graph(graph, inputs, loss)

    def _warm_up(self, inputs: Tensors, differentiate: Differentiate) -> None:
        """Let libraries set themselves up, and give a gradient to each parameter that gets one."""
        kept = [None if p.grad is None else p.grad.clone() for p in self._parameters]
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            differentiate(inputs)
            for parameter, before in zip(self._parameters, kept, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(before) if before is not None else parameter.grad.zero_()
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        self._gradients = [parameter.grad for parameter in self._parameters]


_RECORDERS: "WeakKeyDictionary[nn.Module, Recorder]" = WeakKeyDictionary()
"""Network -> its recorded gradients, for as long as it lasts."""


def recorder_of(model: nn.Module, device: torch.device) -> Recorder:
    """The recorder of a network; a new one if its parameters have moved."""
    found = _RECORDERS.get(model)
    if found is None or found.moved():
        _RECORDERS[model] = Recorder(model, device)
    return _RECORDERS[model]


def resident(model: nn.Module, mask: Mask, device: torch.device) -> Mask:
    """The mask on the device of a network, on a GPU where its recorded gradients read it."""
    return recorder_of(model, device).resident(mask) if device.type == "cuda" else mask
