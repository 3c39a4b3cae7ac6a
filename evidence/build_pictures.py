"""The estimates and the three pictures of the study, from its rows.

python evidence/build_pictures.py FOLDER [--output FOLDER]

FOLDER holds rows.csv, or a table of each plan, such as plans.tar.gz unpacked.
"""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import altair as alt

from estimates import (
    Estimate,
    Table,
    Trend,
    against,
    between,
    corrected,
    dose,
    estimate,
    gaps,
    means,
    read_plans,
    resolution,
    scores,
    trend,
)
from tombola.report.figures.score_curve.looks import TICKET, look_of
from tombola.report.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    INK,
    VERMILION,
    chart_of,
    save_chart,
    styled,
)

Mark: TypeAlias = dict[str, Any]
Sources: TypeAlias = Mapping[str, tuple[str, str]]

HALF, MOST = Decimal("0.5"), Decimal("0.7")
TARGETS = ("sentiment", "gloss-span", "supersense")
MEAN = "mean of targets"
COLOURS = {MEAN: BLACK, **dict(zip(TARGETS, (BLUE, VERMILION, GREEN), strict=True))}
NETWORKS = {
    "imp": ("ticket", TICKET[0]),
    **{
        kind: (name, look_of(kind)[0])
        for kind, name in (
            ("one-shot", "one-shot"),
            ("random", "random mask"),
            ("reinit", "fresh weights"),
            ("shuffle", "shuffled weights"),
        )
    },
}
ASIDE = {"one-shot": -0.015, "random mask": 0.015, "fresh weights": 0.03, "shuffled weights": -0.03}
"""How far from its sparsity a control is drawn, so that none hides another."""
FAMILIES = {
    "dose": ("mlm", "full recipes"),
    "small": ("mlm", "short recipes"),
    "span": ("gloss-span", "full recipes"),
}
"""Beginning of the names of plans that differ in their dose -> the source, how targets train."""
SOURCES = {
    "dose-0.13": ("full recipe", "moved"),
    "dose-0.40": ("three times as long", "moved"),
    "no-rewind": ("three times as long, never rewound", "moved-never-rewound"),
    "lineage": ("Brown alone", "moved"),
    "quarter-steps": ("a quarter of the texts, as many steps", "moved"),
    "quarter-epochs": ("a quarter of the texts, as many epochs", "moved"),
}
"""Plan -> what its source is, and the arm with its tickets."""
SMALL = "small-0.04"
SMALL_SOURCES = {
    SMALL: ("one epoch", "moved"),
    "small-no-rewind": ("never rewound", "moved"),
    "small-lineage": ("Brown alone", "moved"),
    "small-quarter-steps": ("a quarter of the texts, as many steps", "moved"),
    "small-quarter-epochs": ("a quarter of the texts, as many epochs", "moved"),
}
"""The same of the small study, whose one-shot pruning is that of SMALL."""
QUESTIONS = (
    ("lineage", "dose-0.13"),
    ("quarter-steps", "dose-0.13"),
    ("quarter-epochs", "quarter-steps"),
    ("small-no-rewind", SMALL),
    ("small-lineage", SMALL),
    ("small-quarter-steps", SMALL),
    ("small-quarter-epochs", "small-quarter-steps"),
)
"""Plans whose tickets of mlm are compared, the first minus the second."""


def doses(plans: Mapping[str, Table], family: str) -> list[Table]:
    """The tables of a family of plans, by dose."""
    return sorted((t for name, t in plans.items() if name.startswith(f"{family}-0")), key=dose)


# --- estimates ---------------------------------------------------------------


def report(plans: Mapping[str, Table]) -> str:
    """Every estimate that README.md fixes, as far as there are rows for it."""
    return "\n".join([*_trends(plans), *_transfers(plans), *_questions(plans)])


