"""The page of plans: verdicts, networks to explore, transfer, claims, and the key of every run."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.base.text import counted
from tombola.report.figures import score_curve
from tombola.report.figures.style import svg
from tombola.report.pages.page import Cell, Number, Page, Picture, Section
from tombola.report.pages.plans.claims import claims_sections
from tombola.report.pages.plans.connectivity import connectivity_sections
from tombola.report.pages.plans.explorer import explorer
from tombola.report.pages.plans.leaderboard import leaderboard_sections
from tombola.report.pages.plans.networks import scores_table, verdict_tables
from tombola.report.pages.plans.records import record_sections
from tombola.report.pages.plans.transfer import transfer_sections
from tombola.report.pages.tables import overlap_table, shown

__all__ = ["drawn_searches", "plan_page"]

Facts = Mapping[str, Any]
MOST_ANSWERS = 12
MOST_PICTURES = 8
"""Searches that are drawn; the charts to explore have all of them."""


def plan_page(facts: Facts) -> Page:
    """The page of one or more plans, finished or not; gaps are marked.

    Args:
        facts: what `plan_facts` returns.
    """
    several = len(facts["plans"]) > 1
    groups, sources = facts["groups"], facts["sources"]
    margins = {(each["plan"], each["target"]): each["margin"] for each in groups}
    verdicts = verdict_tables(groups, several=several)
    sections = [
        *_explored(groups),
        Section("Networks", tables=[scores_table(groups, several=several)]),
        *([Section("Verdicts", tables=verdicts)] if verdicts else []),
        *_searches(facts),
        *leaderboard_sections(facts["leaderboard"], several=several),
        *transfer_sections(facts["transfer"], margins, several=several),
        *claims_sections(facts["claims"]),
        *_overlaps(sources),
        *connectivity_sections([line for each in sources for line in each.get("lines", ())]),
        *record_sections(sources),
        Section("What this does not show", points=_limits(sources)),
    ]
    return Page(
        title=_title(facts["plans"]),
        question=" ".join(filter(None, (each.get("about", "") for each in sources))),
        answers=_answers(facts["answers"], several=several),
        notes=_notes(facts),
        sections=sections,
        foot="; ".join(map(_foot, sources)),
        runs=facts["runs"],
    )


def _title(plans: Sequence[str]) -> str:
    return f"Plan{'' if len(plans) == 1 else 's'} {', '.join(plans)}"


def _foot(source: Facts) -> str:
    if "model" not in source:
        return f"table {source['name']}"
    return f"{source['model']}, scope {source['scope']}, seeds {shown(source['seeds'])}"


def _answers(answers: Sequence[Facts], *, several: bool) -> list[Cell]:
    """The first verdicts in words, and how many more there are."""
    found = [
        Number(
            (f"{each['plan']}: " if several and each["plan"] else "") + each["text"], each["runs"]
        )
        for each in answers[:MOST_ANSWERS]
    ]
    more = len(answers) - MOST_ANSWERS
    return [*found, f"{more:,} more are in the tables below."] if more > 0 else list(found)


def _notes(facts: Facts) -> list[str]:
    """Why nothing is decided on some tasks, and what is not done."""
    several = len(facts["plans"]) > 1
    premises = dict.fromkeys(
        f"Nothing is decided on {_where(group, several=several)}: {group['premise']}."
        for group in facts["groups"]
        if group["premise"]
    )
    gaps = [note for source in facts["sources"] if (note := _gaps(source))]
    if facts["missing"] and not gaps:
        runs = counted(facts["rows"], "run")
        gaps = [f"{facts['missing']:,} of {runs} are not done: dashes mark the gaps."]
    return [*premises, *facts["notes"], *gaps]


def _where(group: Facts, *, several: bool) -> str:
    """A task, and its plan if there are several."""
    return f"{group['target']} in {group['plan']}" if several else str(group["target"])


def _gaps(source: Facts) -> str:
    """How many jobs of a plan in a store are not done."""
    jobs = source.get("jobs", ())
    gaps = sum(not job["done"] for job in jobs)
    total = counted(len(jobs), "job")
    return f"{gaps:,} of {total} are not done: dashes mark the gaps." if gaps else ""


# --- sections ----------------------------------------------------------------


def _explored(groups: Sequence[Facts]) -> list[Section]:
    found = explorer(groups)
    return [Section("Explore the networks", explorer=found)] if found else []


def drawn_searches(facts: Facts) -> list[Facts]:
    """The searches of which any ticket is done, each with its model, or its plan without a store.

    Args:
        facts: what `plan_facts` returns.
    """
    models = {each["name"]: each["model"] for each in facts["sources"] if "model" in each}
    return [
        {**search, "model": models.get(search["plan"], search["plan"])}
        for search in facts["searches"]
        if any(value is not None for one in search["rounds"] for value in one["values"])
    ]


def _searches(facts: Facts) -> list[Section]:
    """A picture of each search, for paper and for readers without scripts."""
    found = drawn_searches(facts)
    if not found:
        return []
    pictures = [
        Picture(
            svg(score_curve.draw(search, search["finder"])),
            f"Arm {search['arm']} on {search['task']}: score against sparsity.",
        )
        for search in found[:MOST_PICTURES]
    ]
    more = len(found) - MOST_PICTURES
    text = [f"{more:,} more can be explored above."] if more > 0 else []
    return [Section("Searches", text=text, pictures=pictures)]


def _overlaps(sources: Sequence[Facts]) -> list[Section]:
    tables = [overlap_table(each["overlap"]["pairs"]) for each in sources if each.get("overlap")]
    return [Section("Overlap of the masks", tables=tables)] if tables else []


def _limits(sources: Sequence[Facts]) -> list[str]:
    models = list(dict.fromkeys(each["model"] for each in sources if "model" in each))
    about = f"about {', '.join(models)} with these recipes" if models else "about these recipes"
    return [
        f"The results are {about}, and no other network.",
        "A mask alone makes a network neither smaller nor faster: the zeros are stored and "
        "multiplied.",
        "A verdict on one seed is about its test examples, and says nothing about other seeds.",
        "Among many verdicts some are wrong by chance. That every task matches can be read off the "
        "verdicts as they are; which of the tasks match needs a correction for their number.",
    ]
