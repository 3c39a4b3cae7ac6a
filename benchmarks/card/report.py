"""Ratios and short tables of what was measured, as far as it was."""

from collections.abc import Iterator
from typing import Any

from tables import table

__all__ = ["kernel_table", "page", "ratios"]

Sides = dict[str, Any]
"""ours, compiled, trainer and plain -> what was found; None where a part failed."""


def ratios(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of each row: ours to the others, and to the card."""
    rates = found["machine"].get("matmul_tflops", {})
    made = {
        name: {key: value for key, value in _ratios(name, sides, rates) if value}
        for name, sides in found["rows"].items()
    }
    return {**made, "seeds": _together(found["seeds"])}


def _ratios(name: str, sides: Sides, rates: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Name and value; 0 where a part is missing."""
    rate = rates.get(name.rsplit(maxsplit=1)[-1], 0.0)
    for side in ("ours", "compiled"):
        tokens = _of(sides, side, "tokens_a_second")
        yield f"{side} / trainer", _over(tokens, _of(sides, "trainer", "tokens_a_second"))
        seconds = _of(sides, side, "seconds_a_step")
        for share, operations in (("of_rate", "operations"), ("of_rate_done", "operations_done")):
            tflops = _over(_of(sides, side, f"{operations}_a_step") / 1e12, seconds)
            yield f"{side}, {share}", _over(tflops, rate)
    memory = _of(sides, "ours", "peak_allocated")
    yield "memory of ours / plain", _over(memory, _of(sides, "plain", "peak_allocated"))


def _together(seeds: dict[str, Any]) -> dict[str, float]:
    """How many times faster seeds are together than one after another."""
    alone = seeds.get("1 worker")
    return {
        f"{name}, {key}": _over(alone[key], run[key])
        for name, run in seeds.items()
        for key in ("seconds", "seconds_without_start")
        if alone and run and run is not alone
    }


def _of(sides: Sides, side: str, *names: str) -> float:
    """A number of a side, 0 where it is missing."""
    value: Any = sides.get(side)
    for name in names:
        value = (value or {}).get(name)
    return float(value or 0.0)


def _over(above: float, below: float) -> float:
    return above / below if below else 0.0


# --- text --------------------------------------------------------------------


def page(found: dict[str, Any]) -> str:
    """All tables, as Markdown."""
    about = found["machine"]
    rates = about.get("matmul_tflops", {})
    parts = [
        f"{about.get('card', 'no card')}, driver {about.get('driver', 'none')}, "
        f"torch {about.get('versions', {}).get('torch')}, "
        f"transformers {about.get('versions', {}).get('transformers')}, "
        + ", ".join(f"{name} product {rate:.1f} TFLOP/s" for name, rate in rates.items())
        + "\n",
        table(
            (
                *("tokens a second", "ours", "compiled", "Trainer", "ours / Trainer"),
                *("compiled / Trainer", "of the card's rate", "compiled"),
            ),
            (_speed(n, sides, found["ratios"][n]) for n, sides in found["rows"].items()),
        ),
        table(
            (
                *("of a step", "waits, ours", "Trainer", "kernels, ours", "Trainer"),
                *("launches, ours", "Trainer", "peak GB, ours", "Trainer", "plain loop"),
            ),
            (_steps(n, sides) for n, sides in found["rows"].items()),
        ),
        table(
            ("seeds of mini", "seconds", "without start", "times faster", "without start"),
            (_seeds(n, run, found["ratios"]["seeds"]) for n, run in found["seeds"].items() if run),
        ),
        *(f"{name}: {why.splitlines()[-1]}\n" for name, why in found["failed"].items()),
    ]
    return "\n".join(parts)


def _number(value: float, form: str) -> str:
    return format(value, form) if value else "-"


def _speed(name: str, sides: Sides, shares: dict[str, float]) -> tuple[str, ...]:
    tokens = (_of(sides, side, "tokens_a_second") for side in ("ours", "compiled", "trainer"))
    times = (shares.get(f"{side} / trainer", 0.0) for side in ("ours", "compiled"))
    rates = (shares.get(f"{side}, of_rate", 0.0) for side in ("ours", "compiled"))
    return (
        name,
        *(_number(each, ",.0f") for each in tokens),
        *(_number(each, ".2f") for each in times),
        *(_number(each, ".1%") for each in rates),
    )


def _steps(name: str, sides: Sides) -> tuple[str, ...]:
    both = ("ours", "trainer")
    seen = (
        f"{_of(sides, side, 'profile', key):.1f}" if sides.get(side) else "-"
        for key in ("waits_a_step", "kernels_a_step", "launches_a_step")
        for side in both
    )
    peaks = (_of(sides, side, "peak_allocated") / 1e9 for side in (*both, "plain"))
    return (name, *seen, *(_number(each, ".2f") for each in peaks))


def _seeds(name: str, run: dict[str, Any], times: dict[str, float]) -> tuple[str, ...]:
    keys = ("seconds", "seconds_without_start")
    return (
        name,
        *(f"{run[key]:.1f}" for key in keys),
        *(_number(times.get(f"{name}, {key}", 0.0), ".2f") for key in keys),
    )


def kernel_table(side: dict[str, Any] | None) -> str:
    """The kernels of a step that take the most time, and how much of a step they are."""
    profile = (side or {}).get("profile", {})
    if not side or not profile.get("kernels"):
        return "no kernels were seen\n"
    step = 1e3 * side["seconds_a_step"]
    lines = [
        f"{step:.3f} ms a step, {profile['milliseconds_of_kernels_a_step']:.3f} ms of kernels",
        f"{'ms a step':>10} {'of a step':>9} {'a step':>7}  kernel",
        *(
            f"{one['milliseconds_a_step']:10.4f} {one['milliseconds_a_step'] / step:9.1%} "
            f"{one['a_step']:7.1f}  {one['name']}"
            for one in profile["kernels"]
        ),
    ]
    return "\n".join(lines) + "\n"