def _trends(plans: Mapping[str, Table]) -> Iterator[str]:
    for family, (source, targets_train) in FAMILIES.items():
        tables = doses(plans, family)
        if len(tables) < 2:
            continue
        main = trend(tables, MOST)
        yield f"trend of {source}, {targets_train}, points a doubling, at 70 %: {_said(main)}"
        targets = [each for each in TARGETS if each != source]
        others: dict[str, Trend] = {}
        for name, found in (
            *((target, trend(tables, MOST, [target])) for target in targets),
            ("at 50 %", trend(tables, HALF)),
        ):
            if found:
                others[name] = found
        adjusted = corrected(others)
        for name, found in others.items():
            yield f"  {name}: {found.slope}, P {found.p:.3f}, by Holm {adjusted[name]:.3f}"


def _said(found: Trend | None) -> str:
    return f"{found.slope}, P {found.p:.3f}" if found else "fewer than two seeds"


def _transfers(plans: Mapping[str, Table]) -> Iterator[str]:
    for family in FAMILIES:
        for table in doses(plans, family):
            for sparsity in (HALF, MOST):
                for second in ("one-shot", "random", "own"):
                    found = against(table, "moved", second, sparsity)
                    yield f"{table[0].plan} at {sparsity:.0%}, moved - {second}: {found}"


def _questions(plans: Mapping[str, Table]) -> Iterator[str]:
    if table := plans.get("no-rewind"):
        found = against(table, "moved-never-rewound", "moved", MOST)
        yield f"never rewound - rewound: {found}"
    for pair in QUESTIONS:
        if set(pair) <= plans.keys():
            first, second = (plans[name] for name in pair)
            found = between(first, second, ("moved", "moved"), MOST)
            yield f"{' - '.join(pair)}: {found}"


# --- pictures ----------------------------------------------------------------


def _mark(found: Estimate | None, **more: Any) -> list[Mark]:
    if found is None:
        return []
    return [{"mean": found.mean, "low": found.low, "high": found.high, **more}]


def dose_marks(tables: Sequence[Table], sparsity: Decimal) -> list[Mark]:
    """Transfer minus one-shot at each dose, for each target and their mean."""
    marks = []
    for table in tables:
        pair = scores(table, "moved", sparsity), scores(table, "one-shot", sparsity)
        both, at = gaps(*pair), dose(table)
        step = resolution(table)
        marks += _mark(estimate(means(both), step), dose=at, target=MEAN)
        for target in next(iter(both.values()), {}):
            each = [mine[target] for mine in both.values()]
            marks += _mark(estimate(each, step), dose=at, target=target)
    return marks


def dose_picture(plans: Mapping[str, Table]) -> Any:
    """Transfer minus one-shot against the dose, a panel for each source and sparsity; intervals are
    those of the mean."""
    panels = [
        _dose_panel(marks, f"ticket of {source} at {sparsity:.0%}, {targets_train}")
        for family, (source, targets_train) in FAMILIES.items()
        for sparsity in (MOST, HALF)
        if (marks := dose_marks(doses(plans, family), sparsity))
    ]
    return styled(alt.hconcat(*panels, spacing=24))


def _dose_panel(marks: Sequence[Mark], title: str) -> Any:
    names = [name for name in COLOURS if any(mark["target"] == name for mark in marks)]
    base = chart_of(marks).encode(
        x=alt.X(
            "dose:Q",
            title="summed learning rate",
            scale=alt.Scale(type="log", base=2),
            axis=alt.Axis(values=sorted({mark["dose"] for mark in marks}), format=".2f"),
        ),
        color=alt.Color(
            "target:N",
            sort=names,
            scale=alt.Scale(domain=names, range=[COLOURS[name] for name in names]),
            legend=alt.Legend(title=None, symbolOpacity=1),
        ),
    )
    y = alt.Y("mean:Q", title="minus one-shot, points")
    mean = base.transform_filter(f"datum.target == '{MEAN}'")
    layers = (
        chart_of([{"zero": 0}]).mark_rule(color="#999999").encode(y="zero:Q"),
        mean.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q"),
        base.mark_line(opacity=0.6).encode(y=y),
        mean.mark_line(strokeWidth=3).encode(y=y),
        base.mark_point(filled=True, size=40, opacity=1).encode(y=y),
    )
    return alt.layer(*layers).properties(width=230, height=260, title=_title(title))


def _title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, anchor="start", color=INK, fontSize=13)


