"""The verbs `push` and `pull` of tickets, and `export` of networks to other programs."""

from argparse import Namespace

from tombola.base.rounding import percent
from tombola.base.specs import ExportSpec, TaskSpec
from tombola.base.text import counted
from tombola.cli.arguments import json_flag, knobs_of, write_json
from tombola.cli.flags import add_flags
from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]

PLACES = "OWNER/NAME on the Hugging Face hub, a URL such as s3://bucket/ticket, or a folder"

ALL = "all"
"""In place of a number of examples."""


def push_flags(parser: Parser) -> None:
    """Add the flags of `tombola push`."""
    parser.add_argument("ticket", metavar="TICKET", help="Folder of the ticket")
    parser.add_argument("place", metavar="REPO", help=PLACES)
    parser.add_argument(
        "--no-private",
        dest="private",
        action="store_false",
        help="Make the repository on the hub public (default: only its owner sees it)",
    )
    parser.add_argument("--revision", metavar="NAME", help="Branch on the hub (default: main)")
    parser.add_argument("--message", metavar="TEXT", help="Commit message on the hub")


def push(options: Namespace) -> None:
    """Send the ticket, and say where it is now."""
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.ship.sharing import push

    address = push(
        options.ticket,
        options.place,
        private=options.private,
        revision=options.revision,
        commit_message=options.message,
    )
    say(screen(), f"pushed    {address}")


def pull_flags(parser: Parser) -> None:
    """Add the flags of `tombola pull`."""
    parser.add_argument("place", metavar="REPO", help=PLACES)
    parser.add_argument("folder", metavar="DIR", help="Folder for the ticket")
    parser.add_argument(
        "--revision", metavar="NAME", help="Branch, tag or commit on the hub (default: main)"
    )
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="Cache of the hub's files (default: the hub's own)",
    )


def pull(options: Namespace) -> None:
    """Fetch the ticket, and describe it."""
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.ship.sharing import pull

    ticket = pull(
        options.place, options.folder, revision=options.revision, cache_dir=options.cache_dir
    )
    say(screen(), f"ticket    {options.folder}")
    say(screen(), repr(ticket))


def export_flags(parser: Parser) -> None:
    """Add the flags of `tombola export`."""
    parser.add_argument(
        "source",
        metavar="DIR|TICKET",
        help="Folder of a trained network, as save_pretrained() writes it; or of a ticket, whose "
        "pre-trained network has the head",
    )
    parser.add_argument("--output", metavar="FILE", required=True, help="File to write, NAME.onnx")
    add_flags(parser, ExportSpec, words={"examples": (ALL, "every one")})
    parser.add_argument("--data", metavar="DIR", help="Where the task's files are")
    parser.add_argument("--model", metavar="NAME", help="Where a ticket's network is, if it moved")
    add_flags(parser, TaskSpec, leave_out=("eval_split", "margin", "drop_bad_rows"))
    json_flag(parser)


def export(options: Namespace) -> None:
    """Write the file, and say how it compares with the network."""
    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say

    knobs = {**knobs_of(options, ExportSpec), **knobs_of(options, TaskSpec)}
    if knobs.get("examples") == ALL:
        knobs["examples"] = None
    made = api.export(
        options.source,
        output=options.output,
        data=options.data,
        model=options.model,
        **knobs,
    )
    if write_json(options.json, made.to_json()):
        return
    share = percent(made.zeros / made.weights)
    for name, value in {
        "exported": f"{made.file}, {made.bytes / 1e6:,.1f} MB, with its tokenizer next to it",
        "compared": f"on {counted(made.examples, 'example')} of the {made.split} split: outputs in "
        f"ONNX Runtime differ by {made.difference:.1g} at most",
        "zeros": f"{made.zeros:,} of {made.weights:,} weights of the encoder ({share}), all of "
        "them in the file",
    }.items():
        say(screen(), f"{name:9} {value}")


VERBS = {
    "push": Verb(push_flags, push),
    "pull": Verb(pull_flags, pull),
    "export": Verb(export_flags, export),
}
