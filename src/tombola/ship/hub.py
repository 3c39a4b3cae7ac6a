"""Tickets on the Hugging Face hub."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.base.errors import TicketError, brief
from tombola.base.files import read_plain
from tombola.ship.ticket_files import (
    SIZE_LIMITS,
    Files,
    check_names,
    check_size,
    one_line,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.hf_api import RepoSibling

__all__ = ["HubRepository"]

REQUEST_SECONDS = 10.0
"""How long the hub may take to answer a question about a repository."""

PLAIN_NAME = re.compile("[A-Za-z0-9_-]{1,128}")

LOG_IN = "Check the name, and log in with `hf auth login` if it is private"


@dataclass(frozen=True)
class HubRepository:
    """A repository of models on the hub."""

    repo_id: str
    revision: str | None = None
    token: str | bool | None = None
    cache_dir: Path | None = None
    private: bool = True
    commit_message: str | None = None

    def __str__(self) -> str:
        return f"the hub's repository {self.repo_id!r}"

    @property
    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi

        return HfApi(token=self.token, library_name="tombola")

    # --- reading ---------------------------------------------------------------

    def read(self) -> Files:
        """The ticket's files, each with the size and the hash that the hub lists for one commit.

        Where the hub can't be reached, those in the cache.

        Raises: TicketError.
        """
        from huggingface_hub.errors import HfHubHTTPError

        try:
            info = self._info(self.revision)
        except HfHubHTTPError as error:
            raise self._refusal(error) from None
        except Exception as error:
            return self._read_cached(error)
        listed = _listed(info)
        check_names(listed, str(self))
        for name, entry in listed.items():
            check_size(name, entry.size or 0, str(self))
        try:
            return {name: self._fetch(entry) for name, entry in listed.items()}
        except TicketError:
            raise
        except Exception as error:
            raise self._refusal(error) from None

    def _info(self, revision: str | None, *, files: bool = True) -> "ModelInfo":
        """What the hub says of the repository and of its files."""
        return self._api.model_info(
            self.repo_id, revision=revision, files_metadata=files, timeout=REQUEST_SECONDS
        )

    def _fetch(self, entry: "RepoSibling") -> bytes:
        """The content of a file; a damaged one in the cache is fetched again, once.

        Raises: TicketError, if it is not what the hub has listed.
        """
        self._check_headers(entry.rfilename)
        for again in (False, True):
            path = self._download(entry.rfilename, again=again)
            content = read_plain(path, SIZE_LIMITS[entry.rfilename])
            if not (difference := _difference(entry, content)):
                return content
        raise TicketError(
            f"expected {entry.rfilename} of {self} as the hub lists it, got {difference}. "
            "Try again later."
        )

    def _check_headers(self, name: str) -> None:
        """Refuse a file whose ETag or commit is not a plain name: both name files in the cache.

        Raises: TicketError.
        """
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self.repo_id, name, revision=self.revision, endpoint=self._api.endpoint)
        about = self._api.get_hf_file_metadata(url=url, timeout=REQUEST_SECONDS)
        for header in (about.etag, about.commit_hash):
            if header is None or not PLAIN_NAME.fullmatch(header):
                raise TicketError(
                    f"expected a hash in the headers of {name} of {self}, got {brief(header)}. "
                    "Check HF_ENDPOINT."
                )

    def _download(self, name: str, *, again: bool) -> str:
        return self._api.hf_hub_download(
            self.repo_id,
            name,
            revision=self.revision,
            cache_dir=self.cache_dir,
            force_download=again,
            etag_timeout=REQUEST_SECONDS,
            tqdm_class=_meter(SIZE_LIMITS[name]),
        )

    def _read_cached(self, reason: Exception) -> Files:
        """The files that the cache has of this revision.

        Raises: TicketError, about the reason why the hub can't be asked, if one is missing.
        """
        from huggingface_hub import try_to_load_from_cache

        revision, files = self.revision or "main", {}
        for name, limit in SIZE_LIMITS.items():
            path = try_to_load_from_cache(self.repo_id, name, self.cache_dir, revision)
            if isinstance(path, str):
                files[name] = read_plain(path, limit)
        try:
            check_names(files, str(self))
        except TicketError:
            raise self._refusal(reason) from None
        return files

    # --- writing ---------------------------------------------------------------

    def write(self, files: Files) -> str:
        """Commit the files, check what the hub has then, and return the commit's address.

        Raises: TicketError.
        """
        try:
            return self._commit(files)
        except TicketError:
            raise
        except Exception as error:
            raise self._refusal(error) from None

    def _commit(self, files: Files) -> str:
        from huggingface_hub import CommitOperationAdd

        self._create()
        commit = self._api.create_commit(
            self.repo_id,
            [CommitOperationAdd(name, content) for name, content in files.items()],
            commit_message=self.commit_message or "Upload ticket",
            revision=self.revision,
        )
        listed = _listed(self._info(commit.oid))
        for name, content in files.items():
            entry = listed.get(name)
            if difference := _difference(entry, content) if entry else "none":
                raise TicketError(
                    f"expected {name} in {self} as it was sent, got {difference}. Push it again."
                )
        return str(commit.commit_url)

    def _create(self) -> None:
        """Create repository and branch, if there are none.

        Raises: TicketError, as `_check_visibility`.
        """
        self._api.create_repo(self.repo_id, private=self.private, exist_ok=True)
        self._check_visibility()
        if self.revision and not self.revision.startswith("refs/"):
            self._api.create_branch(self.repo_id, branch=self.revision, exist_ok=True)

    def _check_visibility(self) -> None:
        """Refuse a repository that was there before, and is public or private unlike asked.

        Raises: TicketError.
        """
        wanted, found = self.private, bool(self._info(None, files=False).private)
        if wanted != found:
            names = {True: "private", False: "public"}
            flag = f"{'with' if wanted else 'without'} --no-private"
            raise TicketError(
                f"expected {self} to be {names[wanted]}, got a {names[found]} one. Push {flag}, or "
                "change that in its settings on the hub."
            )

    # --- errors ----------------------------------------------------------------

    def _refusal(self, error: Exception) -> TicketError:
        """One line for the many ways in which the hub fails."""
        from huggingface_hub.errors import RevisionNotFoundError

        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, RevisionNotFoundError):
            got, remedy = f"no revision {self.revision!r}", "Check the name of the revision"
        elif status in (401, 403):
            got, remedy = f"no access (HTTP {status})", LOG_IN
        elif status == 404:
            got, remedy = "none there (HTTP 404)", LOG_IN
        elif status is not None:
            got, remedy = f"HTTP status {status}", "Try again later"
        else:
            return TicketError(
                f"expected to reach {self}, got {one_line(error)}. Check the connection and "
                "HF_ENDPOINT, and try again."
            )
        return TicketError(f"expected {self}, got {got}. {remedy}.")


def _listed(info: "ModelInfo") -> dict[str, "RepoSibling"]:
    """Name -> entry of the ticket's files among those of a repository."""
    entries = {entry.rfilename: entry for entry in info.siblings or ()}
    return {name: entries[name] for name in SIZE_LIMITS if name in entries}


def _difference(entry: "RepoSibling", content: bytes) -> str:
    """How a file differs from what the hub lists; empty if it doesn't."""
    if entry.size is not None and entry.size != len(content):
        return f"{len(content):,} bytes for the {entry.size:,} listed"
    if entry.lfs is not None:
        same = entry.lfs.sha256 == hashlib.sha256(content).hexdigest()
    else:
        same = entry.blob_id in (None, _git_hash(content))
    return "" if same else "other content"


def _git_hash(content: bytes) -> str:
    """The name that git gives a file of this content: 40 hexadecimal digits."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _meter(limit: int) -> type:
    """A progress bar that is never shown, and ends a download of more bytes than a limit."""
    from huggingface_hub.utils.tqdm import tqdm

    class Meter(tqdm):
        received = 0

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            self.received += int(n or 0)
            if self.received > limit:
                raise OSError(f"more than {limit:,} bytes")
            return None

    return Meter
