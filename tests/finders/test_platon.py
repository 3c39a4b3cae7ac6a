"""PLATON prunes by smoothed sensitivity times smoothed uncertainty, and weights may return."""

from decimal import Decimal
from itertools import pairwise
from typing import Any, cast

import pytest
import torch

from tombola.base.errors import SpecError
from tombola.finders.trained.platon import PlatonSpec, platon
from tombola.ticket.mask import Mask
from toy_training import RATE, SIZE, STEPS, Toy, lowest


def test_masks_are_those_of_the_equations_of_the_paper() -> None:
    toy = Toy()
    knobs: dict[str, Any] = {"ramp_start": 0.2, "ramp_end": 0.8, "beta1": 0.3, "beta2": 0.4}
    spec = PlatonSpec(sparsity=Decimal("0.8"), every=2, **knobs)
    made = platon(cast(Any, toy), spec, toy.full)
    weights = {n: w.clone().requires_grad_() for n, w in toy.weights.items()}
    optimizer = torch.optim.AdamW([*weights.values()], lr=RATE, weight_decay=0.0)
    smooth = {n: torch.zeros_like(w) for n, w in toy.weights.items()}
    unsure = {n: torch.zeros_like(w) for n, w in toy.weights.items()}
    window: list[Any] = []
    masks = []
    for step in range(STEPS):
        optimizer.zero_grad()
        toy.loss(weights, step).backward()
        gradients = {n: w.grad if w.grad is not None else 0 * w for n, w in weights.items()}
        window.append({n: (w * gradients[n]).abs().detach() for n, w in weights.items()})
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()
        if step % 2:
            now = {n: (window[-1][n] + window[-2][n]) / 2 for n in weights}
            smooth = {n: 0.3 * smooth[n] + 0.7 * now[n] for n in weights}
            unsure = {n: 0.4 * unsure[n] + 0.6 * (now[n] - smooth[n]).abs() for n in weights}
        if step % 2 or step + 1 >= 16:
            left = 1 - (min(max(step + 1, 4), 16) - 4) / 12
            count = round((0.8 - 0.8 * left**3) * SIZE)
            masks.append(lowest({n: smooth[n] * unsure[n] for n in smooth}, count))
            with torch.no_grad():
                for n, kept in masks[-1].items():
                    weights[n].mul_(kept)
    assert made.mask == Mask(masks[-1])
    assert made.mask.pruned == toy.pruned(STEPS) == 48
    for name, weight in weights.items():
        assert torch.allclose(toy.trained[name], weight.detach(), atol=1e-5)
    back = [(now[n] & ~before[n]).any() for before, now in pairwise(masks) for n in now]
    assert any(back), "some pruned weight returns"


def test_decays_are_below_one() -> None:
    with pytest.raises(SpecError, match=r"beta2 must be in \[0, 1\), got 1\."):
        PlatonSpec(beta2=1)
