"""The verb `report`, which writes a search or a plan as one HTML file."""

from argparse import Namespace
from pathlib import Path

from tombola.cli.arguments import command, data_flag, plan_in_store, store_flag
from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]


def report_flags(parser: Parser) -> None:
    """Add the flags of `tombola report`."""
    parser.add_argument(
        "subject", metavar="DIR|PLAN", help="Output folder of `tombola find`, or a plan"
    )
    data_flag(parser)
    store_flag(parser)
    parser.add_argument(
        "--output", metavar="FILE", help="HTML file (default: report.html, in DIR if one is given)"
    )


def report(options: Namespace) -> None:
    """Write one HTML file with all results of a search or a plan."""
    from tombola.base.files import check_file
    from tombola.cli.show.screen import say, screen
    from tombola.report.pages.page import save

    folder = Path(options.subject)
    default = folder / "report.html" if folder.is_dir() else Path("report.html")
    place = Path(options.output or default)
    check_file(place)
    if folder.is_dir():
        from tombola.api import one_shot
        from tombola.report.pages.search import search_page
        from tombola.study.report_facts.search_facts import search_facts

        page = search_page(search_facts(folder, one_shot))
    else:
        from tombola.lab.planfile.plan_file import read_plan
        from tombola.report.pages.plan import plan_page
        from tombola.study.report_facts.plan_facts import plan_facts

        options.plan = options.subject
        plan, kept = plan_in_store(options)
        facts = plan_facts(options.plan, read_plan(options.plan), plan, kept)
        page = plan_page(facts, command=command("run", options))
    say(screen(), str(save(page, place)))


VERBS = {
    "report": Verb(report_flags, report),
}
