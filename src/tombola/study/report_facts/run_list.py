"""The runs behind the numbers of a report, each once."""

from collections.abc import Iterable, Sequence
from typing import Any

from tombola.study.table.row import Row

__all__ = ["RUN_COLUMNS", "RunList"]

RUN_COLUMNS = (
    *("plan", "arm", "network", "source", "task", "sparsity", "seed"),
    *("state", "score", "dense", "seconds", "key"),
)
"""What is known about a run: scores in points."""


class RunList:
    """Every training that some rows are about, their dense ones included."""

    def __init__(self, table: Sequence[Row]) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._places: dict[tuple[str, str], int] = {}
        for row in table:
            self._add(row.plan, row.key, _run(row))
        for row in table:  # a plan may have no rows for them
            self._add(row.plan, row.dense_key, _dense_run(row))

    def _add(self, plan: str, key: str, run: tuple[Any, ...]) -> None:
        if (plan, key) not in self._places:
            self._places[plan, key] = len(self.rows)
            self.rows.append(run)

    def places(self, plan: str, keys: Iterable[str]) -> list[int]:
        """Where in the list some runs of a plan are; those that no row is about are left out."""
        found = (self._places.get((plan, key)) for key in dict.fromkeys(keys))
        return [place for place in found if place is not None]

    def to_json(self) -> dict[str, Any]:
        """The names of the columns, and a list of values for each run."""
        return {"columns": list(RUN_COLUMNS), "rows": [list(row) for row in self.rows]}


def _run(row: Row) -> tuple[Any, ...]:
    sparsity = None if row.sparsity is None else float(row.sparsity)
    what = (row.plan, row.arm, row.name, row.source, row.target, sparsity, row.seed)
    return (*what, row.state, row.score, row.dense, row.seconds, row.key)


def _dense_run(row: Row) -> tuple[Any, ...]:
    """The dense run that a row is compared with."""
    what = (row.plan, "", "dense", "", row.target, None, row.seed)
    if row.dense is not None:
        return (*what, "done", row.dense, row.dense, None, row.dense_key)
    state = "missing" if row.dense_numerics is None else "diverged"
    return (*what, state, None, None, None, row.dense_key)
