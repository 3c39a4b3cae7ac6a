"""The ticket format, version 1: its limits, and readers that trust nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from safetensors.numpy import load

from tombola.base.errors import TicketError
from tombola.base.files import read_plain
from tombola.base.json_text import parse_json
from tombola.base.records import MISSING, RecordReader
from tombola.ticket.mask import Shapes, Tensors

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "JSON_NAME",
    "MASK_NAME",
    "check_shapes",
    "read_bits",
    "read_document",
]

FORMAT = "tombola-ticket"
FORMAT_VERSION = 1
JSON_NAME = "ticket.json"
MASK_NAME = "mask.safetensors"

JSON_LIMIT = HEADER_LIMIT = 4 << 20
"""Bytes of ticket.json, and of the header of mask.safetensors."""

TENSOR_LIMIT = 100_000
DIMENSION_LIMIT = 8
WEIGHT_LIMIT = 1 << 36
"""Weights of all tensors together; their bits are 8 GiB."""

Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z", description="64 hexadecimal digits")]
Fraction = Annotated[
    str, Meta(pattern=r"\A0(\.[0-9]{1,64})?\Z", description="a decimal fraction such as 0.7")
]
TensorName = Annotated[
    str,
    Meta(pattern=r"\A[!-~]{1,512}\Z", description="a name of up to 512 printable ASCII characters"),
]
Length = Annotated[int, Meta(gt=0, le=WEIGHT_LIMIT, description="a positive whole number")]
Shape = Annotated[
    tuple[Length, ...],
    Meta(
        min_length=1, max_length=DIMENSION_LIMIT, description=f"1 to {DIMENSION_LIMIT} dimensions"
    ),
]
NamedShapes = Annotated[
    dict[TensorName, Shape],
    Meta(min_length=1, max_length=TENSOR_LIMIT, description=f"1 to {TENSOR_LIMIT} tensors"),
]

READER = RecordReader(where=JSON_NAME, remedy="Fetch the ticket again.", error=TicketError)


@dataclass(frozen=True, kw_only=True)
class Document:
    """The fields of ticket.json that a reader needs; `format` and `version` come before."""

    model: str
    fingerprint: Hash
    scope: str
    sparsity: Fraction
    digest: Hash
    schedule: str | None
    step: Fraction | None
    task: str | None
    seed: int | None
    scores: str | None
    created_by: str
    versions: dict[str, Any]
    provenance: dict[str, Any]
    shapes: NamedShapes


def read_document(path: Path) -> Document:
    """The content of ticket.json; unknown fields are dropped.

    Raises: TicketError, if the file is missing, too large, damaged or of a newer format.
    """
    document = _read_object(path)
    _check_version(document)
    read = READER.read(Document, document)
    _check_size(read.shapes)
    return read


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(_read(path, JSON_LIMIT))
    except ValueError as error:
        raise TicketError(
            f"expected JSON in {path}, got: {error}. Fetch the ticket again."
        ) from None
    if not isinstance(value, dict):
        raise TicketError(
            f"expected a JSON object in {path}, got a {type(value).__name__}. "
            f"Fetch the ticket again."
        )
    return value


def _read(path: Path, limit: int) -> bytes:
    """The content of a file of a ticket; its size is checked before it is read."""
    try:
        return read_plain(path, limit)
    except OSError as error:
        raise TicketError(
            f"expected a ticket with {path.name} in {path.parent}, got: "
            f"{error.strerror or error}. Check the path or fetch the ticket again."
        ) from None


def _check_version(document: Mapping[str, Any]) -> None:
    if document.get("format") != FORMAT:
        raise READER.misfit("format", FORMAT, document.get("format", MISSING))
    version = document.get("version", MISSING)
    if type(version) is not int or version < 1:
        raise READER.misfit("version", str(FORMAT_VERSION), version)
    if version > FORMAT_VERSION:
        raise TicketError(
            f"expected a ticket of format version {FORMAT_VERSION}, got {version}. Upgrade tombola."
        )


def check_shapes(shapes: Shapes) -> None:
    """Refuse names and sizes beyond the format's limits.

    Raises: TicketError, naming the first that is.
    """
    _check_size(READER.read(ShapesOnly, {"shapes": shapes}).shapes)


@dataclass(frozen=True)
class ShapesOnly:
    """The part of a document that a ticket to be written is checked for."""

    shapes: NamedShapes


def _check_size(shapes: Shapes) -> None:
    if (size := sum(map(prod, shapes.values()))) > WEIGHT_LIMIT:
        raise READER.misfit("shapes", f"at most {WEIGHT_LIMIT} weights", size)


def read_bits(path: Path, shapes: Shapes) -> Tensors:
    """The packed bits in a safetensors file that has exactly the size that the shapes say.

    Raises: TicketError, if the file is missing, has another size, or is damaged.
    """
    expected = sum((prod(shape) + 7) // 8 for shape in shapes.values())
    content = _read(path, 8 + HEADER_LIMIT + expected)
    header = int.from_bytes(content[:8], "little")
    if len(content) < 8 or header > HEADER_LIMIT or len(content) != 8 + header + expected:
        raise TicketError(
            f"expected 8 bytes, a header and {expected} bytes of bits in {path}, "
            f"got {len(content)} bytes that don't add up to it. Fetch the ticket again."
        )
    try:
        entries = load(content)
    except Exception as error:  # a damaged header raises several types, some of them the library's
        raise TicketError(
            f"expected a safetensors file {path}, got: {' '.join(str(error).split())[:200]}. "
            f"Fetch the ticket again."
        ) from None
    return {name: torch.from_numpy(bits.copy()) for name, bits in entries.items()}
