"""The result of a finished job and its result.json (docs/reference/store-format.md)."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from tombola.base import keys
from tombola.base.errors import OutputError
from tombola.base.json_text import finite
from tombola.plan.job import Job, Named
from tombola.training.steps import Diverged

__all__ = ["LIMIT", "Result", "decode", "encode", "sha256"]

FORMAT_VERSION = 1
LIMIT = 1 << 26
"""Largest result.json that is read, in bytes."""
ZEROS = "0" * 64
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Result(Named):
    """The result of a finished job: what made it, and what came of it."""

    facts: dict[str, Any]
    """What was measured, as plain JSON; numbers that are not finite are None."""
    numerics: dict[str, Any]
    """Everything but the spec that its last digits depend on."""
    seconds: float
    peak_memory: int
    """The peak memory in bytes."""
    files: dict[str, str] = field(default_factory=dict)
    """Name -> SHA-256; filled by the store."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Name -> bytes; filled by the store."""

    @property
    def diverged(self) -> Diverged | None:
        """Where a training stopped being finite; None if it didn't, and has a score."""
        return Diverged.of(self.facts)

    @classmethod
    def of(cls, job: Job, facts: dict[str, Any]) -> "Result":
        """The result of a job that didn't have to run, because its facts are known."""
        return cls(**job.named(), facts=facts, numerics={}, seconds=0.0, peak_memory=0)


def encode(result: Result) -> tuple[Result, bytes]:
    """A result as it will be read back, and its result.json.

    Raises: ValueError, if its key doesn't follow from its spec and parents.
    """
    plain = {**asdict(result), "seconds": float(result.seconds)}
    said = {"digest": ZEROS, "format_version": FORMAT_VERSION, **finite(plain)}
    text = json.dumps(said, indent=1, allow_nan=False) + "\n"
    content = text.replace(ZEROS, sha256(text.encode()), 1).encode()
    return decode(content), content


def decode(content: bytes) -> Result:
    """The result in the content of a result.json.

    Raises: ValueError, with what is damaged; OutputError, if a newer version wrote it.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("result.json is not a JSON object")
    version, digest = found.get("format_version"), found.get("digest")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise OutputError(
            f"expected a result of format {FORMAT_VERSION}, got {version}. Update tombola."
        )
    zeroed = content.replace(str(digest).encode(), ZEROS.encode(), 1)
    if version != FORMAT_VERSION or digest != sha256(zeroed):
        raise ValueError("result.json is not what was written")
    return _checked(found)


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _checked(found: dict[str, Any]) -> Result:
    """A result whose fields are valid and agree with each other."""
    try:
        result = msgspec.convert({"files": None, "sizes": None, **found}, Result)
    except msgspec.ValidationError as error:
        raise ValueError(f"result.json: {error}") from None
    made_of = {**result.spec, "parents": result.parents}
    if keys.key(result.kind, result.job_version, **made_of) != result.key:
        raise ValueError("its key does not follow from its spec and parents")
    names = {name for name in result.files if NAME.fullmatch(name)}
    if names != result.files.keys() or names != result.sizes.keys() or "result.json" in names:
        raise ValueError("result.json names files that it may not have")
    return result
