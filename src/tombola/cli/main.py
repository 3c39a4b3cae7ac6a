"""The command line: one verb each, its flags taken from the specs.

Exit status: 0 done, 1 if a job of a plan has failed or a store is damaged, 2 for anything that the
user can mend, 130 after Ctrl-C, 143 after SIGTERM, 129 where the terminal was closed.
"""

import os
import signal
import sys
from argparse import SUPPRESS, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tombola import __version__
from tombola.base.errors import SpecError, TombolaError
from tombola.base.registry import unknown
from tombola.base.specs import SEEDS, TUNE, EvaluateSpec, FindSpec, LabSpec, TaskSpec, TrainSpec
from tombola.base.text import printable
from tombola.cli.arguments import check_json, json_flag, write_json
from tombola.cli.flags import Parser, add_flags
from tombola.cli.imports import import_masks, import_parser
from tombola.cli.masks import (
    connectivity,
    connectivity_parser,
    distance,
    distance_parser,
    overlap,
    overlap_parser,
    report,
    report_parser,
)
from tombola.cli.plans import run, run_parser, status, status_parser, store, store_parser
from tombola.cli.streams import complain, open_streams, whole_output
from tombola.cli.thread_waiting import load_share, waiting
from tombola.cli.verdicts import claims, matching, study_parser, table, table_parser, transfer

__all__ = ["main"]

EXAMPLE = """\
import tombola
from transformers import AutoModel
model = AutoModel.from_pretrained(tombola.model_path({model!r}))
tombola.Ticket.load({ticket!r}).apply(model)"""


def _experiment_flags(parser: Parser, words: Mapping[str, tuple[str, str]] = {}) -> None:
    """The flags that every experiment has besides its own; `words` as `add_flags` takes them."""
    add_flags(parser.add_argument_group("task"), TaskSpec, default="")
    recipe = parser.add_argument_group("training (by default the task's recipe)")
    add_flags(recipe, TrainSpec, leave_out=SEEDS, default="", words=words)
    add_flags(parser.add_argument_group("laboratory"), LabSpec)
    places = parser.add_argument_group("files")
    places.add_argument(
        "--data",
        metavar="DIR",
        default=SUPPRESS,
        help="the task's files, or hub:OWNER/NAME, if not those that the task names",
    )
    places.add_argument(
        "--output",
        metavar="DIR",
        default=SUPPRESS,
        help="where everything goes (default: a folder under runs/ named by the experiment)",
    )
    json_flag(places)
    places.add_argument(
        "--config", metavar="FILE", help="YAML file with flags; flags given here win"
    )


def _find_parser(parser: Parser) -> None:
    add_flags(parser.add_argument_group("search"), FindSpec)
    _experiment_flags(
        parser, {"learning_rate": (TUNE, "the best of three on dev, by one dense training each")}
    )


def _find(options: Namespace) -> int:
    """Find a ticket; 1 if there is none, because every dense network diverged."""
    from tombola.lab.options import find_options

    knobs = _knobs(options)
    find_options({k: v for k, v in knobs.items() if k not in ("data", "output")})

    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.cli.show.search import Live, show_found

    console = screen(options.json)
    with Live(console) as live:
        found = api.find(watch=live, **knobs)
    if not write_json(options.json, found.to_json()):
        example = EXAMPLE.format(ticket=found.ticket, model=found.model)
        show_found(found.to_json(), console, example=example)
    return 0 if found.ticket else 1


def _evaluate_parser(parser: Parser) -> None:
    parser.add_argument("ticket", metavar="TICKET", help="folder of the ticket")
    parser.add_argument("--model", default=SUPPRESS, help="where the ticket's network is now")
    add_flags(parser.add_argument_group("evaluation"), EvaluateSpec)
    _experiment_flags(parser)


def _evaluate(options: Namespace) -> None:

    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.cli.show.search import Live, show_evaluated

    console, knobs = screen(options.json), _knobs(options)
    with Live(console) as live:
        evaluated = api.evaluate(watch=live, **knobs)
    if not write_json(options.json, evaluated.to_json()):
        show_evaluated(evaluated.to_json(), console)


def _inspect_parser(parser: Parser) -> None:
    parser.add_argument("ticket", metavar="TICKET", help="folder of the ticket")
    json_flag(parser, bare=True)


def _inspect(options: Namespace) -> None:
    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.cli.show.search import show_ticket

    facts = api.inspect(options.ticket)
    if not write_json(options.json, facts):
        show_ticket(facts, screen())


def _tasks(options: Namespace) -> None:
    from tombola.cli.show.screen import say, screen
    from tombola.cli.show.search import show_entries
    from tombola.tasks.data.sources import split_sizes
    from tombola.tasks.task import load_task, task_names

    tasks = [load_task(name) for name in task_names()]
    entries = [
        ((task.name, task.kind, "/".join(map(str, split_sizes(task))), task.metric), task.source)
        for task in tasks
    ]
    show_entries(("task", "kind", "train/dev/test", "metric"), entries, screen())
    say(screen(), "or your own: FILE.yaml, csv:DIR or csv:FILE; see docs/tasks.md")


