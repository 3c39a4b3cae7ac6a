"""The arm `connectivity`: two trainings in different data orders, and the line between them."""

from dataclasses import dataclass, replace
from typing import ClassVar

from tombola.base.errors import SpecError
from tombola.lab.planfile.arm import (
    ARMS,
    FINDER,
    LAST,
    ArmContext,
    ArmName,
    Sparsities,
    TaskName,
    check_seeds,
    tickets,
)
from tombola.plan.cell import Cell
from tombola.plan.job import interpolate, reordered

__all__ = ["Connectivity"]


@ARMS.register("connectivity")
@dataclass(frozen=True, kw_only=True)
class Connectivity:
    """Each network of another arm, trained twice with the same head in two data orders.

    Source: the instability analysis of Frankle et al. 2020.
    """

    after: ClassVar[tuple[str, ...]] = ("dense", FINDER)

    of: ArmName
    """The arm with the networks: dense, or a finder's."""

    order_seeds: tuple[int, ...] = (100, 101)
    """Two seeds of data order, masked tokens and dropout."""

    points: int = 11
    """Networks that are scored on the line between the two, both ends included."""

    sparsity: Sparsities = LAST
    """Sparsities of the tickets; by default the last of each search."""

    tasks: tuple[TaskName, ...] = ()
    """Only networks that are trained on these tasks."""

    seeds: tuple[int, ...] = ()
    """Only networks of these seeds."""

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        check_seeds(self.order_seeds)
        if len(self.order_seeds) != 2:
            raise SpecError(
                f"order_seeds must be two, got {len(self.order_seeds)}. Write [100, 101]."
            )
        if self.points < 3:
            raise SpecError(f"points must be an integer of 3 or more, got {self.points}.")

    def cells(self, name: str, context: ArmContext) -> list[Cell]:
        """The two trainings of each network, which share a line."""
        chosen = tickets(self.of, context, self.sparsity, self.tasks, self.seeds)
        return [cell for ticket in chosen for cell in self._ends(name, ticket)]

    def _ends(self, arm: str, cell: Cell) -> list[Cell]:
        ends = [reordered(cell.training, order) for order in self.order_seeds]
        line = interpolate(*ends, points=self.points)
        return [
            replace(
                cell,
                arm=arm,
                order_seed=order,
                training=end,
                line=line,
            )
            for order, end in zip(self.order_seeds, ends, strict=True)
        ]
