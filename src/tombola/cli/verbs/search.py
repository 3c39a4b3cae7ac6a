"""The verbs `find`, which searches for a ticket, `evaluate`, which trains one again, and `train`,
which keeps the network."""

from argparse import SUPPRESS, Namespace, _ArgumentGroup
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tombola.base.specs import (
    SEEDS,
    TUNE,
    EvaluateSpec,
    FindSpec,
    LabSpec,
    TaskSpec,
    TrainSpec,
    TrainTicketSpec,
)
from tombola.cli.arguments import json_flag, write_json
from tombola.cli.flags import add_flags
from tombola.cli.parser import Parser, Verb
from tombola.finders.finder import FINDERS, refuse_knobs_of_others

__all__ = ["VERBS"]

EXAMPLE = """\
import tombola
from transformers import AutoModel
model = AutoModel.from_pretrained(tombola.model_path({model!r}))
ticket = tombola.Ticket.load({ticket!r})
with ticket.hold(model):  # in a Trainer: callbacks=[tombola.TicketCallback(ticket)]
    ...  # train it"""


def find_flags(parser: Parser) -> None:
    finder = FINDERS[parser.asked("finder") or FindSpec.finder]
    add_flags(parser.add_argument_group("search"), FindSpec)
    group = f"finder {finder.name} (see the knobs of another: --finder NAME --help)"
    add_flags(parser.add_argument_group(group), finder.spec)
    parser.refuse = lambda flag: refuse_knobs_of_others(finder, [flag])
    places = _experiment_flags(
        parser, {"learning_rate": (TUNE, "the best of three on dev, with one dense training each")}
    )
    places.add_argument(
        "--from",
        dest="from_ticket",
        metavar="TICKET",
        default=SUPPRESS,
        help="Folder of a ticket to start the search from: what it prunes stays pruned",
    )
    places.add_argument(
        "--keep-weights",
        action="store_true",
        default=SUPPRESS,
        help="Save the trained network of each ticket next to it, as a checkpoint",
    )


def find(options: Namespace) -> int:
    """Find a ticket; exit status 1 if the search diverged under every seed."""
    from tombola.lab.options import find_options

    knobs = _knobs(options)
    data, output = knobs.pop("data", None), knobs.pop("output", None)
    keep_weights, from_ticket = knobs.pop("keep_weights", False), knobs.pop("from_ticket", None)
    find_options(knobs)  # reports a mistake before torch is loaded

    from tombola.api.search import search
    from tombola.cli.show.screen import screen
    from tombola.cli.show.search import show_found
    from tombola.lab.progress.bar import ProgressBar

    console = screen(options.json)
    found = search(
        knobs,
        output=Path(output) if output else None,
        data=data,
        callback=ProgressBar(console),
        keep_weights=keep_weights,
        from_ticket=from_ticket,
    )
    if not write_json(options.json, found.to_json()):
        facts = found.to_json()
        example = EXAMPLE.format(ticket=facts["ticket"], model=found.model)
        show_found(facts, console, example=example)
    return 0 if found.tickets else 1


def evaluate_flags(parser: Parser) -> None:
    _ticket_flags(parser)
    add_flags(parser.add_argument_group("evaluation"), EvaluateSpec)
    _experiment_flags(parser)


def evaluate(options: Namespace) -> None:
    """Train the ticket, and show the verdict."""
    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.cli.show.search import show_evaluated
    from tombola.lab.progress.bar import ProgressBar

    console, knobs = screen(options.json), _knobs(options)
    evaluated = api.evaluate(callback=ProgressBar(console), **knobs)
    if not write_json(options.json, evaluated.to_json()):
        show_evaluated(evaluated.to_json(), console)


def train_flags(parser: Parser) -> None:
    _ticket_flags(parser)
    add_flags(parser.add_argument_group("training of the ticket"), TrainTicketSpec)
    _experiment_flags(parser, leave_out=("margin",))


def train(options: Namespace) -> None:
    """Train the ticket, keep the network, and show its score."""
    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.cli.show.search import show_trained
    from tombola.lab.progress.bar import ProgressBar

    console, knobs = screen(options.json), _knobs(options)
    trained = api.train(callback=ProgressBar(console), **knobs)
    if not write_json(options.json, trained.to_json()):
        show_trained(trained.to_json(), console)


def _ticket_flags(parser: Parser) -> None:
    """Add the ticket, and where its network is."""
    parser.add_argument("ticket", metavar="TICKET", help="Folder of the ticket")
    parser.add_argument(
        "--model", metavar="NAME", default=SUPPRESS, help="Where the network is, if it has moved"
    )


def _experiment_flags(
    parser: Parser,
    words: Mapping[str, tuple[str, str]] = {},
    leave_out: Collection[str] = (),
) -> _ArgumentGroup:
    """Add the flags that all experiments share.

    Args:
        parser: gets them.
        words: other words for flags, as for `add_flags`.
        leave_out: fields of `TaskSpec` that mean nothing for the verb.

    Returns: the group of files.
    """
    add_flags(parser.add_argument_group("task"), TaskSpec, leave_out=leave_out, default="")
    recipe = parser.add_argument_group("training (by default the task's recipe)")
    add_flags(recipe, TrainSpec, leave_out=SEEDS, default="", words=words)
    add_flags(parser.add_argument_group("store and workers"), LabSpec)
    places = parser.add_argument_group("files")
    places.add_argument(
        "--data",
        metavar="DIR",
        default=SUPPRESS,
        help="The task's files, or hub:OWNER/NAME (default: those that the task names)",
    )
    places.add_argument(
        "--output",
        metavar="DIR",
        default=SUPPRESS,
        help="Folder for the results (default: one under runs/ named after the experiment)",
    )
    json_flag(places)
    places.add_argument(
        "--config", metavar="FILE", help="YAML file with flags; those on the command line win"
    )
    return places


def _knobs(options: Namespace) -> dict[str, Any]:
    """The arguments of the Python function: all options but those of the command line itself."""
    return {k: v for k, v in vars(options).items() if k not in ("json", "config")}


VERBS = {
    "find": Verb(find_flags, find),
    "evaluate": Verb(evaluate_flags, evaluate),
    "train": Verb(train_flags, train),
}