def _models(options: Namespace) -> None:
    from tombola.cli.show.screen import say, screen
    from tombola.cli.show.search import show_entries
    from tombola.models.embedded import EMBEDDED, about

    entries = [(fields, source) for *fields, source in map(about, EMBEDDED)]
    show_entries(("model", "kind", "size"), entries, screen())
    say(screen(), "or any folder that save_pretrained() wrote, or a hub id")


VERBS: dict[str, tuple[str, Callable[[Parser], None], Callable[[Namespace], int | None]]] = {
    "find": ("find a ticket, and compare it with dense and controls", _find_parser, _find),
    "evaluate": ("train a ticket on a task with fresh seeds", _evaluate_parser, _evaluate),
    "inspect": ("sparsity per matrix, provenance and size of a ticket", _inspect_parser, _inspect),
    "import": ("a ticket from others' masks or zeros", import_parser, import_masks),
    "run": ("do what is left of a plan: a table or a figure", run_parser, run),
    "status": ("how far a plan is", status_parser, status),
    "matching": ("which networks of a plan match dense, and where", study_parser, matching),
    "transfer": ("how the tickets of each task fare on the others", study_parser, transfer),
    "claims": ("what becomes of each claim of the paper", study_parser, claims),
    "table": ("every run of a plan as CSV, Parquet, LaTeX, Markdown", table_parser, table),
    "store": ("list, show, verify or tidy finished results", store_parser, store),
    "overlap": ("how much masks overlap, beside chance", overlap_parser, overlap),
    "distance": ("how far training has moved each matrix", distance_parser, distance),
    "connectivity": ("barriers between data orders", connectivity_parser, connectivity),
    "report": ("one HTML file of a search or a plan", report_parser, report),
    "tasks": ("the tasks that can be named", lambda parser: None, _tasks),
    "models": ("the models that the package carries", lambda parser: None, _models),
}
"""Verb -> what it does, its flags, and the function that does it."""


def _knobs(options: Namespace) -> dict[str, Any]:
    """What goes to the Python function: everything given but the command line's own flags."""
    return {k: v for k, v in vars(options).items() if k not in ("json", "config")}


def _overview() -> str:
    verbs = "\n".join(f"  {name:14}{about}" for name, (about, _, _) in VERBS.items())
    return (
        "usage: tombola VERB [flags]\n\nLottery tickets for pre-trained transformers.\n\n"
        f"{verbs}\n\n`tombola VERB --help` tells the flags of a verb; `tombola --version`, "
        "the version."
    )


def _run(argv: Sequence[str]) -> int:
    verb = argv[0] if argv else "--help"
    if verb in ("-h", "--help"):
        print(_overview())
        return 0
    if verb == "--version":
        print(f"tombola {__version__}")
        return 0
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    about, describe, do = VERBS[verb]
    parser = Parser(prog=f"tombola {verb}", description=f"{about[0].upper()}{about[1:]}.")
    describe(parser)
    options = parser.read(argv[1:])
    if "--processes" in parser.flags():
        _refuse_launchers(os.environ)
    check_json(getattr(options, "json", None))
    return do(options) or 0


SHARDING = {"FSDP": "FSDP", "DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
"""How accelerate's variables call what splits a network -> what it is called."""


def _refuse_launchers(environment: Mapping[str, str]) -> None:
    """Refuse to train where a launcher has asked for anything but one process of ours."""
    for name, what in SHARDING.items():
        asked = environment.get(f"ACCELERATE_USE_{name}", "")
        if asked.lower() in ("true", "1"):
            raise SpecError(
                f"tombola trains whole networks, with plain data parallelism, got {what} "
                f"(ACCELERATE_USE_{name}={asked}). Unset that, or leave out `accelerate launch`."
            )
    if (ranks := environment.get("WORLD_SIZE", "1")) != "1":
        raise SpecError(
            f"tombola starts the processes of a training itself, got one of {ranks} that torchrun "
            f"or accelerate has started. Start it alone, with --processes {ranks}."
        )


QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Keeps the libraries' own reports and progress bars out of ours, here and in every worker."""


TRAIN = ("find", "evaluate", "run")
"""The verbs that keep what they have finished."""


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Let a batch system that wants its machine back, and a terminal that is closed, stop the work
    as Ctrl-C does; the numbers of the signals that came."""
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    there = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    before = {s: handler for s, handler in there.items() if handler not in (signal.SIG_IGN, None)}
    for each in before:
        signal.signal(each, stop)
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the console script `tombola`."""
    for name, value in {**QUIET, **waiting(os.environ, load_share())}.items():
        os.environ.setdefault(name, value)
    open_streams()
    given = sys.argv[1:] if argv is None else argv
    with _stopping() as signals:
        return _guarded(given, signals)


def _guarded(given: Sequence[str], signals: Sequence[int]) -> int:
    """Run one verb; whatever a user can mend is one line."""
    try:
        with whole_output():
            return _run(given)
    except TombolaError as error:
        complain(printable(error))
        return 2
    except KeyboardInterrupt:
        kept = "What was finished is kept; the same command goes on."
        complain(f"stopped. {kept}" if given and given[0] in TRAIN else "stopped.")
        return 128 + (signals[0] if signals else signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
