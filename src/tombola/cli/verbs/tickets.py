"""The verbs `inspect`, `import`, which makes a ticket from masks, and `merge`, from tickets."""

import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.base.errors import OutputError
from tombola.base.specs import SCOPE_NAMES, MergeSpec
from tombola.cli.arguments import json_flag, write_json
from tombola.cli.flags import add_flags
from tombola.cli.parser import Parser, Verb

if TYPE_CHECKING:
    from tombola.ticket.ticket import Ticket

__all__ = ["VERBS"]


def inspect_flags(parser: Parser) -> None:
    parser.add_argument(
        "ticket",
        metavar="TICKET|MODEL",
        help="Ticket folder; or a model (an embedded name, a folder that save_pretrained() wrote, "
        "or a hub id), to see what each scope would prune",
    )
    json_flag(parser, bare=True)


def inspect(options: Namespace) -> None:
    """Show a ticket, or what each scope would prune of a model."""
    from tombola import api
    from tombola.cli.show.networks import show_network
    from tombola.cli.show.screen import screen
    from tombola.cli.show.tickets import show_ticket

    found = api.inspect(options.ticket)
    facts = found.to_json()
    if not write_json(options.json, facts):
        show = show_ticket if isinstance(found, api.TicketInfo) else show_network
        show(facts, screen())


def import_flags(parser: Parser) -> None:
    """Add the flags of `tombola import`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="Masks or a pruned state dict saved by torch.save(), a safetensors file, or a folder "
        "saved by save_pretrained()",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        required=True,
        help="The pre-trained network that the masks belong to",
    )
    parser.add_argument(
        "--scope",
        metavar="NAME",
        help=f"The weights that could be pruned: {' or '.join(SCOPE_NAMES)} "
        "(default: the masked ones)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="Folder for the ticket (default: one under runs/ named after the mask)",
    )


def import_masks(options: Namespace) -> None:
    """Save the ticket, and describe it."""
    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.ticket.ticket import check_ticket_folder

    if options.output:
        check_ticket_folder(options.output)
    ticket = api.import_ticket(options.source, model=options.model, scope=options.scope)
    default = Path("runs") / f"imported-{ticket.mask.digest()[:8]}"
    place = Path(options.output) if options.output else default
    ticket.save(place)
    facts = _facts(ticket, place)
    for matrix, zeros in ticket.provenance.get("ignored_zeros", {}).items():
        facts["ignored"] = (
            f"{zeros:,} zeros in {matrix}, as many as rounding to half precision leaves; --scope "
            f"encoder+pooler counts them as pruned"
        )
    for name, value in facts.items():
        say(screen(), f"{name:9} {value}")


def merge_flags(parser: Parser) -> None:
    """Add the flags of `tombola merge`."""
    parser.add_argument(
        "tickets",
        metavar="TICKET",
        nargs="+",
        help="Folders of two or more tickets of one network and one scope",
    )
    add_flags(parser, MergeSpec)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="Where the network is, if it has moved; only --sparsity needs it",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="Folder for the ticket (default: one under runs/ named after the mask)",
    )


def merge(options: Namespace) -> None:
    """Save the merged ticket, and describe it."""
    knobs = {name: vars(options)[name] for name in ("rule", "sparsity") if name in options}
    MergeSpec(**knobs)  # reports a mistake before torch is loaded

    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.ticket.ticket import check_ticket_folder

    if options.output:
        check_ticket_folder(options.output)
        _check_no_source(Path(options.output), options.tickets)
    ticket = api.merge(options.tickets, model=options.model, **knobs)
    place = Path(options.output or Path("runs") / f"merged-{ticket.mask.digest()[:8]}")
    ticket.save(place)
    sources = f"{ticket.provenance['merged']['rule']} of {len(options.tickets)} tickets"
    for name, value in {**_facts(ticket, place), "merged": sources}.items():
        say(screen(), f"{name:9} {value}")


def _check_no_source(output: Path, tickets: Sequence[str]) -> None:
    """Refuse to write over a ticket that is merged.

    Raises: OutputError.
    """
    for ticket in tickets:
        if output.resolve() == Path(ticket).resolve():
            raise OutputError(
                f"expected a folder that is none of the tickets, got {ticket!r} as --output. Use "
                "another."
            )


def _facts(ticket: "Ticket", place: Path) -> dict[str, str]:
    """What is said of a new ticket."""
    task = "" if ticket.task else " --task TASK"
    return {
        "ticket": str(place),
        "scope": f"{ticket.scope}, {len(ticket.mask)} matrices",
        "sparsity": f"{ticket.sparsity:f}, {ticket.mask.pruned:,} of {ticket.mask.size:,} weights",
        "train it": f"tombola evaluate {shlex.quote(str(place))}{task}",
    }


VERBS = {
    "inspect": Verb(inspect_flags, inspect),
    "import": Verb(import_flags, import_masks),
    "merge": Verb(merge_flags, merge),
}
