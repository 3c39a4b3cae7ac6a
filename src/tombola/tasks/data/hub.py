"""Data sets of the hub, through `datasets`: one revision, and never code from there."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tombola.base.errors import DataError
from tombola.tasks.data.files import table_part
from tombola.tasks.data.rows import FileRows
from tombola.tasks.task import HUB

__all__ = ["Hub", "HubName", "pinned"]


@dataclass(frozen=True)
class HubName:
    """A data set on the hub: OWNER/NAME, then /CONFIGURATION and @REVISION if there are any."""

    dataset: str
    configuration: str | None
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> "HubName":
        """The data set that `hub:OWNER/NAME/CONFIGURATION@REVISION` names.

        Raises: DataError, if it is spelled otherwise.
        """
        found = re.fullmatch(rf"{HUB}([^/@]+/[^/@]+)(?:/([^/@]+))?(?:@([^@]+))?", text)
        if found is None:
            raise DataError(
                f"expected {HUB}OWNER/NAME, optionally followed by /CONFIGURATION and @REVISION, "
                f"got {text!r}."
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        configuration = f"/{self.configuration}" if self.configuration else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{HUB}{self.dataset}{configuration}{revision}"


def pinned(place: str) -> str:
    """A data set of the hub with the revision that it has now, unless one is named.

    Where the hub can't be reached, the name stays as it is, and the local cache is read.
    """
    name = HubName.parse(place)
    if name.revision is not None or not _answers():
        return str(name)
    from huggingface_hub import HfApi

    try:
        info = HfApi().dataset_info(name.dataset)
    except Exception as error:
        raise _unreadable(name, error) from error
    return str(replace(name, revision=info.sha))


class Hub:
    """A data set of the hub at one revision."""

    def __init__(self, place: str) -> None:
        self.name = HubName.parse(place)
        self.notes: list[str] = []

    def splits(self) -> list[str]:
        """Names of the splits that there are."""
        from datasets import get_dataset_split_names

        return sorted(self._ask(get_dataset_split_names))

    def parts(self, split: str, wanted: Sequence[str], limit: int) -> Iterator[FileRows]:
        """The rows of a split, the first `limit` of them unless that is 0."""
        from datasets import load_dataset

        part = f"{split}[:{limit}]" if limit else split
        table = self._ask(load_dataset, split=part).with_format("arrow")[:]
        yield table_part(table, f"{self.name} {split}", wanted, table.column_names)

    def _ask(self, what: Any, **more: Any) -> Any:
        """Call a function of `datasets`; whatever fails becomes one line."""
        from datasets import DownloadConfig

        cached = DownloadConfig(local_files_only=not _answers())
        name = self.name
        try:
            with _quiet():
                return what(
                    name.dataset,
                    name.configuration,
                    revision=name.revision,
                    download_config=cached,
                    **more,
                )
        except Exception as error:
            raise _unreadable(name, error) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bars of `datasets` and of the hub while this lasts.

    HF_DATASETS_DISABLE_PROGRESS_BARS=0 in the environment asks for the former and keeps them.
    """
    import datasets

    from tombola.models.quiet import quiet  # which loads transformers

    mine = datasets.config.HF_DATASETS_DISABLE_PROGRESS_BARS is None
    shown = not datasets.are_progress_bars_disabled()
    if mine:
        datasets.disable_progress_bars()
    try:
        with quiet():
            yield
    finally:
        if mine and shown:
            datasets.enable_progress_bars()


def _answers() -> bool:
    """Whether the hub can be reached."""
    from tombola.models.loading import hub_answers  # which loads torch

    return hub_answers()


def _unreadable(name: HubName, error: Exception) -> DataError:
    """One line for the many ways in which the hub fails."""
    reason = str(error).strip().split("\n")[0].rstrip(".")
    if "scripts are no longer supported" in reason or "trust_remote_code" in reason:
        return DataError(
            f"{str(name)!r} is a script, which would run code from the hub: refused. Save its data "
            "as parquet and pass their folder as --data."
        )
    return DataError(
        f"expected the data set {str(name)!r} on the hub or in its local cache, got: {reason}. "
        "Download its files elsewhere and pass their folder as --data."
    )
