"""Gradients as CUDA graphs: a step of hundreds of small kernels costs one launch.

Source: CUDA graphs as in https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tombola.ticket.mask import Tensors

__all__ = ["GradientGraphs", "on_device"]

Differentiate = Callable[[Tensors], Tensor]
"""Adds the gradient of a batch to the parameters' and returns its loss, without synchronising."""
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def on_device(batch: Tensors, device: torch.device) -> Tensors:
    """The same batch on a CUDA device, copied behind what runs there."""
    return {n: t.pin_memory().to(device, non_blocking=True) for n, t in batch.items()}


@dataclass(frozen=True)
class _Graph:
    """A captured gradient, and the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    loss: Tensor

    def replay(self, batch: Tensors) -> Tensor:
        """The loss of a batch of the shapes captured."""
        for name, own in self.inputs.items():
            own.copy_(batch[name].pin_memory(), non_blocking=True)
        self.graph.replay()
        return self.loss


class GradientGraphs:
    """The gradient of a batch, captured once for each combination of shapes.

    Args:
        differentiate: what is captured.
        parameters: that have a gradient; each keeps it in the same memory, so zero it in place.
        device: of the parameters.
    """

    def __init__(
        self,
        differentiate: Differentiate,
        parameters: Iterable[nn.Parameter],
        device: torch.device,
    ) -> None:
        self.differentiate, self.device = differentiate, device
        self.parameters = list(parameters)
        self._graphs: dict[Shapes, _Graph] = {}
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, batch: Tensors) -> Tensor:
        """Add the gradient of a batch, which is on the CPU.

        Returns: its loss, to be read before the next call.
        """
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in batch.items())
        if shapes not in self._graphs:
            state = torch.cuda.get_rng_state(self.device)  # capturing draws nothing
            self._graphs[shapes] = self._capture(on_device(batch, self.device))
            torch.cuda.set_rng_state(state, self.device)
        return self._graphs[shapes].replay(batch)

    def _capture(self, inputs: Tensors) -> _Graph:
        self._warm_up(inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            loss = self.differentiate(inputs)
        return _Graph(graph, inputs, loss)

    def _warm_up(self, inputs: Tensors) -> None:
        """Let libraries set themselves up, and each parameter that gets a gradient have one."""
        kept = [None if p.grad is None else p.grad.clone() for p in self.parameters]
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            self.differentiate(inputs)
            for parameter, before in zip(self.parameters, kept, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(before) if before is not None else parameter.grad.zero_()
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
