"""Checks around a ticket: of the folder that it goes to, and of the network that it belongs to."""

from tombola.base.errors import TicketError
from tombola.base.fields import StrPath, path_text
from tombola.base.folders import check_folder
from tombola.ticket.format import JSON_NAME, MASK_NAME
from tombola.ticket.ticket import NAMES, Ticket

__all__ = ["check_network", "check_ticket_folder"]


def check_ticket_folder(path: StrPath) -> None:
    """Refuse a folder that `Ticket.save` could not write, before there is a ticket.

    Raises: OutputError, if the folder holds anything but a ticket or can't be written.
    """
    folder = path_text(path, "the folder of a ticket")
    check_folder(folder, replaces=NAMES, needed=(JSON_NAME, MASK_NAME))


def check_network(ticket: Ticket, fingerprint: str, name: str, option: str = "--model") -> None:
    """Refuse a network that a ticket was not found in.

    Args:
        ticket: the ticket.
        fingerprint: the network's fingerprint, as `ticket.fingerprint.fingerprint` takes it.
        name: what a message calls the network.
        option: where another network is named.

    Raises: TicketError.
    """
    if fingerprint != ticket.fingerprint:
        raise TicketError(
            f"the ticket was found in a network with fingerprint {ticket.fingerprint[:12]} "
            f"({ticket.model}), got {fingerprint[:12]} ({name}). Pass the network it was found "
            f"in as {option}."
        )
