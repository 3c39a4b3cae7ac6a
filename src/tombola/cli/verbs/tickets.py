"""The verbs inspect and import: what a ticket holds, and a ticket from masks made elsewhere."""

import shlex
from argparse import Namespace
from pathlib import Path

from tombola.base.specs import SCOPES
from tombola.cli.arguments import json_flag, write_json
from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]


def inspect_flags(parser: Parser) -> None:
    parser.add_argument("ticket", metavar="TICKET", help="folder of the ticket")
    json_flag(parser, bare=True)


def inspect(options: Namespace) -> None:
    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.cli.show.search import show_ticket

    facts = api.inspect(options.ticket)
    if not write_json(options.json, facts):
        show_ticket(facts, screen())


def import_flags(parser: Parser) -> None:
    """The flags of `tombola import`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="masks or a pruned state dict that torch.save() wrote, a safetensors file, or a "
        "folder that save_pretrained() wrote",
    )
    parser.add_argument(
        "--model", required=True, help="the pre-trained network that the masks are of"
    )
    parser.add_argument(
        "--scope",
        metavar="NAME",
        help=f"the weights that could be pruned: {' or '.join(SCOPES)} (default: what is masked)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder of the ticket (default: one under runs/ named by the mask)",
    )


def import_masks(options: Namespace) -> None:
    """Write the ticket, and say what it is."""
    from tombola import api
    from tombola.cli.show.screen import say, screen
    from tombola.ticket.ticket import Ticket

    if options.output:
        Ticket.check_place(options.output)
    ticket = api.import_ticket(options.source, model=options.model, scope=options.scope)
    default = Path("runs") / f"imported-{ticket.mask.digest()[:8]}"
    place = Path(options.output) if options.output else default
    ticket.save(place)
    told = {
        "ticket": str(place),
        "scope": f"{ticket.scope}, {len(ticket.mask)} matrices",
        "sparsity": f"{ticket.sparsity:f}, {ticket.mask.dead:,} of {ticket.mask.size:,} weights",
        "train it": f"tombola evaluate {shlex.quote(str(place))} --task TASK",
    }
    for matrix, zeros in ticket.provenance.get("ignored_zeros", {}).items():
        told["ignored"] = (
            f"zeros in {matrix}: {zeros:,}, as half precision leaves them; --scope encoder+pooler "
            f"takes them for pruned"
        )
    for name, value in told.items():
        say(screen(), f"{name:9} {value}")


VERBS = {
    "inspect": Verb(inspect_flags, inspect),
    "import": Verb(import_flags, import_masks),
}
