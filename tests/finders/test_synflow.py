"""SynFlow gives each weight its share in the strength of all paths."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.finders.finder import FINDERS
from tombola.finders.untrained.synflow import SynflowSpec, path_shares, synflow
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.ticket.structures import units_of
from toy_evidence import ToyEvidence


def test_shares_are_weights_times_the_gradient_of_the_flow() -> None:
    toy = ToyEvidence()
    a = {name: w.abs().double().requires_grad_() for name, w in toy.weights.items()}
    x = torch.ones(16, dtype=torch.float64)
    for block in range(2):
        place = f"encoder.layer.{block}"
        inner = sum(a[f"{place}.attention.self.{n}.weight"] @ x for n in ("query", "key", "value"))
        x = x + a[f"{place}.attention.output.dense.weight"] @ inner
        inner = a[f"{place}.intermediate.dense.weight"] @ x
        x = x + a[f"{place}.output.dense.weight"] @ inner
    flow = x.sum()
    gradients = torch.autograd.grad(flow, [*a.values()])
    strengths = {name: w.abs() for name, w in toy.weights.items()}
    shares = path_shares(strengths, units_of(strengths, 2))
    for (name, each), gradient in zip(a.items(), gradients, strict=True):
        torch.testing.assert_close(shares[name], (each * gradient / flow).detach().float())


def test_what_goes_into_heads_and_neurons_comes_out_again() -> None:
    """Conservation (Tanaka et al. 2020, theorem 1): both sides of a unit have the same share."""
    toy = ToyEvidence()
    units = units_of(toy.weights, 2)
    shares = path_shares({name: w.abs() for name, w in toy.weights.items()}, units)
    for part in units:
        sides = {
            side: sum(float(shares[n].double().sum()) for n, axis in part.matrices if axis == side)
            for side in (0, 1)
        }
        assert sides[0] == pytest.approx(sides[1], rel=1e-5)


def test_paths_are_counted_anew_in_each_step() -> None:
    toy = ToyEvidence()
    full = Mask.full(toy.weights)
    spec = SynflowSpec(sparsity=Decimal("0.95"))
    mask = synflow(cast(Any, toy), spec, full).mask
    assert mask.pruned == round(0.95 * full.size)
    assert synflow(cast(Any, toy), spec, full).mask == mask
    assert synflow(cast(Any, toy), replace(spec, steps=1), full).mask != mask


def test_deep_networks_stay_in_the_range_of_floats() -> None:
    layer = {
        **{f"{n}.weight": torch.full((64, 64), 1e4) for n in ("query", "key", "value", "output")},
        "up.weight": torch.full((128, 64), 1e4),
        "down.weight": torch.full((64, 128), 1e4),
    }
    weights = {f"layer.{b}.{name}": w for b in range(48) for name, w in layer.items()}
    shares = path_shares(weights, units_of(weights, 4))
    assert all(bool(each.isfinite().all() and (each > 0).all()) for each in shares.values())


def test_networks_without_known_heads_are_refused_before_anything_is_trained() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    reason = {"heads-and-neurons": "the structure needs square matrices, got one of 4 x 5."}
    with pytest.raises(SpecError, match=r"aren't known here: the structure needs square"):
        FINDERS["synflow"].search(replace(on, refused=reason), SynflowSpec(), 0)


def test_steps_are_one_or_more() -> None:
    with pytest.raises(SpecError, match=r"steps must be between 1 and 1000, got 0\."):
        SynflowSpec(steps=0)
