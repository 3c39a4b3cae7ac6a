"""One backward pass of a batch gives what each example's own would, on every encoder and task."""

from pathlib import Path

import pytest
import torch

from architectures import ARCHITECTURES, TASKS, load, save
from tombola.base.specs import TrainSpec
from tombola.lab.run.evidence.example_gradients import calls_of, splits_by_example
from tombola.tasks.data.batches import collate
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.ticket.mask import Tensors
from tombola.training.distributed import accelerator
from tombola.training.gradient import differentiating

APART = {"deberta-v2", "deberta-v3"}
"""Networks whose layers meet a table of relative positions, too."""


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "classification") for name in ARCHITECTURES]
    + [("bert", kind) for kind in TASKS if kind != "classification"],
)
def test_squares_and_gates_are_those_of_single_examples(
    name: str, kind: str, tmp_path: Path
) -> None:
    network, task, examples = load(save(name, tmp_path / "network"), kind)
    model, weights = network.model.eval(), network.scope("encoder")
    batch = collate(examples, torch.arange(4).numpy(), task, network.pad)
    batch = TASK_KINDS[kind].corrupt(batch, network.tokenizer, torch.Generator().manual_seed(0))
    assert splits_by_example(model, weights, batch) == (name not in APART)
    if name in APART:
        return
    squares = {n: torch.zeros_like(p.detach()) for n, p in weights.items()}
    gates: dict[str, list[torch.Tensor]] = {n: [] for n in weights}
    for row in range(4):
        for n, gradient in gradient_of(model, weights, batch, row).items():
            squares[n] += gradient.square()
            gates[n].append((weights[n].detach() * gradient).sum(0))
    with differentiating(network, task, TrainSpec(), accelerator()) as arithmetic:
        found = calls_of(arithmetic, weights, batch)
    total = {n: torch.zeros_like(p.detach()) for n, p in weights.items()}
    found.add_squares(total)
    for n, p in weights.items():
        torch.testing.assert_close(total[n], squares[n], rtol=1e-4, atol=1e-9)
        if not found.transposed:
            own = found.gates(n, p)
            torch.testing.assert_close(own, torch.stack(gates[n]), rtol=1e-3, atol=1e-6)


def gradient_of(
    model: torch.nn.Module, weights: dict[str, torch.nn.Parameter], batch: Tensors, row: int
) -> Tensors:
    """The gradient of the loss of one example; zeros where it has none."""
    one = {n: tensor[row : row + 1] for n, tensor in batch.items()}
    if not (one.get("labels", torch.ones(1)) >= 0).any():
        return {n: torch.zeros_like(p.detach()) for n, p in weights.items()}
    found = torch.autograd.grad(model(**one).loss, [*weights.values()], allow_unused=True)
    return {
        n: torch.zeros_like(p.detach()) if g is None else g
        for (n, p), g in zip(weights.items(), found, strict=True)
    }
