"""Gradients of single examples and Hessian products are those of the loss, to first order."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tombola.base.errors import SpecError
from tombola.base.specs import LabSpec, PruneSpec, TrainSpec
from tombola.finders.allocations import keep_best
from tombola.finders.finder import FINDERS, Pruned, finder
from tombola.finders.shapes import prune_once
from tombola.lab.run.compute import compute_of
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.subjects import SubjectFactory
from tombola.plan.plan import Plan
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask

HALF = Decimal("0.5")
SEEN: dict[str, bool] = {}


def examined(evidence: Any, spec: PruneSpec, mask: Mask) -> Pruned:
    """Compare what evidence gives with what follows from it."""
    weights, gradients = evidence.weights, evidence.gradients(1)
    assert evidence.compute.forward_tokens == evidence.compute.backward_tokens > 0
    one, before = evidence.compute, evidence.compute
    evidence.gradients(1)  # computed once
    evidence.activations(1)
    assert evidence.compute == replace(before, forward_tokens=2 * one.forward_tokens)
    one_by_one = [*evidence.example_gradients(8)]
    assert evidence.compute.backward_tokens == 2 * one.backward_tokens  # a batch is of eight
    for name in weights:
        mean = torch.stack([each[name] for each in one_by_one]).mean(0)
        torch.testing.assert_close(mean, gradients[name], rtol=1e-3, atol=1e-5)
    SEEN["mean"] = len(one_by_one) == 8
    _squared(evidence, mask)
    _masked(evidence, mask)
    _curved(evidence, gradients)
    with pytest.raises(SpecError, match="examples must be at most the"):
        [*evidence.example_gradients(100_000)]
    scores = {name: w.abs() for name, w in weights.items()}
    return Pruned(keep_best(scores, mask, spec))


def _masked(evidence: Any, mask: Mask) -> None:
    """Under a mask other gradients come out, and afterwards the network is as it was."""
    parameters = evidence.workspace.network.scope("encoder")
    half = Mask({n: torch.arange(k.numel()).reshape(k.shape) % 2 > 0 for n, k in mask.items()})
    first = next(islice(evidence.example_gradients(1), 1))
    other = next(iter(run := evidence.example_gradients(1, half)))
    assert not any(bool(parameters[name][~half[name]].any()) for name in half)
    run.close()
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(torch.equal(parameters[n].detach(), w) for n, w in evidence.weights.items())
    SEEN["masked"] = True


def _squared(evidence: Any, mask: Mask) -> None:
    """Squares are those of single examples of the masked network, gates those of the dense one."""
    half = Mask({n: torch.arange(k.numel()).reshape(k.shape) % 2 > 0 for n, k in mask.items()})
    steps: list[tuple[int, int]] = []
    evidence.step = lambda done, of: steps.append((done, of))
    squares = evidence.squared_gradients(12, half, estimate=1, estimates=3)
    assert steps == [(12 + 8, 36), (12 + 12, 36)]
    found = [*evidence.example_gradients(12, half)]
    for name, square in squares.items():
        mean = torch.stack([each[name].square() for each in found]).mean(0)
        torch.testing.assert_close(square, mean, rtol=1e-4, atol=1e-10)
    _in_blocks(evidence, found, half)
    gates = evidence.gate_gradients(12, {name})
    dense = [
        (evidence.weights[name] * each[name]).sum(0) for each in evidence.example_gradients(12)
    ]
    torch.testing.assert_close(gates[name], torch.stack(dense), rtol=1e-3, atol=1e-6)
    assert all(
        torch.equal(evidence.workspace.network.scope("encoder")[n].detach(), w)
        for n, w in evidence.weights.items()
    )
    SEEN["squared"] = True


def _in_blocks(evidence: Any, found: list[dict[str, torch.Tensor]], half: Mask) -> None:
    """Blocks hold the products of consecutive gradients at the weights that are asked for."""
    weights = {name: w * half[name] for name, w in evidence.weights.items()}
    with pytest.raises(SpecError, match=r"^the Fisher matrix in blocks of 1000000000 takes .* GiB"):
        evidence.fisher_blocks(1, 10**9, weights)
    blocks = evidence.fisher_blocks(len(found), 7, weights)
    for name, block in blocks.items():
        flat = torch.stack([each[name].flatten() for each in found])
        last = flat[:, (len(block) - 1) * 7 :]
        for got, rows in ((block[1], flat[:, 7:14]), (block[-1][: last.shape[1]], last)):
            wanted = rows.T @ rows / len(found)
            torch.testing.assert_close(got[:, : wanted.shape[1]], wanted, rtol=1e-4, atol=1e-10)


def _curved(evidence: Any, gradients: dict[str, torch.Tensor]) -> None:
    """The product is how gradients change along the vectors."""
    parameters = evidence.workspace.network.scope("encoder")
    before = evidence.compute.backward_tokens
    product = evidence.hessian_product(1, gradients)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in evidence._batches(1))
    assert evidence.compute.backward_tokens - before == 2 * tokens
    size = 1e-3 / max(float(g.abs().max()) for g in gradients.values())
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(evidence.weights[name] + sign * size * gradients[name])
        ends.append(evidence._mean_gradients(1))
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(evidence.weights[name])
    measured = torch.cat([(ends[0][n] - ends[1][n]).flatten() for n in product]) / (2 * size)
    expected = torch.cat([product[n].flatten() for n in product])
    assert float((measured - expected).norm() / expected.norm()) < 0.02
    SEEN["curved"] = True


@pytest.fixture
def examining() -> Iterator[None]:
    FINDERS["imp"]
    finder("examined", PruneSpec, plan=prune_once)(examined)
    yield
    del FINDERS._plugins["examined"]


def test_evidence_follows_from_the_loss(
    examining: None, tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    subject = SubjectFactory(tmp_path).subject(
        str(tiny),
        load_task("sentiment"),
        TrainSpec(epochs=1, batch_size=8, learning_rate=1e-2, max_length=30),
        scope="encoder",
        folder=str(reviews),
    )
    job = FINDERS["examined"].search(subject, PruneSpec(sparsity=HALF), 3).masks[HALF]
    lab = LabSpec(store=str(tmp_path / "store"), threads=1)
    store, summary = run_plan(Plan.of([job]), lab, RunCallback())
    for _, error in summary.failed:
        raise error
    spent = compute_of(store.read(job.key))
    assert spent is not None
    assert spent.forward_tokens > 0
    assert SEEN == {"mean": True, "squared": True, "masked": True, "curved": True}
