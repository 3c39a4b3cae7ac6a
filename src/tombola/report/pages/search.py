"""The report of one search: verdict, scores, the ticket's anatomy, and how to reproduce it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.fields import field_help
from tombola.base.rounding import percent
from tombola.base.specs import FindSpec, TrainSpec
from tombola.base.text import counted
from tombola.report.figures import score_curve
from tombola.report.figures.style import svg
from tombola.report.numerals import mean_sd, points
from tombola.report.pages.anatomy import anatomy_section, one_shot_section, seeds_section
from tombola.report.pages.command import command, recipe, recorded, searched
from tombola.report.pages.page import Cell, Number, Page, Picture, Section, Table
from tombola.report.pages.plans.explorer import explorer
from tombola.report.pages.search_runs import (
    NetworkRuns,
    network_runs,
    run_list,
    search_groups,
)
from tombola.report.pages.tables import inputs_table, numerics_table, shown, verdict_interval

__all__ = ["search_page"]


def search_page(facts: Mapping[str, Any]) -> Page:
    """The page of a search.

    Args:
        facts: what `search_facts` returns.
    """
    result, first = facts["result"], facts["tickets"][0]["about"]
    final = percent(result["rounds"][-1]["sparsity"])
    label, seeds = facts["finder"]["label"], facts["seeds"]
    networks = network_runs(result, label)
    sections = [
        Section("Verdict", tables=[_verdict(result["verdict"], networks)]),
        _scores(result, networks, label),
        Section("Explore", explorer=explorer(search_groups(networks, seeds, result, label))),
        anatomy_section(facts["tickets"]),
        one_shot_section(facts),
        *([seeds_section(facts["overlap"])] if facts["overlap"] else []),
        *_texts(result),
        _recipe(facts),
        _numerics(facts),
        _runs(facts, networks),
        Section("How to reproduce it", text=_own_files(facts), code=command(facts)),
        Section("What this does not show", points=_limits(facts)),
        Section("The result as JSON", code=json.dumps(result, indent=1, ensure_ascii=False)),
    ]
    return Page(
        title=f"A lottery ticket for {result['task']} in {result['model']}",
        question=(
            f"Does {facts['finder']['label']} find, at {final} sparsity, a subnetwork of "
            f"{result['model']} that trains on {result['task']}, alone and from the pre-trained "
            f"weights, to the {result['metric']} of the whole network?"
        ),
        answers=[_capital(result["verdict"]["sentence"])],
        notes=[_capital(note) for note in result["notes"]],
        sections=sections,
        foot=f"{first['created_by']}, experiment {result['key']}",
        runs=run_list(networks, seeds, result),
    )


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


# --- sections ----------------------------------------------------------------


def _verdict(verdict: Mapping[str, Any], networks: Sequence[NetworkRuns]) -> Table:
    margin = ("margin, fixed before the runs", f"{verdict['margin']:g} points")
    if verdict["interval"] is None:
        return Table((), [("status", verdict["status"]), ("reason", verdict["reason"]), margin])
    needed = verdict.get("seeds_needed")
    runs = [place for one in _compared(networks) for place in one.places]
    difference = points(verdict["difference"], signed=True)
    ends = f"{verdict_interval(verdict)} points"
    rows = [
        ("status", verdict["status"]),
        *([("reason", verdict["reason"])] if verdict.get("reason") else []),
        ("estimand", verdict["estimand"]),
        ("sparsity of the scope", percent(verdict["sparsity"])),
        ("ticket minus dense", Number(f"{difference} points", runs)),
        (f"{percent(verdict['level'])} interval", Number(ends, runs)),
        margin,
        ("seeds", str(verdict["seeds"])),
        *([("seeds that would settle it", str(needed))] if needed is not None else []),
    ]
    return Table((), rows)


def _compared(networks: Sequence[NetworkRuns]) -> list[NetworkRuns]:
    """The ticket of the last round, and dense."""
    tickets = [one for one in networks if "jaccard_one_shot" in one.entry]
    return [*tickets[-1:], networks[0]]


def _scores(result: Mapping[str, Any], networks: Sequence[NetworkRuns], finder: str) -> Section:
    several = len(result["dense"]["values"]) > 1
    rows: list[tuple[Cell, ...]] = [(one.name, one.at, *_entry(one, networks)) for one in networks]
    rows.append(("trivial baseline", "", points(result["trivial"]), "", "", ""))
    columns = ("network", "sparsity", "score", "minus dense", "overlap with one-shot", "each seed")
    width = len(columns) if several else len(columns) - 1
    table = Table(
        columns[:width],
        [row[:width] for row in rows],
        caption=(
            f"{_capital(result['metric'])} on the {result['split']} split at the last step, in "
            f"points{'; mean ± standard deviation over seeds' * several}. Overlap: Jaccard index "
            "of the pruned weights."
        ),
        right=frozenset((1, 2, 3, 4)),
    )
    drawn = Picture(
        svg(score_curve.draw(result, finder)),
        "The controls, all at the final sparsity, are in the strip to the right.",
    )
    return Section("Score against sparsity", pictures=[drawn], tables=[table])


def _entry(one: NetworkRuns, networks: Sequence[NetworkRuns]) -> tuple[Cell, Cell, str, str]:
    """Score, difference from dense, overlap with one-shot, and the score of each seed."""
    entry, dense = one.entry, networks[0]
    each = ", ".join("diverged" if value is None else points(value) for value in entry["values"])
    overlap = entry.get("jaccard_one_shot")
    jaccard = "" if overlap is None else f"{overlap:.3f}"
    if entry["mean"] is None:
        return one.number("diverged"), "", jaccard, each
    score = one.number(mean_sd(entry["mean"], entry["std"]))
    if one is dense or dense.entry["mean"] is None:
        return score, "", jaccard, each
    change = points(entry["mean"] - dense.entry["mean"], signed=True)
    return score, Number(change, [*one.places, *dense.places]), jaccard, each


def _texts(result: Mapping[str, Any]) -> list[Section]:
    """What was read of each split, where it was counted."""
    inputs = {split: each["inputs"] for split, each in result.get("counts", {}).items()}
    table = inputs_table({split: each for split, each in inputs.items() if each})
    return [Section("Texts", tables=[table])] if table.rows else []


def _recipe(facts: Mapping[str, Any]) -> Section:
    search, about = searched(facts), field_help(FindSpec) | facts["finder"]["help"]
    training = field_help(TrainSpec)
    text = []
    if facts["experiment"] is None:
        text = [
            "experiment.json is missing: options of the search that a ticket doesn't record are "
            "shown at their default, and may have been others."
        ]
    columns = ("knob", "value", "meaning")
    return Section(
        "Recipe and knobs",
        text=text,
        tables=[
            Table(
                columns,
                [(name, shown(value), about[name]) for name, value in search.items()],
                caption="The search.",
            ),
            Table(
                columns,
                [
                    (name, shown(value), training.get(name, ""))
                    for name, value in recipe(facts).items()
                ],
                caption="Each training.",
            ),
        ],
    )


def _numerics(facts: Mapping[str, Any]) -> Section:
    abouts = [(ticket["seed"], ticket["about"]) for ticket in facts["tickets"]]
    records = [(f"seed {seed}", recorded(about, "numerics")) for seed, about in abouts]
    versions = [(f"seed {seed}", about["versions"]) for seed, about in abouts]
    return Section(
        "Numerics and versions",
        text=[
            "Runs with the same numerics are bitwise reproducible; runs with different numerics "
            "are not pooled."
        ],
        tables=[numerics_table(records, "Numerics"), numerics_table(versions, "Versions")],
    )


def _runs(facts: Mapping[str, Any], networks: Sequence[NetworkRuns]) -> Section:
    """The key of every training: its name in the store."""
    rows = [
        (one.name, one.at, seed, points(value), key)
        for one in networks
        for seed, value, key in zip(facts["seeds"], one.entry["values"], one.keys, strict=True)
    ]
    digests = [
        (t["seed"], t["about"]["digest"], t["about"]["fingerprint"]) for t in facts["tickets"]
    ]
    return Section(
        "Keys of every run",
        text=[
            "A key names a training in the store, and is a digest of what determines its result: "
            "see `tombola store show KEY`."
        ],
        tables=[
            Table(("network", "sparsity", "seed", "score", "key"), rows, small=True),
            Table(
                ("seed", "digest of the mask", "fingerprint of the network"), digests, small=True
            ),
        ],
    )


def _own_files(facts: Mapping[str, Any]) -> list[str]:
    data = (facts["experiment"] or {}).get("data")
    fingerprint = f" The data's fingerprint is {data}." if data else ""
    return [f"If the task was read from your own files, add --data with their folder.{fingerprint}"]


def _limits(facts: Mapping[str, Any]) -> list[str]:
    result = facts["result"]
    count = len(facts["seeds"])
    seeds = "one seed; another may come out differently" if count == 1 else counted(count, "seed")
    whole = percent(result["whole_model_sparsity"])
    limits = [
        f"The result is about {result['model']} on {result['task']} with this recipe and {seeds}.",
        f"Sparsity is that of the scope; the whole encoder with its embeddings is {whole} zeros.",
        "A mask alone makes a network neither smaller nor faster: the zeros are stored and "
        "multiplied.",
        "Controls are trained with the ticket's recipe; with a learning rate of their own they may "
        "do better.",
        "The margin is the task's. Whether that many points matter is for the reader to judge.",
        f"Every network in the tables was scored on the {result['split']} split. If the recipe was "
        "chosen on it, all scores are too optimistic.",
    ]
    if not result["controls"]:
        limits.append("No controls were trained: a random mask might do as well.")
    return limits
