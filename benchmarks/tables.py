"""Tables and bottlenecks of docs/explanation/performance.md, from results.json and nothing else."""

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["limits", "table", "tables"]

GOALS = (
    ("*Padded* / ours", "padded / ours", 7.0),
    ("*Padded* / ours with two workers", "padded / ours with 2 workers", 7.0),
    ("*Trainer* / ours, same precision", "trainer / ours", 1.5),
    ("*Trainer* / ours with two workers", "trainer / ours with 2 workers", 3.0),
    (
        "*Trainer* with dense runs apart / ours with two workers",
        "trainer and its dense runs / ours with 2 workers",
        3.0,
    ),
)
"""What a ratio is called, its name in the results, and what it should be."""
IN_C = (
    "attention: products and softmax",
    "GELU",
    "normalisation",
    "AdamW and clip norm",
    "the rest, with the parts in C",
)
"""Parts of a training that run in C, whose time torch's profile adds to the rest."""
FACTORS = {
    "two workers of one thread each": "factor: 2 workers of 1 thread",
    "shared runs: dense is round one": "factor: shared runs",
    "bf16": "factor: bf16",
    "bf16, *Trainer*": "factor: bf16 for trainer",
}


def tables(results: dict[str, Any]) -> str:
    """All of them, as Markdown."""
    time = results["time_to_ticket"]
    parts = [
        _machine(time),
        "### Time to ticket\n",
        table(
            ("times faster", "measured", "goal"),
            ((name, _times(time["ratios"][key]), f"{goal:g} x") for name, key, goal in GOALS),
        ),
        "Each factor alone:\n",
        table(
            ("factor", "times faster"),
            ((name, _times(time["ratios"][key])) for name, key in FACTORS.items()),
        ),
        "Every row of the run:\n",
        table(
            ("row", "seconds", "trainings", "useful tokens a second", "dense", "ticket"),
            (_row(name, row) for name, row in time["rows"].items()),
        ),
        _utilisation(time),
        _shares(time),
        _cold(time),
        _parts(results["parts"]),
        _prune(results["prune"]),
        _memory(results["memory"]),
        _cost(results["cost"]),
    ]
    return "\n".join(parts)


def limits(results: dict[str, Any]) -> str:
    """What keeps a search from being faster, in sentences."""
    time = results["time_to_ticket"]
    short, long = time["share_of_a_search"].values()
    kept = short["keeping weights"] + short["reading weights"]
    rates = {**time["utilisation"]}
    pair = _range([rates.pop("ours, 2 workers")])
    ours, padded, trainer = (
        _range(rate for name, rate in rates.items() if side in name)
        for side in ("ours", "padded", "trainer")
    )
    speed = {name: _tokens_a_second(row) for name, row in time["rows"].items()}
    two, one = time["rows"]["ours, 2 workers"], time["rows"]["ours"]
    steps = [
        time[name]["examples"] * time[name]["epochs"] // time[name]["batch_size"]
        for name in ("protocol", "long_protocol")
    ]
    return (
        f"- *Short trainings*: with {steps[0]} steps per training, "
        f"{100 * (1 - short['training']):.0f} % of a search's time goes into other things: "
        f"evaluation {100 * short['evaluation']:.0f} %, writing and reading weights "
        f"{100 * kept:.0f} %, pruning {100 * short['pruning']:.0f} %. With {steps[1]} steps per "
        f"training (the long round) it is {100 * (1 - long['training']):.0f} %.\n"
        f"- *Matrix products*: within a training they are the limit. On useful tokens, our "
        f"trainings run at {ours} of the machine's rate, and at {pair} with two workers; *Padded* "
        f"runs at {padded}, `Trainer` at {trainer}. Trainings alone process "
        f"{speed['ours'] / speed['padded']:.1f} times as many useful tokens a second as *Padded*, "
        f"and {speed['ours'] / speed['trainer']:.1f} times as many as `Trainer`.\n"
        f"- *Two workers* process {speed['ours, 2 workers'] / speed['ours']:.2f} times as many "
        f"useful tokens a second as one with two threads, but this search takes "
        f"{two['seconds'] / one['seconds']:.2f} times as long: it is too short to make up for the "
        "start of the workers.\n"
    )


def _range(shares: Iterable[float]) -> str:
    """The least and the greatest of some shares, as whole percents."""
    found = sorted(round(100 * share) for share in shares)
    return f"{found[0]} %" if found[0] == found[-1] else f"{found[0]} to {found[-1]} %"


