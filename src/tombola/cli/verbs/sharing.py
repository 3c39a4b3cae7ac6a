"""The verbs `push` and `pull`, which send a ticket anywhere and fetch it from there."""

from argparse import Namespace

from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]

PLACES = "OWNER/NAME on the Hugging Face hub, a URL such as s3://bucket/ticket, or a folder"


def push_flags(parser: Parser) -> None:
    """Add the flags of `tombola push`."""
    parser.add_argument("ticket", metavar="TICKET", help="Folder of the ticket")
    parser.add_argument("place", metavar="REPO", help=PLACES)
    parser.add_argument(
        "--public",
        action="store_true",
        help="Let everyone see the hub's repository (default: only its owner)",
    )
    parser.add_argument("--revision", metavar="NAME", help="Branch on the hub (default: main)")
    parser.add_argument("--message", metavar="TEXT", help="Commit message on the hub")


def push(options: Namespace) -> None:
    """Send the ticket, and say where it is now."""
    from tombola.cli.show.screen import say, screen
    from tombola.ship.sharing import push

    address = push(
        options.ticket,
        options.place,
        public=options.public,
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


def pull(options: Namespace) -> None:
    """Fetch the ticket, and describe it."""
    from tombola.cli.show.screen import say, screen
    from tombola.ship.sharing import pull

    ticket = pull(options.place, options.folder, revision=options.revision)
    say(screen(), f"ticket    {options.folder}")
    say(screen(), repr(ticket))


VERBS = {"push": Verb(push_flags, push), "pull": Verb(pull_flags, pull)}
