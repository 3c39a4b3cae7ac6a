"""Wanda prunes |w| times the norm of its input, in each output."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar, cast

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.finders.finder import FINDERS
from tombola.finders.layout import Layout
from tombola.finders.untrained.wanda import WandaSpec, wanda
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask, Tensors

HALF = Decimal("0.5")


class Given:
    """Two layers and four tokens, the second layer stored as (inputs, outputs)."""

    layout = Layout(transposed=frozenset("b"))
    drawn = torch.Generator().manual_seed(0)
    tokens: ClassVar[Tensors] = {
        "a": torch.randn(4, 6, generator=drawn) * torch.arange(6),
        "b": torch.randn(4, 5, generator=drawn) * torch.arange(5, 0, -1),
    }
    weights: ClassVar[Tensors] = {
        "a": torch.randn(5, 6, generator=drawn),
        "b": torch.randn(5, 4, generator=drawn),
    }

    def activations(self, batches: int) -> Tensors:
        squares = {name: tokens.square().sum(0) for name, tokens in self.tokens.items()}
        return {"a": squares["a"], "b": squares["b"].unsqueeze(1)}


def test_each_output_loses_its_lowest_products() -> None:
    mask = wanda(cast(Any, Given()), WandaSpec(sparsity=HALF), Mask.full(Given.weights)).mask
    assert (mask.pruned, mask.size) == (25, 50)
    for name, kept in (("a", mask["a"]), ("b", mask["b"].T)):
        weight = Given.weights[name] if name == "a" else Given.weights[name].T
        for output in range(len(weight)):
            score = [
                abs(w) * sum(x[i] ** 2 for x in Given.tokens[name].tolist()) ** 0.5
                for i, w in enumerate(weight[output].tolist())
            ]
            number = int(kept[output].sum())
            best = sorted(range(len(score)), key=lambda i: -score[i])[:number]
            assert sorted(best) == kept[output].nonzero().flatten().tolist()
            assert abs(number - len(score) / 2) < 1


def test_globally_all_products_compete() -> None:
    spec = WandaSpec(sparsity=HALF, allocation="global", batches=1)
    mask = wanda(cast(Any, Given()), spec, Mask.full(Given.weights)).mask
    inputs = Given().activations(1)
    scores = {name: w.abs() * inputs[name].sqrt() for name, w in Given.weights.items()}
    kept = torch.cat([scores[name][mask[name]] for name in scores])
    pruned = torch.cat([scores[name][~mask[name]] for name in scores])
    assert len(pruned) == 25
    assert kept.min() >= pruned.max()


def test_matrices_without_inputs_are_refused_before_anything_is_trained() -> None:
    on = subject(task := load_task("sentiment"), task.recipe)
    with pytest.raises(SpecError, match="looks at the inputs of linear layers, and the scope"):
        FINDERS["wanda"].search(replace(on, matrices="1" * 64), WandaSpec(sparsity=HALF), 0)
    with pytest.raises(SpecError, match=rf"at most the {on.steps} of one training, got 10000\."):
        FINDERS["wanda"].search(on, WandaSpec(sparsity=HALF, batches=10000), 0)
