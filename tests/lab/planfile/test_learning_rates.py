"""What is made of an arm with one learning rate is trained at that rate, next to dense."""

from pathlib import Path

import pytest

from plan_text import grown
from stand_in_subject import subject
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.plan.cell import Cell
from tombola.plan.job_spec import as_training

RATE = 1.2e-3
ARMS = """fast: {kind: snip, sparsity: [0.5], learning_rates: [1.2e-3]}
fresh: {kind: evaluate, of: fast, seeds: [100]}
controls: {kind: control, of: fast, names: [random, reinit]}
slow: {kind: control, of: fast, names: [random], learning_rates: [1.0e-5]}
moved: {kind: transfer, of: fast}
line: {kind: connectivity, of: fast, points: 3}
fresh-controls: {kind: control, of: fresh, names: [reinit]}
moved-controls: {kind: control, of: moved, names: [random]}
plain: {kind: snip, sparsity: [0.5]}
plain-moved: {kind: transfer, of: plain}
next: {kind: movement, sparsity: 0.7, from: {arm: fast}}"""


def rate(cell: Cell) -> float:
    return as_training(cell.training.spec).recipe.learning_rate


@pytest.fixture(params=["", "train: {distill: 0.5}\n"])
def arms(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, list[Cell]]:
    file = tmp_path / "mine.yaml"
    file.write_text(grown(ARMS).replace("arms:", f"{request.param}arms:"), encoding="utf-8")
    found: dict[str, list[Cell]] = {}
    for cell in expand(read_plan(file), subject).cells:
        found.setdefault(cell.arm, []).append(cell)
    return found


def test_arms_train_at_the_rate_of_their_tickets_and_say_so(arms: dict[str, list[Cell]]) -> None:
    for name in ("fast", "fresh", "controls", "moved", "line", "fresh-controls", "moved-controls"):
        for cell in arms[name]:
            assert (rate(cell), cell.learning_rate) == (RATE, RATE)
            assert "learning rate 0.0012" in cell.label
            assert "learning rate 0.0012" in cell.training.label
    assert {rate(cell) for cell in arms["slow"]} == {1e-5}
    for name in ("plain", "plain-moved", "next"):
        for cell in arms[name]:
            assert cell.learning_rate is None
            assert rate(cell) == cell.baseline.subject.recipe.learning_rate


def test_dense_keeps_the_recipe_s_and_is_the_teacher(arms: dict[str, list[Cell]]) -> None:
    dense = {(cell.target, cell.seed): cell.baseline.key for cell in arms["plain"]}
    for cell in (cell for cells in arms.values() for cell in cells):
        if cell.seed in (0, 1):
            assert cell.baseline.key == dense[cell.target, cell.seed]
        recipe = as_training(cell.training.spec).recipe
        if recipe.distill:
            assert cell.training.parents["teacher"].key == cell.baseline.key


def test_a_ticket_on_its_own_task_is_trained_once(arms: dict[str, list[Cell]]) -> None:
    for tickets, moved in (("fast", "moved"), ("plain", "plain-moved")):
        own = {(cell.target, cell.seed): cell.key for cell in arms[tickets]}
        there = {(c.target, c.seed): c.key for c in arms[moved] if c.source == c.target}
        assert there == own
