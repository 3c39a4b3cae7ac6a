"""The tables of sparse kernels on the page on performance, made from sparse-results.json alone."""

from typing import Any

from tables import table

__all__ = ["encoder_speed", "sparse_tables"]

GOALS = {0.7: 1.6, 0.8: 2.4, 0.9: 4.0}
"""Sparsity -> how many times as fast as dense fp32 an encoder should be, at 128 tokens."""


def sparse_tables(results: dict[str, Any]) -> str:
    """All of them, as Markdown."""
    parts = [_machine(results), "### A whole encoder\n", _encoders(results["encoders"])]
    parts += ["Megabytes of its weights:\n", _megabytes(results["encoders"])]
    parts += ["### Single layers\n", _products(results["products"])]
    parts += ["What bounds them:\n", _bounds(results)]
    return "\n".join(parts)


def encoder_speed(results: dict[str, Any], sparsity: float, batch: int, length: int) -> float:
    """How many times as fast as dense fp32 the sparse encoder with float32 weights is."""
    row = next(
        row
        for row in results["encoders"]
        if (row["sparsity"], row["batch_size"], row["length"]) == (sparsity, batch, length)
    )
    return float(row["timings"]["sparse fp32"]["times_as_fast"])


def _machine(results: dict[str, Any]) -> str:
    about, rates = results["machine"], results["roofline"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['processor']}, {about['instruction_set']}, one thread; {versions}; load before "
        f"the run {about['load']}. The best rates of a thread in this run: "
        f"{rates['gflops_fp32']:.0f} GFLOP/s in fp32, {rates['gflops_bf16']:.0f} in bf16, and "
        f"{rates['read_gb_per_second']:.1f} GB/s read.\n"
    )


def _encoders(rows: list[dict[str, Any]]) -> str:
    """Ratios to dense fp32, a row for each runtime and a column for each call."""
    parts = []
    for sparsity in dict.fromkeys(row["sparsity"] for row in rows):
        mine = [row for row in rows if row["sparsity"] == sparsity]
        names = max((row["timings"] for row in mine), key=len)
        calls = tuple(f"{row['batch_size']} x {row['length']}" for row in mine)
        lines = [(name, *(_times(row["timings"].get(name)) for row in mine)) for name in names]
        goal = ("goal", *(_goal(row) for row in mine))
        parts.append(table((f"{100 * sparsity:.0f} % pruned", *calls), [*lines, goal]))
    return "\n".join(parts)


def _times(timing: dict[str, Any] | None) -> str:
    return "" if timing is None else f"{timing['times_as_fast']:.2f} x"


def _goal(row: dict[str, Any]) -> str:
    return f"{GOALS[row['sparsity']]:g} x" if row["length"] == 128 else ""


def _megabytes(rows: list[dict[str, Any]]) -> str:
    """A row for each runtime, a column for each sparsity."""
    sizes = {row["sparsity"]: row["megabytes"] for row in rows}
    names = max(sizes.values(), key=len)
    head = ("weights", *(f"{100 * sparsity:.0f} % pruned" for sparsity in sizes))
    rest = {name: [_size(each.get(name)) for each in sizes.values()] for name in names}
    return table(head, ((name, *cells) for name, cells in rest.items()))


def _size(megabytes: float | None) -> str:
    return "" if megabytes is None else f"{megabytes:.1f}"


def _products(rows: list[dict[str, Any]]) -> str:
    """Ratios to dense fp32 of the three layers of a block, a row for each."""
    names = [name for name in rows[0]["timings"] if name != "dense fp32"]
    return table(
        ("in x out, tokens, pruned", *names),
        ((_called(row), *(_times(row["timings"].get(name)) for name in names)) for row in rows),
    )


def _called(row: dict[str, Any]) -> str:
    return f"{row['in']} x {row['out']}, {row['tokens']}, {100 * row['sparsity']:.0f} %"


def _bounds(results: dict[str, Any]) -> str:
    """Of sparse fp32: the least time that arithmetic and reading allow, and the time it took."""
    rates = results["roofline"]
    lines = []
    for row in results["products"]:
        if row["sparsity"] != 0.9:
            continue
        living = (1 - row["sparsity"]) * row["in"] * row["out"]
        arithmetic = 2 * living * row["tokens"] / rates["gflops_fp32"] / 1e6
        moved = row["bytes"]["sparse fp32"] + 4 * row["tokens"] * (row["in"] + row["out"])
        reading = moved / rates["read_gb_per_second"] / 1e6
        took = row["timings"]["sparse fp32"]["median_ms"]
        share = f"{100 * max(arithmetic, reading) / took:.0f} %"
        times = (f"{each:.3f}" for each in (arithmetic, reading, took))
        lines.append((_called(row), *times, share))
    head = ("sparse fp32", "arithmetic, ms", "memory, ms", "took, ms", "of the bound")
    return table(head, lines)
