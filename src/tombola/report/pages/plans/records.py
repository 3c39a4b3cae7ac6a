"""What a store records of its plans: texts, recipes, numerics, keys, and how to run them again."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.text import counted
from tombola.report.numerals import points
from tombola.report.pages.page import Section, Table
from tombola.report.pages.tables import inputs_table, numerics_table, shown

__all__ = ["record_sections"]

SourceRecord = Mapping[str, Any]
MOST_KEYS = 2000
"""Jobs that are listed; the runs behind a number have their keys all the same."""


def record_sections(sources: Sequence[SourceRecord]) -> list[Section]:
    """The sections on plans in a store; none for tables of runs, which record no more than runs.

    Args:
        sources: those of `plan_facts`.
    """
    there = [each for each in sources if "jobs" in each]
    if not there:
        return []
    texts = [table for each in there if (table := _texts(each["texts"])).rows]
    commands = "\n".join(each["command"] for each in there)
    return [
        *([Section("Texts", tables=texts)] if texts else []),
        Section("Recipes", tables=[_recipes(each, named=len(there) > 1) for each in there]),
        Section("Numerics", tables=[_numerics([job for each in there for job in each["jobs"]])]),
        _keys([job for each in there for job in each["jobs"]]),
        Section("How to reproduce it", code=commands),
    ]


def _texts(tasks: Mapping[str, Mapping[str, Any]]) -> Table:
    return inputs_table(
        {f"{task}, {split}": each for task, found in tasks.items() for split, each in found.items()}
    )


def _recipes(source: SourceRecord, *, named: bool) -> Table:
    tasks = source["tasks"]
    names = dict.fromkeys(name for recipe in tasks.values() for name in recipe)
    rows = [
        (name, *(shown(recipe[name]) for recipe in tasks.values()))
        for name in names
        if name not in ("seed", "order_seed")
    ]
    return Table(("knob", *tasks), rows, caption=f"Plan {source['name']}." if named else "")


def _numerics(jobs: Sequence[Mapping[str, Any]]) -> Table:
    records = [(job["kind"], job["numerics"]) for job in jobs if job["numerics"]]
    return numerics_table(list({str(r): r for r in records}.values()), "Numerics")


def _keys(jobs: Sequence[Mapping[str, Any]]) -> Section:
    """The key of every job, and whether it is done; of very many, the first."""
    unique = list({job["key"]: job for job in jobs}.values())
    rows = [
        (
            job["label"],
            job["kind"] if job["done"] else "not done",
            "diverged" if job["diverged"] else "" if job["score"] is None else points(job["score"]),
            job["key"],
        )
        for job in unique[:MOST_KEYS]
    ]
    more = len(unique) - MOST_KEYS
    text = [f"{counted(more, 'run')} more have their keys behind the numbers."] if more > 0 else []
    table = Table(("run", "kind", "score", "key"), rows, right=frozenset((2,)), small=True)
    return Section("Keys of every run", text=text, tables=[table])
