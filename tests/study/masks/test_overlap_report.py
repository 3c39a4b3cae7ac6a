"""Masks of a plan are compared under names that tell them apart."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from stand_in_subject import subject
from tombola.base.errors import SpecError
from tombola.finders.imp import ImpSpec
from tombola.lab.planfile.arm import ArmContext
from tombola.lab.planfile.arms import kind_of_arm
from tombola.lab.store.artifacts import keep_mask
from tombola.lab.store.result_store import Store
from tombola.plan.plan import Plan
from tombola.study.masks.overlap_report import masks_of_plan, refuse_too_few
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask

HALF = Decimal("0.5")
Imp: Any = kind_of_arm("imp")
OneShot: Any = kind_of_arm("one-shot")


def test_masks_of_one_label_are_named_with_their_arms(tmp_path: Path) -> None:
    task = load_task("sentiment")
    context = ArmContext({"sentiment": subject(task, task.recipe)}, (0,), {})
    arms = {
        "plain": Imp(search=ImpSpec(rounds=(HALF,))),
        "long": Imp(search=ImpSpec(rounds=(HALF,), long_horizon=True)),
        "one-shot": OneShot(search=OneShot.finder.spec(sparsity=HALF)),
    }
    cells = [cell for name, arm in arms.items() for cell in arm.cells(name, context)]
    store = Store(tmp_path / "store")
    with pytest.raises(SpecError, match=r"got 0 of 3 at 0\.5 .* the plan has masks at 0\.5\. Run"):
        refuse_too_few(masks_of_plan(Plan.of(cells), store), Plan.of(cells))
    for cell in cells:
        assert cell.ticket
        keep_mask(store, cell.ticket, Mask({"w": torch.tensor([True, False])}))
    assert [each.name for each in masks_of_plan(Plan.of(cells), store)] == [
        "plain: sentiment, seed 0, IMP mask at 0.5",
        "long: sentiment, seed 0, IMP mask at 0.5",
        "one-shot mask at 0.5",
    ]