def _tokens_a_second(row: dict[str, Any]) -> float:
    """The useful tokens of a row, a second of its trainings."""
    return float(row["tokens"] * row.get("workers", 1) / row["training_seconds"])


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of Markdown, its first column to the left and the others to the right."""
    lines = [head, ("---",) + ("---:",) * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _times(ratio: float) -> str:
    return f"{ratio:.2f} x"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _machine(time: dict[str, Any]) -> str:
    about, protocol = time["machine"], time["protocol"]
    return (
        f"{about['processor']}, {about['cores']} cores, {about['instruction_set']}; torch "
        f"{about['versions']['torch']}, transformers {about['versions']['transformers']}; load "
        f"before the run {about['load_before']}. IMP to {protocol['rounds']}0 %, "
        f"{protocol['rounds']} rounds, {len(protocol['seeds'])} seeds, {protocol['examples']} "
        f"examples, {protocol['epochs']} epoch, batches of {protocol['batch_size']}, "
        f"{protocol['threads']} threads, {protocol['precision']}.\n"
    )


def _row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    scores = (
        f"{statistics.mean(row[side]):.1f}" if row[side] else "" for side in ("dense", "ticket")
    )
    return (
        name,
        f"{row['seconds']:.1f}",
        str(row["trainings"]),
        f"{_tokens_a_second(row):,.0f}",
        *scores,
    )


def _utilisation(time: dict[str, Any]) -> str:
    rate = time["matmul_gflops"]["best_of_2_threads"]
    shares = time["utilisation"].items()
    return (
        f"### Use of the machine\n\nIts matrix-multiply rate in this run is {rate:.0f} GFLOP/s "
        "(the goal: 60 % of it on useful tokens, padding not counted).\n\n"
        + table(("row", "of the rate"), ((name, _percent(share)) for name, share in shares))
    )


def _shares(time: dict[str, Any]) -> str:
    short, long = time["share_of_a_search"].values()
    examples = [time[name]["examples"] for name in ("protocol", "long_protocol")]
    head = ("part", *(f"of trainings on {count:,} examples" for count in examples))
    return (
        "Shares of a search (the goals: pruning under 1 %, all others but training 10 %):\n\n"
        + table(
            head, ((part, _percent(share), _percent(long[part])) for part, share in short.items())
        )
    )


def _cold(time: dict[str, Any]) -> str:
    median = statistics.median(time["cold_start_seconds"])
    return (
        f"`tombola find` has done its first step {median:.1f} s after a cold start (goal: 6 s).\n"
    )


def _parts(parts: dict[str, Any]) -> str:
    return (
        "### Where the time of a training goes\n\n"
        f"Of a masked training on one thread, {parts['seconds']:.0f} s. The products of its linear "
        f"layers run at {parts['gflops_of_linear_layers']:.0f} GFLOP/s, one of 2048 x 2048 at "
        f"{parts['matmul_gflops']:.0f}.\n\n"
        + table(("part", "share"), ((p, _percent(share)) for p, share in _merged(parts["shares"])))
    )


def _merged(shares: dict[str, float]) -> Iterator[tuple[str, float]]:
    """The shares, with those of the parts in C as one."""
    yield from ((part, share) for part, share in shares.items() if part not in IN_C)
    together = "attention, GELU, normalisation, AdamW (parts in C), and the rest"
    yield together, sum(shares[part] for part in IN_C)


def _prune(prune: dict[str, Any]) -> str:
    ratio, medians = prune["torch / keep_top"], prune["medians"]
    return f"### Pruning {prune['weights']:,} weights\n\n" + table(
        ("", "`keep_top`", "`global_unstructured`", "ratio", "goal"),
        [
            (
                "seconds",
                f"{medians['keep_top']['seconds']:.2f}",
                f"{medians['torch']['seconds']:.2f}",
                _times(ratio["seconds"]),
                "20 x",
            ),
            (
                "extra MB",
                f"{medians['keep_top']['extra_mb']:.0f}",
                f"{medians['torch']['extra_mb']:.0f}",
                _times(ratio["extra_mb"]),
                "3 x",
            ),
        ],
    )


def _memory(memory: dict[str, Any]) -> str:
    peaks, ratios = memory["peak_bytes"], memory["ratios"]
    return f"### Memory of a network of {memory['weights']:,} weights\n\n" + table(
        ("training", "peak MB", "of ours, dense (goal: 1.3)", "of a plain loop of torch"),
        (
            (
                name,
                f"{peak / 1e6:.0f}",
                f"{ratios[f'{name} / dense']:.2f}",
                f"{ratios[f'{name} / plain']:.2f}",
            )
            for name, peak in peaks.items()
        ),
    )


def _cost(cost: dict[str, Any]) -> str:
    rate = cost["matmul_gflops"]

    def line(name: str, one: dict[str, Any]) -> tuple[str, ...]:
        milliseconds = 1e6 * one["seconds"] / cost["tokens_a_step"]
        share = _percent(one["useful_gflops"] / rate)
        return name, f"{one['weights'] / 1e6:.1f} M", f"{milliseconds:.0f}", share

    head = ("weights in scope", "ms a thousand tokens", "of the machine's rate")
    first = next(iter(cost["rounds"].values()))["seconds"]
    rounds = (
        (n, str(one["trainings"]), f"{one['seconds']:.1f}", f"{one['seconds'] / first:.2f}")
        for n, one in cost["rounds"].items()
    )
    return (
        "### Cost\n\n"
        + table(
            ("tokens of each text", *head), (line(str(o["length"]), o) for o in cost["lengths"])
        )
        + "\n"
        + table(("blocks x width", *head), (line(n, one) for n, one in cost["shapes"].items()))
        + "\n"
        + table(("rounds", "trainings", "seconds", "of the first row"), rounds)
    )
