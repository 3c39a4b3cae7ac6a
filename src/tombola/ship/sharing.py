"""Send a ticket anywhere, and fetch it from there, checked."""

import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from tombola.base.errors import OutputError, SpecError, TicketError, cut, naming_keywords
from tombola.base.fields import A_TICKET, StrPath, path_text
from tombola.base.files import write_bytes
from tombola.base.folders import write_folder
from tombola.ship.card import card, is_generated
from tombola.ship.deadline import within_limit
from tombola.ship.hub import HubRepository
from tombola.ship.local_folder import LocalFolder
from tombola.ship.ticket_files import SIZE_LIMITS, Files, TicketLocation, load_ticket
from tombola.ship.urls import Remote
from tombola.ticket.extensions import HUB
from tombola.ticket.format import CARD_NAME
from tombola.ticket.ticket import Ticket, check_ticket_folder

__all__ = ["fetch", "place_of", "pull", "push"]

PART = r"(?!.*(--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?"
REPOSITORY = re.compile(rf"{PART}/{PART}", re.ASCII)


@naming_keywords()
def push(
    ticket: Ticket | StrPath,
    place: StrPath,
    *,
    private: bool = True,
    revision: str | None = None,
    token: str | bool | None = None,
    commit_message: str | None = None,
) -> str:
    """Send a ticket and its card to the hub, a URL or a folder.

    The card is written unless the ticket's folder has one that was edited, and kept there.

    Args:
        ticket: a ticket, its folder, or what `find` returned for one seed.
        place: `OWNER/NAME` on the hub, a URL that fsspec writes to, or a folder.
        private: whether only its owner sees the hub's repository.
        revision: branch on the hub; by default `main`.
        token: a token for the hub; by default that of `hf auth login` or HF_TOKEN.
        commit_message: the commit message on the hub.

    Returns: the address of the commit, the URL or the folder.
    Raises: TicketError, if the ticket is damaged, the place refuses it, or has something else
        afterwards; OutputError, if a folder can't be written.
    """
    if isinstance(ticket, Ticket):
        with TemporaryDirectory() as scratch:
            saved = ticket.save(Path(scratch) / "ticket")
            return push(
                saved,
                place,
                private=private,
                revision=revision,
                token=token,
                commit_message=commit_message,
            )
    target = place_of(
        place,
        revision=revision,
        token=token,
        private=private,
        commit_message=commit_message,
    )
    files = _with_card(LocalFolder(Path(path_text(ticket, A_TICKET))), target)
    return within_limit(str(target), lambda: target.write(files))


@naming_keywords()
def pull(
    place: StrPath,
    folder: StrPath,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: StrPath | None = None,
) -> Ticket:
    """Fetch a ticket from the hub, a URL or a folder, check it, and write its folder.

    Only the ticket's own files are fetched. Nothing is written until the ticket has been loaded.

    Args:
        place: where the ticket is, as in `push`.
        folder: a folder for the ticket; an older ticket there is replaced.
        revision: branch, tag or commit on the hub; by default `main`.
        token: a token for the hub, as in `push`.
        cache_dir: where the hub's files are cached; by default its own cache.

    Raises: TicketError, if there is no ticket, or it is damaged; OutputError, if the folder holds
        anything else or can't be written.
    """
    check_ticket_folder(folder)
    files = _read(place_of(place, revision=revision, token=token, cache_dir=cache_dir))
    ticket = load_ticket(files)
    write_folder(path_text(folder, "a folder"), files, replaces=SIZE_LIMITS)
    return ticket


def fetch(
    place: StrPath,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: StrPath | None = None,
) -> Ticket:
    """The ticket at a place, with arguments as in `pull`.

    Args:
        cache_dir: where the hub's files are cached; by default its own cache.

    Raises: TicketError, if there is no ticket, or it is damaged.
    """
    source = place_of(place, revision=revision, token=token, cache_dir=cache_dir)
    return (
        Ticket.load(source.path) if isinstance(source, LocalFolder) else load_ticket(_read(source))
    )


