"""The verbs `inspect`, which shows a ticket, and `import`, which makes one from masks."""

import shlex
from argparse import Namespace
from pathlib import Path

from tombola.base.specs import SCOPES
from tombola.cli.arguments import json_flag, write_json
from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]


def inspect_flags(parser: Parser) -> None:
    parser.add_argument("ticket", metavar="TICKET", help="Folder of the ticket")
    json_flag(parser, bare=True)


def inspect(options: Namespace) -> None:
    from tombola import api
    from tombola.cli.show.screen import screen
    from tombola.cli.show.tickets import show_ticket

    facts = api.inspect(options.ticket)
    if not write_json(options.json, facts):
        show_ticket(facts, screen())


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
        help=f"The weights that could be pruned: {' or '.join(SCOPES)} (default: the masked ones)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="Folder for the ticket (default: one under runs/ named after the mask)",
    )


def import_masks(options: Namespace) -> None:
    """Save the ticket, and describe it."""
    from tombola import api
    from tombola.cli.show.screen import say, screen
    from tombola.ticket.ticket import Ticket

    if options.output:
        Ticket.check_place(options.output)
    ticket = api.import_ticket(options.source, model=options.model, scope=options.scope)
    default = Path("runs") / f"imported-{ticket.mask.digest()[:8]}"
    place = Path(options.output) if options.output else default
    ticket.save(place)
    facts = {
        "ticket": str(place),
        "scope": f"{ticket.scope}, {len(ticket.mask)} matrices",
        "sparsity": f"{ticket.sparsity:f}, {ticket.mask.pruned:,} of {ticket.mask.size:,} weights",
        "train it": f"tombola evaluate {shlex.quote(str(place))} --task TASK",
    }
    for matrix, zeros in ticket.provenance.get("ignored_zeros", {}).items():
        facts["ignored"] = (
            f"{zeros:,} zeros in {matrix}, as many as rounding to half precision leaves; --scope "
            f"encoder+pooler counts them as pruned"
        )
    for name, value in facts.items():
        say(screen(), f"{name:9} {value}")


VERBS = {
    "inspect": Verb(inspect_flags, inspect),
    "import": Verb(import_flags, import_masks),
}
