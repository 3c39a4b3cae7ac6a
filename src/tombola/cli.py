"""The command line: one verb each, its flags taken from the specs.

Exit status: 0 done, 2 for anything that the user can mend, 130 after Ctrl-C.
"""

import json
import sys
from argparse import SUPPRESS, Namespace
from collections.abc import Callable, Sequence
from typing import Any

from tombola import __version__
from tombola.errors import TombolaError
from tombola.flags import Parser, add_flags
from tombola.registry import unknown
from tombola.specs import EvaluateSpec, FindSpec, TrainSpec

__all__ = ["main"]

EXAMPLE = """\
import tombola
from transformers import AutoModel
model = AutoModel.from_pretrained(tombola.model_path({model!r}))
tombola.Ticket.load({ticket!r}).apply(model)"""


def _experiment_flags(parser: Parser) -> None:
    """The flags that every experiment has besides its own."""
    recipe = parser.add_argument_group("training (by default the task's recipe)")
    add_flags(recipe, TrainSpec, leave_out={"seed"}, default="")
    places = parser.add_argument_group("files")
    places.add_argument("--data", metavar="DIR", default=SUPPRESS, help="the task's files")
    places.add_argument(
        "--output",
        metavar="DIR",
        default=SUPPRESS,
        help="where everything goes (default: a folder under runs/ named by the experiment)",
    )
    places.add_argument("--json", metavar="FILE", help="also write the result there")
    places.add_argument(
        "--config", metavar="FILE", help="YAML file with flags; flags given here win"
    )


def _find_parser(parser: Parser) -> None:
    add_flags(parser.add_argument_group("search"), FindSpec)
    _experiment_flags(parser)


def _find(options: Namespace) -> None:
    from tombola.lab.options import find_options

    knobs = _knobs(options)
    find_options({k: v for k, v in knobs.items() if k not in ("data", "output")})

    from rich.console import Console

    from tombola import api
    from tombola.terminal import Live, show_found

    _quiet()
    console = Console()
    with Live(console) as live:
        found = api.find(watch=live, **knobs)
    _write_json(options.json, found.to_json())
    example = EXAMPLE.format(ticket=found.ticket, model=found.model)
    show_found(found.to_json(), console, example=example)


def _evaluate_parser(parser: Parser) -> None:
    parser.add_argument("ticket", metavar="TICKET", help="folder of the ticket")
    parser.add_argument("--model", default=SUPPRESS, help="where the ticket's network is now")
    add_flags(parser.add_argument_group("evaluation"), EvaluateSpec)
    _experiment_flags(parser)


def _evaluate(options: Namespace) -> None:
    from rich.console import Console

    from tombola import api
    from tombola.terminal import Live, show_evaluated

    _quiet()
    console, knobs = Console(), _knobs(options)
    with Live(console) as live:
        evaluated = api.evaluate(watch=live, **knobs)
    _write_json(options.json, evaluated.to_json())
    show_evaluated(evaluated.to_json(), console)


def _inspect_parser(parser: Parser) -> None:
    parser.add_argument("ticket", metavar="TICKET", help="folder of the ticket")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def _inspect(options: Namespace) -> None:
    from rich.console import Console

    from tombola import api
    from tombola.terminal import show_ticket

    facts = api.inspect(options.ticket)
    if options.json:
        print(json.dumps(facts, indent=1))
    else:
        show_ticket(facts, Console())


def _tasks(options: Namespace) -> None:
    from rich.console import Console

    from tombola.task.data import split_sizes
    from tombola.task.tasks import load_task, task_names
    from tombola.terminal import show_rows

    tasks = [load_task(name) for name in task_names()]
    rows = [
        (task.name, task.kind, "/".join(map(str, split_sizes(task))), task.metric, task.source)
        for task in tasks
    ]
    show_rows(("task", "kind", "train/dev/test", "metric", "source"), rows, Console())


def _models(options: Namespace) -> None:
    from rich.console import Console

    from tombola.task.embedded import EMBEDDED, about
    from tombola.terminal import show_rows

    rows = [about(name) for name in EMBEDDED]
    show_rows(("model", "kind", "size", "source"), rows, Console())
    Console().print("or any folder that save_pretrained() wrote, or a hub id")


VERBS: dict[str, tuple[str, Callable[[Parser], None], Callable[[Namespace], None]]] = {
    "find": ("find a ticket, and compare it with dense and controls", _find_parser, _find),
    "evaluate": ("train a ticket on a task with fresh seeds", _evaluate_parser, _evaluate),
    "inspect": ("sparsity per matrix, provenance and size of a ticket", _inspect_parser, _inspect),
    "tasks": ("the tasks that can be named", lambda parser: None, _tasks),
    "models": ("the models that the package carries", lambda parser: None, _models),
}
"""Verb -> what it does, its flags, and the function that does it."""


def _knobs(options: Namespace) -> dict[str, Any]:
    """What goes to the Python function: everything given but the command line's own flags."""
    return {k: v for k, v in vars(options).items() if k not in ("json", "config")}


def _write_json(path: str | None, content: dict[str, Any]) -> None:
    if path is not None:
        from tombola.ticket.folder import write_file

        write_file(path, json.dumps(content, indent=1) + "\n")


def _overview() -> str:
    verbs = "\n".join(f"  {name:10}{about}" for name, (about, _, _) in VERBS.items())
    return (
        "usage: tombola VERB [flags]\n\nLottery tickets for pre-trained transformers.\n\n"
        f"{verbs}\n\n`tombola VERB --help` tells the flags of a verb; `tombola --version`, "
        "the version."
    )


def _quiet() -> None:
    """Keep the libraries' own progress bars and reports out of ours."""
    import huggingface_hub
    from transformers.utils import logging

    huggingface_hub.logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _run(argv: Sequence[str]) -> None:
    verb = argv[0] if argv else "--help"
    if verb in ("-h", "--help"):
        print(_overview())
    elif verb == "--version":
        print(f"tombola {__version__}")
    elif verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    else:
        about, describe, do = VERBS[verb]
        parser = Parser(prog=f"tombola {verb}", description=f"{about[0].upper()}{about[1:]}.")
        describe(parser)
        options = parser.read(argv[1:])
        do(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the console script `tombola`."""
    try:
        _run(sys.argv[1:] if argv is None else argv)
    except TombolaError as error:
        print(f"tombola: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "tombola: stopped. What was finished is kept; the same command goes on.",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