def table2_marks(table: Table) -> list[Mark]:
    """Every network of Table 2 minus dense, by task and sparsity."""
    found: dict[tuple[str, str, Decimal], list[float]] = {}
    for row in table:
        if row.kind in NETWORKS and row.sparsity and row.difference is not None:
            network = row.target, NETWORKS[row.kind][0], row.sparsity
            found.setdefault(network, []).append(row.difference)
    return [
        mark
        for (task, network, sparsity), values in found.items()
        for mark in _mark(
            estimate(values, resolution(table)),
            task=task,
            network=network,
            sparsity=float(sparsity) + ASIDE.get(network, 0.0),
        )
    ]


def table2_picture(table: Table) -> Any:
    """Score minus dense against sparsity, a panel for each task."""
    marks = table2_marks(table)
    tasks = list(dict.fromkeys(mark["task"] for mark in marks))
    panels = [_table2_panel([m for m in marks if m["task"] == task], task) for task in tasks]
    lines = [alt.hconcat(*panels[at : at + 3], spacing=24) for at in range(0, len(panels), 3)]
    return styled(alt.vconcat(*lines))


def _table2_panel(marks: Sequence[Mark], task: str) -> Any:
    names = dict(NETWORKS.values())
    base = chart_of(marks).encode(
        x=alt.X(
            "sparsity:Q",
            title="weights pruned",
            scale=alt.Scale(domain=[0.25, 0.95]),
            axis=alt.Axis(format="%", values=[0.3, 0.5, 0.7, 0.9]),
        ),
        color=alt.Color(
            "network:N",
            sort=list(names),
            scale=alt.Scale(domain=list(names), range=list(names.values())),
            legend=alt.Legend(title=None, symbolOpacity=1),
        ),
    )
    y = alt.Y("mean:Q", title="minus dense, points")
    layers = (
        chart_of([{"zero": 0}]).mark_rule(color="#999999").encode(y="zero:Q"),
        base.mark_rule(opacity=0.5).encode(y="low:Q", y2="high:Q"),
        base.mark_line().encode(y=y),
        base.mark_point(filled=True, size=45, opacity=1).encode(y=y),
    )
    return alt.layer(*layers).properties(width=220, height=190, title=_title(task))


def source_marks(plans: Mapping[str, Table], sources: Sources, base: str = "") -> list[Mark]:
    """Transfer minus one-shot at 70 % of the tickets of mlm, by what the source was.

    Args:
        plans: name -> rows.
        sources: those that are shown, as far as there are rows.
        base: the plan with one-shot pruning; by default, each has its own.
    """
    return [
        mark
        for name, (what, arm) in sources.items()
        if {name, base or name} <= plans.keys()
        for mark in _mark(
            between(plans[name], plans[base or name], (arm, "one-shot"), MOST), source=what
        )
    ]


def source_picture(marks: Sequence[Mark]) -> Any:
    """What the transfer of mlm's ticket depends on."""
    order = [mark["source"] for mark in marks]
    y = alt.Y("source:N", sort=order, title=None, axis=alt.Axis(labelLimit=300))
    base = chart_of(marks).encode(y=y)
    layers = (
        chart_of([{"zero": 0}]).mark_rule(color="#999999").encode(x="zero:Q"),
        base.mark_rule().encode(x=alt.X("low:Q", title="minus one-shot, points"), x2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1, color=TICKET[0]).encode(x="mean:Q"),
    )
    title = _title("ticket of mlm at 70 %, mean of three targets")
    return styled(alt.layer(*layers).properties(width=380, height=38 * len(order), title=title))


def main() -> None:
    """Print the estimates and write the pictures."""
    parser = ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    plans = read_plans(options.folder)
    print(report(plans))
    options.output.mkdir(parents=True, exist_ok=True)
    if any(doses(plans, family) for family in FAMILIES):
        save_chart(dose_picture(plans), options.output, "dose")
    if "table2" in plans:
        save_chart(table2_picture(plans["table2"]), options.output, "table2")
    for name, sources, base in (("sources", SOURCES, ""), ("small-sources", SMALL_SOURCES, SMALL)):
        if len(marks := source_marks(plans, sources, base)) > 1:
            save_chart(source_picture(marks), options.output, name)


if __name__ == "__main__":
    main()
