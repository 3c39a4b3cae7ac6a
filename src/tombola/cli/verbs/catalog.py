"""The verbs `finders`, `tasks`, `models` and `plans`, which list what is built in."""

import sys
from argparse import Namespace

from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]


def tasks(options: Namespace) -> None:
    from tombola.cli.show.catalog import show_entries
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.tasks.data.sources import split_sizes
    from tombola.tasks.task import load_task, task_names

    tasks = [load_task(name) for name in task_names()]
    entries = [
        ((task.name, task.kind, "/".join(map(str, split_sizes(task))), task.metric), task.source)
        for task in tasks
    ]
    show_entries(("task", "kind", "train/dev/test", "metric"), entries, screen())
    say(screen(), "or your own: FILE.yaml, csv:DIR or csv:FILE (see docs/reference/tasks.md)")


def models(options: Namespace) -> None:
    from tombola.cli.show.catalog import show_entries
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.models.embedded import EMBEDDED, about

    entries = [(fields, source) for *fields, source in map(about, EMBEDDED)]
    show_entries(("model", "kind", "size"), entries, screen())
    say(screen(), "or any folder saved by save_pretrained(), or a hub id")


def plans(options: Namespace) -> None:
    from tombola.cli.show.catalog import show_entries
    from tombola.cli.show.screen import screen
    from tombola.lab.planfile.plan_file import plan_names, plan_text, read_plan
    from tombola.lab.progress.screen import say

    if options.catalog_plan is not None:
        sys.stdout.write(plan_text(options.catalog_plan))
        return
    found = {name: read_plan(name) for name in plan_names()}
    entries = [
        ((name, plan.model, str(len(plan.tasks)), str(len(plan.seeds))), plan.about)
        for name, plan in found.items()
    ]
    show_entries(("plan", "model", "tasks", "seeds"), entries, screen())
    say(screen(), "or your own: `tombola plans NAME > FILE.yaml` prints one to edit")


def finders(options: Namespace) -> None:
    from tombola.cli.show.catalog import show_entries
    from tombola.cli.show.screen import screen
    from tombola.finders.finder import FINDERS
    from tombola.lab.progress.screen import say
    from tombola.lab.run.compute import typical_cost

    found = [FINDERS[name] for name in FINDERS]
    entries = [
        ((each.name, f"{typical_cost(each):.3g}", each.spec().reads, each.about), each.source)
        for each in found
    ]
    show_entries(("finder", "trainings", "reads for scores", "what it does"), entries, screen())
    say(screen(), "or your own, in one file (see docs/how-to/finders.md)")


def no_flags(parser: Parser) -> None:
    """Add nothing: these verbs have no flags."""


def plan_name(parser: Parser) -> None:
    about = "A built-in plan to print as YAML, comments included (default: list them all)"
    parser.add_argument("catalog_plan", nargs="?", metavar="NAME", help=about)


VERBS = {
    "finders": Verb(no_flags, finders),
    "tasks": Verb(no_flags, tasks),
    "models": Verb(no_flags, models),
    "plans": Verb(plan_name, plans),
}
