"""Clip, step and mask: by torch's AdamW, or in one pass of the C extension.

Where few weights of a tensor are kept, the others have no moments. Rows of an embedding that no
batch has had cost nothing: their moments are zero, so that a step changes them by weight decay
only. The result is bitwise identical to that of a step over the whole matrix.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from math import sqrt
from typing import Any, cast

import torch
from torch import Tensor, nn

from tombola.base.specs import IN_C, TrainSpec
from tombola.kernel.fused import loops
from tombola.kernel.fused.extension import available
from tombola.kernel.fused.loops import AdamWStep, Rows
from tombola.ticket.hold.parameters import hold
from tombola.ticket.mask import Mask

__all__ = ["KeptAdamW", "clip_gradient", "held", "optimizer_of"]

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Names of the moments in the state of torch's AdamW."""
FEW = 0.25
"""Fraction of a tensor's weights: if no more are kept, only those have moments. With more, finding
them in each step would cost more time than the memory is worth."""


def optimizer_of(model: nn.Module, spec: TrainSpec, kernel: str) -> torch.optim.Optimizer:
    """The optimizer of a recipe: torch's AdamW, or with the kernels in C the one here."""
    if kernel in IN_C and available():
        return KeptAdamW(model.parameters(), spec.learning_rate, spec.weight_decay)
    return torch.optim.AdamW(
        model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
    )


def clip_gradient(optimizer: torch.optim.Optimizer, model: nn.Module, most: float) -> Tensor:
    """Clip the gradient of a model to a norm; returns the norm before."""
    if isinstance(optimizer, KeptAdamW):
        return optimizer.clip(most)
    return nn.utils.clip_grad_norm_(model.parameters(), most)


@contextmanager
def held(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    mask: Mask,
    *,
    reader: object,
    ranks: int,
) -> Iterator[Callable[[], None]]:
    """Hold pruned weights at zero, and their gradients at least until they are clipped.

    Args:
        optimizer: an optimizer of `optimizer_of`.
        model: the optimizer's.
        parameters: those of the scope.
        mask: same names and shapes.
        reader: what reads gradients before they are clipped, or None; with a reader they are
            dense, and zero where a weight is pruned.
        ranks: processes that sum their gradients, which are dense if there are several.

    Yields: what to call after each step.
    """
    if isinstance(optimizer, KeptAdamW) and reader is None:
        rows = nullcontext() if ranks > 1 else _sparse_gradient(model)
        with optimizer.hold(parameters, mask), rows:
            yield lambda: None
    else:
        with hold(parameters, mask) as mine:
            yield partial(mine.fill, parameters)


