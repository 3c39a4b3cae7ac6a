"""The verb `report`, which writes a search or plans as one HTML file."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.base.errors import SpecError
from tombola.base.registry import closest, unknown
from tombola.cli.arguments import (
    command,
    data_flag,
    plan_in_store,
    refuse_shared_data,
    refuse_unused_data,
    store_flag,
)
from tombola.cli.parser import Parser, Verb

if TYPE_CHECKING:
    from tombola.report.pages.page import Page
    from tombola.study.report_facts.plan_facts import PlanRuns

__all__ = ["VERBS"]


def report_flags(parser: Parser) -> None:
    """Add the flags of `tombola report`."""
    parser.add_argument(
        "subjects",
        metavar="DIR|PLAN",
        nargs="+",
        help="Output folder of `tombola find`; or plans and tables of runs (.csv, .parquet)",
    )
    data_flag(parser)
    store_flag(parser)
    parser.add_argument(
        "--output", metavar="FILE", help="HTML file (default: report.html, in DIR if one is given)"
    )
    parser.add_argument(
        "--figures", metavar="DIR", help="Folder for figures as wide as a paper's column (SVG, PDF)"
    )


def report(options: Namespace) -> None:
    """Write one HTML file with all results of a search or of plans."""
    from tombola.base.files import check_file
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.report.pages.page import save

    folders = [subject for subject in options.subjects if Path(subject).is_dir()]
    if folders and len(options.subjects) > 1:
        raise SpecError(
            f"expected one search or any number of plans, got the folder {folders[0]!r} among "
            f"{len(options.subjects)} subjects. Report on each search by itself."
        )
    default = Path(*folders, "report.html")
    place = Path(options.output or default)
    check_file(place)
    _check_exist(options.subjects)
    refuse_shared_data(options.data, options.subjects)
    if folders:
        refuse_unused_data(options.data, "the folder of a search")
    page, drawn = _search(Path(folders[0])) if folders else _plans(options)
    written = [save(page, place)]
    if options.figures is not None:
        from tombola.report.figures.paper import save_figures

        written += save_figures(drawn, Path(options.figures))
    for path in written:
        say(screen(), str(path))


def _check_exist(subjects: Sequence[str]) -> None:
    """Refuse a name that is neither a folder or file, nor near that of a plan.

    Raises: SpecError.
    """
    from tombola.lab.planfile.plan_file import plan_names

    for subject in subjects:
        if subject not in plan_names() and not Path(subject).exists():
            if closest(subject, plan_names()):
                raise unknown("plan", subject, plan_names())
            raise SpecError(
                f"{subject!r} is not a search folder, a table of runs or a plan. `tombola plans` "
                "lists the built-in plans."
            )


def _search(folder: Path) -> tuple["Page", dict[str, Any]]:
    """The page of a search, from the folder that `tombola find` wrote, and what figures draw."""
    from tombola.api import one_shot
    from tombola.report.pages.search import search_page
    from tombola.report.pages.search_runs import figure_facts
    from tombola.study.report_facts.search_facts import search_facts

    facts = search_facts(folder, one_shot)
    return search_page(facts), figure_facts(facts)


def _plans(options: Namespace) -> tuple["Page", dict[str, Any]]:
    """The page of plans in a store, of tables of runs, or of both, and what figures draw."""
    from tombola.report.pages.plans.plan_page import plan_page
    from tombola.study.report_facts.plan_facts import plan_facts

    facts = plan_facts([_source(options, subject) for subject in options.subjects])
    return plan_page(facts), facts


def _source(options: Namespace, subject: str) -> "PlanRuns":
    """The runs of one subject: a table of runs, or a plan in the store."""
    from tombola.lab.planfile.plan_file import read_plan
    from tombola.study.report_facts.plan_facts import stored, tabled
    from tombola.study.table.reading import is_table

    if is_table(subject):
        refuse_unused_data(options.data, "a table of runs")
        return tabled(subject)
    named = Namespace(**{**vars(options), "plan": subject})
    plan, store = plan_in_store(named)
    return stored(
        Path(subject).stem, read_plan(subject), plan, store, command=command("run", named)
    )


VERBS = {
    "report": Verb(report_flags, report),
}
