"""The result.json of a search, read back: every field that a report uses is what it should be."""

from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict, cast

from msgspec import Meta

from tombola.base.errors import OutputError, brief
from tombola.base.files import read_plain
from tombola.base.json_text import parse_json
from tombola.base.records import MISSING, RecordReader

__all__ = [
    "FinderRecord",
    "RoundRecord",
    "ScoresRecord",
    "SearchRecord",
    "VerdictRecord",
    "read_object",
    "read_search_record",
]

LIMIT = 1 << 26
"""Bytes of a JSON file."""
DEPTH_LIMIT = 32
LARGEST = 1e12
"""The largest number that a score or a time could be."""

Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST, description="a finite number")]
Count = Annotated[int, Meta(ge=-int(LARGEST), le=int(LARGEST), description="a whole number")]
Sparsity = Annotated[
    str, Meta(pattern=r"\A0(\.[0-9]{1,64})?\Z", description="a fraction such as '0.7'")
]
Seed = Annotated[str, Meta(pattern=r"\A[0-9]{1,19}\Z", description="a whole number")]
SeedNumber = Annotated[int, Meta(ge=0, le=(1 << 63) - 1, description="a whole number from 0")]
Interval = Annotated[list[Number], Meta(min_length=2, max_length=2, description="a list of two")]


class ScoresRecord(TypedDict):
    """The scores of one network, one for each seed."""

    values: Annotated[list[Number | None], Meta(min_length=1, description="a list of scores")]
    mean: Number | None
    std: Number | None
    keys: NotRequired[list[str]]
    more: NotRequired[dict[str, Number | None]]
    diverged: NotRequired[Count]
    jaccard_one_shot: NotRequired[Number | None]


class RoundRecord(ScoresRecord):
    """The scores of the tickets of one round."""

    sparsity: Sparsity


class OutlookRecord(TypedDict):
    """Probabilities, as `study.statistics.outlook.Outlook` has them."""

    below: Number
    within: Number
    above: Number
    next_seed: Number


class VerdictRecord(TypedDict):
    """Whether the last round's tickets match the dense networks."""

    status: str
    sentence: str
    margin: Number
    interval: Interval | None
    estimand: NotRequired[str | None]
    reason: NotRequired[str | None]
    sparsity: NotRequired[Sparsity | None]
    difference: NotRequired[Number | None]
    level: NotRequired[Number | None]
    seeds: NotRequired[Count | None]
    seeds_needed: NotRequired[Count | None]
    outlook: NotRequired[OutlookRecord | None]


class InputsRecord(TypedDict):
    """What a report shows of `tasks.input_counts.InputCounts`."""

    examples: Count
    distinct: Count
    tokens: Count
    unknown: Number
    cut: Number
    empty: Number
    shared: Count | None


class FinderRecord(TypedDict):
    """What found the tickets."""

    name: str
    label: str
    knobs: NotRequired[list[str]]


class SplitRecord(TypedDict):
    """What a report shows of one split of the data."""

    inputs: InputsRecord | None


class SearchRecord(TypedDict):
    """What `tombola find` wrote of a search."""

    finder: NotRequired[FinderRecord]
    """IMP, if it is missing."""
    task: str
    model: str
    metric: str
    split: str
    key: str
    seeds: NotRequired[list[SeedNumber]]
    """Missing in results of earlier versions."""
    dense: ScoresRecord
    rounds: Annotated[list[RoundRecord], Meta(min_length=1, description="a list of rounds")]
    controls: dict[str, ScoresRecord]
    verdict: VerdictRecord
    tickets: dict[Seed, str]
    trivial: Number | None
    whole_model_sparsity: Number | None
    notes: list[str]
    counts: NotRequired[dict[str, SplitRecord]]
    left_out: NotRequired[dict[str, Number]]


JUDGED = ("estimand", "sparsity", "difference", "level", "seeds")
"""Fields of a verdict with an interval; one without has its reason instead."""


def read_search_record(place: Path) -> SearchRecord:
    """What `tombola find` wrote.

    Raises: OutputError, with the first field that is missing or not what it should be.
    """
    reader = RecordReader(
        where=repr(str(place)),
        remedy="Pass a search's folder as `tombola find` wrote it, or a plan.",
        error=OutputError,
    )
    plain = read_object(place)
    reader.read(SearchRecord, plain)
    found = cast("SearchRecord", plain)  # a page shows the fields of later versions, too
    _check_lengths(found, reader)
    _check_verdict(found["verdict"], reader)
    return found


def read_object(place: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises: OutputError, if there is none, or it has a key twice or is nested without end.
    """
    try:
        found = parse_json(read_plain(place, LIMIT), depth_limit=DEPTH_LIMIT)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"expected the output of `tombola find` with {str(place)!r}, got: {reason}. Pass the "
            "folder that it wrote, or a plan."
        ) from None
    if not isinstance(found, dict):
        raise OutputError(
            f"expected a JSON object in {str(place)!r}, got {brief(found)}. Pass the folder that "
            "`tombola find` wrote, or a plan."
        )
    return found


def _check_lengths(found: SearchRecord, reader: RecordReader) -> None:
    """Refuse entries that are not one for each seed, and tickets of other seeds."""
    seeds = len(found["dense"]["values"])
    entries: dict[str, ScoresRecord] = {"dense": found["dense"]}
    entries |= {f"rounds.{number}": one for number, one in enumerate(found["rounds"])}
    entries |= {f"controls.{name}": one for name, one in found["controls"].items()}
    for place, entry in entries.items():
        for name, each in (("values", entry["values"]), ("keys", entry.get("keys"))):
            if each and len(each) != seeds:
                raise reader.misfit(f"{place}.{name}", f"{seeds} entries, one a seed,", len(each))
    if len(found["tickets"]) > seeds:
        raise reader.misfit("tickets", f"up to {seeds}, one a seed,", len(found["tickets"]))
    if "seeds" in found:
        if len(set(found["seeds"])) != seeds or len(found["seeds"]) != seeds:
            raise reader.misfit("seeds", f"{seeds} different ones", len(found["seeds"]))
        for seed in found["tickets"]:
            if int(seed) not in found["seeds"]:
                raise reader.misfit("tickets", f"seeds of {found['seeds']}", seed)


def _check_verdict(verdict: VerdictRecord, reader: RecordReader) -> None:
    """Refuse a verdict that has neither an interval nor a reason."""
    needed = ("reason",) if verdict["interval"] is None else JUDGED
    for name in needed:
        if verdict.get(name) is None:
            raise reader.misfit(f"verdict.{name}", "a value", MISSING)