class KeptAdamW(torch.optim.AdamW):
    """AdamW that clips gradients and keeps pruned weights at +0.0 as it goes.

    Its state is that of torch's AdamW, except within `hold`. Gradients are float32 on the CPU,
    dense, or sparse by rows.

    Args:
        parameters: float32, on the CPU, contiguous.
        learning_rate: the learning rate of the first step, if no schedule changes it.
        weight_decay: decoupled.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__(parameters, lr=learning_rate, weight_decay=weight_decay)
        self._kept: dict[nn.Parameter, Tensor] = {}
        self._counts: dict[nn.Parameter, int] = {}  # moments, where they are of kept weights only
        self._touched: dict[nn.Parameter, Tensor] = {}
        self._clip = 1.0

    @contextmanager
    def hold(self, parameters: Mapping[str, nn.Parameter], mask: Mask) -> Iterator[None]:
        """Keep pruned weights at +0.0, and their gradients out of the norm.

        A tensor of which few weights are kept has moments for these only, in their order, until the
        block ends. A state from before the block may have moments for all weights.

        Args:
            parameters: name -> parameter.
            mask: same names and shapes; the weights are filled at the beginning.

        Raises: TicketError, if names or shapes differ.
        """
        mask.fill(parameters)
        self._kept = {parameters[name]: mask[name].contiguous() for name in mask.pruned_tensors}
        self._counts = {each: int(kept.sum()) for each, kept in self._kept.items() if _few(kept)}
        self._leave_out_moments()
        try:
            yield
        finally:
            for parameter in self._counts:
                self.state.pop(parameter, None)
            self._kept, self._counts = {}, {}

    def clip(self, most: float) -> Tensor:
        """Make the next step as if the gradient had at most this norm.

        Returns: the norm before, of the kept weights, a float32 scalar.
        """
        norm = sqrt(sum(map(self._squares, self._with_gradients())))
        self._clip = min(1.0, most / (norm + 1e-6))
        return torch.tensor(norm)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update the weights that have a gradient; a closure is not called."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _leave_out_moments(self) -> None:
        """Leave moments of pruned weights, which are zero, out of a state that has them."""
        for parameter in self._counts:
            state, kept = self.state.get(parameter, {}), self._kept[parameter]
            for name in MOMENTS:
                if name in state and state[name].shape == kept.shape:
                    state[name] = state[name][kept]

    def _with_gradients(self) -> Iterator[nn.Parameter]:
        for group in self.param_groups:
            yield from (each for each in group["params"] if each.grad is not None)

    def _squares(self, parameter: nn.Parameter) -> float:
        gradient, kept = parameter.grad, self._kept.get(parameter)
        assert gradient is not None
        if not gradient.is_sparse:
            return loops.sum_of_squares(gradient.contiguous(), kept)
        parameter.grad = gradient = gradient.coalesce()
        some = None if kept is None else kept[gradient.indices()[0]]
        return loops.sum_of_squares(gradient.values(), some)

    def _move(self, parameter: nn.Parameter, group: Mapping[str, Any]) -> None:
        gradient, state = parameter.grad, self._state_of(parameter)
        assert gradient is not None
        state["step"] += 1
        step = AdamWStep(
            learning_rate=float(group["lr"]),
            betas=group["betas"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            steps=int(state["step"]),
            clip=self._clip,
        )
        weight, kept = parameter.detach(), self._kept.get(parameter)
        moments = state["exp_avg"], state["exp_avg_sq"]
        if kept is not None and parameter in self._counts:
            loops.adamw_kept(weight, gradient.to_dense().contiguous(), moments, kept, step)
            return
        if gradient.is_sparse:
            rows = self._rows(parameter, gradient.coalesce(), moments)
            loops.adamw_rows(weight, rows, moments, kept, step)
            return
        self._touched.pop(parameter, None)
        loops.adamw(weight, gradient.contiguous(), moments, kept, step)

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            count = self._counts.get(parameter)
            shape = parameter.shape if count is None else (count,)
            state["step"] = torch.tensor(0.0)
            state.update({name: parameter.new_zeros(shape) for name in MOMENTS})
        return state

    def _rows(
        self, parameter: nn.Parameter, gradient: Tensor, moments: tuple[Tensor, Tensor]
    ) -> Rows:
        """The rows of a coalesced gradient, and which rows any gradient has had so far."""
        if parameter not in self._touched:
            self._touched[parameter] = moments[0].any(1) | moments[1].any(1)
        ids, touched = gradient.indices()[0], self._touched[parameter]
        touched[ids] = True
        places = torch.where(touched, loops.NO_GRADIENT, loops.UNTOUCHED)
        places[ids] = torch.arange(len(ids))
        return Rows(places, gradient.values())


def _few(kept: Tensor) -> bool:
    """Whether a mask keeps so few weights that the others have no moments."""
    return int(kept.sum()) <= FEW * kept.numel()


@contextmanager
def _sparse_gradient(model: nn.Module) -> Iterator[None]:
    """Give the embeddings of words a gradient of the rows of a batch only, without zeros."""
    words = cast(Any, model).get_input_embeddings()
    if not isinstance(words, nn.Embedding):
        yield
        return
    before, words.sparse = words.sparse, True
    try:
        yield
    finally:
        words.sparse = before
