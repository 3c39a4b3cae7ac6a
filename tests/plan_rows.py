"""Rows of a plan, without any training: scores are what a test says they are."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tombola.study.table.row import Row

__all__ = ["NUMERICS", "network", "plan", "search"]

NUMERICS = {"threads": 1, "torch": "2.13.0"}
DENSE = (80.0, 80.6, 80.3)
TASKS = ("mlm", "a", "b", "c", "d")
SIZES = {"mlm": 9000, "a": 1000, "b": 2000, "c": 3000, "d": 4000}


def network(
    kind: str,
    target: str,
    change: float | None,
    *,
    wobble: Sequence[float] = (0.0, 0.1, -0.1),
    dense: Sequence[float | None] = DENSE,
    **fields: Any,
) -> list[Row]:
    """The rows of a network that differs from dense by `change` points, give or take `wobble`."""
    given: dict[str, Any] = {
        "arm": fields.get("name", kind),
        "name": kind,
        "kind": kind,
        "target": target,
        "sparsity": Decimal("0.7"),
        "margin": 1.0,
        "examples": SIZES.get(target, 500),
        "trivial": 50.0,
        "resolution": 0.05,
    } | fields
    rows = []
    for seed, (baseline, more) in enumerate(zip(dense, wobble, strict=True)):
        there = change is not None and baseline is not None
        score = baseline + change + more if there else None  # type: ignore[operator]
        what = ".".join(str(given.get(name, "")) for name in ("arm", "name", "source", "sparsity"))
        rows.append(
            Row(
                **given,
                seed=seed,
                state="done" if there else "missing",
                score=score,
                dense=baseline,
                difference=change + more if there else None,  # type: ignore[operator]
                key=f"{what}.{target}.{seed}",
                dense_key=f"dense.{target}.{seed}",
                mask_key=f"{what}.{seed}",
                numerics=NUMERICS if there else None,
                dense_numerics=None if baseline is None else NUMERICS,
            )
        )
    return rows


def search(target: str, change: float | None, **fields: Any) -> list[Row]:
    """The ticket of a task, trained on it."""
    return network("imp", target, change, **{"arm": "tickets", "source": target} | fields)


def plan() -> list[Row]:
    """A plan in which every claim of the paper comes out as the paper has it."""
    rows: list[Row] = []
    for place, task in enumerate(TASKS):
        rows += search(task, 0.0)
        for control in ("random", "reinit", "shuffle"):
            rows += network(control, task, -20.0, arm="controls", of="tickets", source=task)
        rows += search(task, 0.2, arm="late", variant=("rewind",), rewind_step=9)
        gain = 2.0 if place % 2 else -3.0
        rows += search(task, gain, arm="standard", variant=("no-rewind",))
        rows += network("one-shot", task, -2.0)
    for source in TASKS:
        for target in TASKS:
            change = -0.2 if source == "mlm" else -10.0 + SIZES[source] / 1000
            change = 0.0 if source == target else change
            rows += network("transfer", target, change, arm="moved", source=source)
    for target in TASKS[1:]:
        rows += network(
            "transfer", target, -0.1, arm="moved-late", source="mlm", variant=("rewind",)
        )
    return rows
