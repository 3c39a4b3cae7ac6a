"""The files of a ticket in memory: which there are, and how large each may be."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from tombola.base.errors import TicketError, cut, first_line
from tombola.ticket.coder import MASK_NAME
from tombola.ticket.format import CARD_NAME, JSON_LIMIT, JSON_NAME, WEIGHT_LIMIT
from tombola.ticket.ticket import Ticket

__all__ = [
    "SIZE_LIMITS",
    "Files",
    "TicketLocation",
    "check_arrived",
    "check_names",
    "check_size",
    "load_ticket",
    "one_line",
]

SIZE_LIMITS = {CARD_NAME: 1 << 20, MASK_NAME: WEIGHT_LIMIT // 8, JSON_NAME: JSON_LIMIT}
"""Name of each file that is ever sent or fetched -> most bytes it may have.

`ticket.json` is last, so that it is also written last.
"""

NEEDED = (MASK_NAME, JSON_NAME)

Files = dict[str, bytes]
"""Name -> content."""


class TicketLocation(Protocol):
    """Where a ticket is kept."""

    def read(self) -> Files:
        """The ticket's files; nothing else there is looked at."""

    def write(self, files: Files) -> str:
        """Store the files and return their address."""


def check_size(name: str, size: int, place: str) -> None:
    """Refuse a file that is larger than its kind may be.

    Raises: TicketError.
    """
    if size > SIZE_LIMITS[name]:
        raise TicketError(
            f"expected {name} with at most {SIZE_LIMITS[name]:,} bytes in {place}, got {size:,}. "
            "Check that it is a ticket."
        )


def check_names(names: Iterable[str], place: str) -> None:
    """Refuse a place without the files of a ticket.

    Raises: TicketError.
    """
    if missing := [name for name in NEEDED if name not in set(names)]:
        raise TicketError(
            f"expected a ticket in {place}, got no file {missing[0]} there. Check the name."
        )


def check_arrived(sent: Mapping[str, bytes], found: Mapping[str, bytes], place: str) -> None:
    """Refuse a place that doesn't hold what was sent there.

    Raises: TicketError.
    """
    for name, content in sent.items():
        if found.get(name) != content:
            raise TicketError(
                f"expected {name} in {place} as it was sent, got other bytes back. Push it again."
            )


def load_ticket(files: Files) -> Ticket:
    """The ticket that these files hold.

    Raises: TicketError, if they are damaged.
    """
    with TemporaryDirectory() as scratch:
        for name, content in files.items():
            (Path(scratch) / name).write_bytes(content)
        return Ticket.load(scratch)


def one_line(error: BaseException) -> str:
    """What an error of another library says, in one quoted line."""
    return cut(first_line(error).rstrip("."))
