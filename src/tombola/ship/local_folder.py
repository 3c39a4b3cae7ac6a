"""Tickets in folders of this machine."""

from dataclasses import dataclass
from pathlib import Path

from tombola.base.errors import TicketError
from tombola.base.files import read_plain
from tombola.base.folders import write_folder
from tombola.ship.ticket_files import SIZE_LIMITS, Files, check_names
from tombola.ticket.format import check_no_network

__all__ = ["LocalFolder"]


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> Files:
        """The ticket's files, none of which may be a link.

        Raises: TicketError.
        """
        check_no_network(self.path)
        files = {}
        for name, limit in SIZE_LIMITS.items():
            try:
                files[name] = read_plain(self.path / name, limit, links=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise TicketError(
                    f"expected {name} of a ticket in {self}, got: {error.strerror or error}. "
                    "Check that it is a ticket."
                ) from None
        check_names(files, str(self))
        return files

    def write(self, files: Files) -> str:
        """Write the folder, completely or not at all, and return its path.

        Raises: OutputError, if it holds anything but a ticket or can't be written.
        """
        return str(write_folder(self.path, files, replaces=SIZE_LIMITS))