def place_of(
    place: StrPath,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: StrPath | None = None,
    private: bool = True,
    commit_message: str | None = None,
) -> TicketLocation:
    """What a user means by a place: a URL, a folder, or a repository of the hub.

    Raises: TicketError, if it may be two of them, or is none; SpecError, if an argument is for the
        hub only, and this isn't.
    """
    if found := _outside_the_hub(place):
        of_the_hub = {
            "--revision": revision is not None,
            "--no-private": not private,
            "--message": commit_message is not None,
        }
        for flag, is_given in of_the_hub.items():
            if is_given:
                raise SpecError(
                    f"{flag} is for a repository on the hub, got {found}. Leave it out."
                )
        return found
    text = os.fspath(place)
    name = text.removeprefix("hf://")
    _check_repository(name, sure=name != text)
    cache = None if cache_dir is None else Path(path_text(cache_dir, "a folder"))
    return HubRepository(name, revision, token, cache, private, commit_message)


def _outside_the_hub(place: StrPath) -> TicketLocation | None:
    """The folder or URL that a place is; None for a repository of the hub."""
    text = path_text(place, "OWNER/NAME on the hub, a URL or a folder")
    if text.startswith("file://"):
        return LocalFolder(_of_file_url(text))
    if "://" in text:
        return None if text.startswith("hf://") else Remote(text)
    if isinstance(place, os.PathLike) or _is_folder(text):
        return LocalFolder(Path(text))
    return None


def _of_file_url(url: str) -> Path:
    """The folder that a URL such as file:///somewhere/ticket names.

    Raises: TicketError, for one of another machine, or a relative one.
    """
    host, slash, path = url.removeprefix("file://").partition("/")
    if host not in ("", "localhost") or not path:
        raise TicketError(
            f"expected a folder on this machine, as file:///folder, got {cut(url)}. Write its full "
            "path."
        )
    return Path(path_text(unquote(slash + path), "a folder"))


def _is_folder(text: str) -> bool:
    return text.startswith((".", "/", "~")) or bool(text and os.path.exists(text))


def _check_repository(name: str, *, sure: bool) -> None:
    """Refuse what is not OWNER/NAME, or looks like a path into a folder that there is.

    Raises: TicketError.
    """
    if not REPOSITORY.fullmatch(name) and sure:
        raise TicketError(
            f"expected OWNER/NAME on the hub, got {cut(name)}. Pass the name of a repository."
        )
    if not REPOSITORY.fullmatch(name):
        raise TicketError(
            f"expected OWNER/NAME on the hub, a URL or a folder, got {cut(name)}. "
            "Begin a folder with `./`."
        )
    owner = name.partition("/")[0]
    if not sure and Path(owner).is_dir():
        raise TicketError(
            f"expected a folder or a repository on the hub, got {name!r}, which may be either, as "
            f"there is a folder {owner!r}. Write ./{name} or hf://{name}."
        )


def _with_card(folder: LocalFolder, target: TicketLocation) -> Files:
    """The files to send: those of the folder, with a card.

    Raises: TicketError, if the ticket is damaged.
    """
    files = folder.read()
    ticket = load_ticket(files)
    old = files.get(CARD_NAME)
    if old is not None and not is_generated(old, ticket):
        return files
    text = card(ticket, target.repo_id if isinstance(target, HubRepository) else None).encode()
    if text != old:
        with suppress(OutputError):  # a ticket in a folder that may only be read
            write_bytes(folder.path / CARD_NAME, text)
    return {name: {**files, CARD_NAME: text}[name] for name in SIZE_LIMITS}


def _read(place: TicketLocation) -> Files:
    return within_limit(str(place), place.read)


# for `Ticket.from_pretrained` and `Ticket.push_to_hub`
HUB.register("fetch")(fetch)
HUB.register("push")(push)
