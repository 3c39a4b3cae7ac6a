"""Tickets at any address that fsspec reads and writes, such as s3://bucket/ticket."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tombola.base.errors import TicketError, cut
from tombola.ship.ticket_files import (
    SIZE_LIMITS,
    Files,
    check_arrived,
    check_names,
    check_size,
    one_line,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["Remote"]


@dataclass(frozen=True)
class Remote:
    """A folder of a file system that fsspec knows."""

    url: str

    def __str__(self) -> str:
        return cut(shown(self.url))

    def read(self) -> Files:
        """The ticket's files.

        Raises: TicketError, for a missing one, a link, or one that is too large.
        """
        system, folder = self._open()
        try:
            return self._read(system, folder)
        except TicketError:
            raise
        except Exception as error:
            raise self._refusal(error) from None

    def write(self, files: Files) -> str:
        """Store the files, `ticket.json` last, read them back, and return the address.

        Raises: TicketError, if they differ, or something else is there.
        """
        system, folder = self._open()
        try:
            self._check_free(system, folder)
            system.makedirs(folder, exist_ok=True)
            for name, content in files.items():
                system.pipe_file(f"{folder}/{name}", content)
            system.invalidate_cache()
            check_arrived(files, self._read(system, folder), str(self))
        except TicketError:
            raise
        except Exception as error:
            raise self._refusal(error) from None
        return shown(self.url)

    def _open(self) -> tuple["AbstractFileSystem", str]:
        """The file system and the path in it.

        Raises: TicketError, for an unknown protocol or several in one.
        """
        if "::" in self.url or ".." in self.url.split("/"):
            raise TicketError(
                f"expected one address without `::` and `..`, got {self}. Write it out."
            )
        from fsspec.core import url_to_fs

        try:
            system, path = url_to_fs(self.url)
        except Exception as error:
            raise self._refusal(error) from None
        return system, str(path).rstrip("/")

    def _read(self, system: "AbstractFileSystem", folder: str) -> Files:
        files = {}
        for name in SIZE_LIMITS:
            try:
                about = system.info(f"{folder}/{name}")
            except FileNotFoundError:
                continue
            files[name] = self._read_one(system, name, about, folder)
        if not files:  # fsspec also says of a server that it can't reach that a file is missing
            raise TicketError(
                f"expected a ticket in {self}, got no file of one: there is none, or the server "
                "can't be reached. Check the address and the connection."
            )
        check_names(files, str(self))
        return files

    def _read_one(
        self, system: "AbstractFileSystem", name: str, about: Mapping[str, Any], folder: str
    ) -> bytes:
        """The content of a plain file, of which no more is read than it may have."""
        if about.get("type") != "file" or about.get("islink"):
            raise TicketError(
                f"expected {name} in {self} to be a plain file, got {about.get('type')!s:.20} or a "
                "link. Check that it is a ticket."
            )
        size, limit = about.get("size"), SIZE_LIMITS[name]
        check_size(name, size or 0, str(self))
        with system.open(f"{folder}/{name}", "rb") as file:
            content: bytes = file.read(limit + 1)
        check_size(name, len(content), str(self))
        if size is not None and size != len(content):
            raise TicketError(
                f"expected {name} in {self} with {size:,} bytes, got {len(content):,}. "
                "Fetch the ticket again."
            )
        return content

    def _check_free(self, system: "AbstractFileSystem", folder: str) -> None:
        """Refuse a folder that holds anything but a ticket."""
        try:
            there = {str(path).rstrip("/").rpartition("/")[2] for path in system.ls(folder, False)}
        except FileNotFoundError:
            return
        if strange := sorted(there - SIZE_LIMITS.keys()):
            raise TicketError(
                f"expected nothing or an older ticket at {self}, got {strange[0][:80]!r} there. "
                "Choose another place."
            )

    def _refusal(self, error: Exception) -> TicketError:
        """One line for the many ways in which file systems fail."""
        kind = type(error).__name__
        return TicketError(
            f"expected to reach a ticket at {self}, got {kind}: {one_line(error)}. "
            "Check the address, and that fsspec's package for it is installed."
        )


def shown(url: str) -> str:
    """An address without the user and the password that it may hold."""
    protocol, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{protocol}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
