"""The ticket format, version 2: its limits, its checksums, and readers that trust nothing."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from tombola.base.errors import TicketError
from tombola.base.files import read_plain
from tombola.base.json_text import finite, parse_json
from tombola.base.records import MISSING, RecordReader
from tombola.base.text import printable
from tombola.ticket.coder import HEADER_LIMIT, MASK_NAME, mask_content, plain_size, read_mask
from tombola.ticket.mask import Mask, Shapes

__all__ = [
    "CARD_NAME",
    "FORMAT",
    "FORMAT_VERSION",
    "JSON_LIMIT",
    "JSON_NAME",
    "NESTED",
    "WEIGHT_LIMIT",
    "Document",
    "check_is_ticket",
    "check_no_network",
    "read_document",
    "read_ticket",
    "seal",
    "ticket_files",
    "ticket_schema",
]

FORMAT = "tombola-ticket"
FORMAT_VERSION = 2
JSON_NAME, CARD_NAME = "ticket.json", "README.md"

NESTED = "ticket"
"""Name of the ticket's folder inside that of a network that was trained under it."""

JSON_LIMIT = 4 << 20
"""Bytes of ticket.json."""

DEPTH_LIMIT = 64
"""How many lists and objects of ticket.json may be inside one another."""

TENSOR_LIMIT = 100_000
DIMENSION_LIMIT = 8
WEIGHT_LIMIT = 1 << 33
"""Weights of all tensors together; a mask takes a byte of memory for each."""

ZEROS = b"0" * 64
"""What stands for the checksum of ticket.json while it is computed."""

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

CoveredFiles = TypedDict("CoveredFiles", {"mask.safetensors": Hash})
"""The other file of a ticket -> its SHA-256."""

READER = RecordReader(where=JSON_NAME, remedy="Fetch the ticket again.", error=TicketError)


@dataclass(frozen=True, kw_only=True)
class Document:
    """The fields of ticket.json that both versions have; unknown ones are dropped."""

    format: Literal["tombola-ticket"]
    version: Literal[1, 2]
    model: str
    fingerprint: Hash
    scope: str
    sparsity: Fraction
    size: Length
    dead: Annotated[int, Meta(ge=0, le=WEIGHT_LIMIT, description="a number of weights")]
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


@dataclass(frozen=True, kw_only=True)
class SealedDocument(Document):
    """ticket.json of version 2."""

    version: Literal[2]
    files: CoveredFiles
    checksum: Hash


# --- writing -----------------------------------------------------------------


def ticket_files(fields: Mapping[str, Any], mask: Mask) -> dict[str, bytes]:
    """The files of a ticket: name -> content.

    Args:
        fields: the fields of ticket.json, without the checksums.
        mask: which weights are kept.

    Raises: TicketError, if ticket.json could not be read back.
    """
    _check_limits(mask.shapes)
    content = mask_content(mask)
    document = {**fields, "files": {MASK_NAME: _sha256(content)}, "checksum": ZEROS.decode()}
    try:
        text = (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()
        parse_json(text, depth_limit=DEPTH_LIMIT)
    except (TypeError, ValueError, RecursionError) as error:
        raise TicketError(
            f"expected a provenance that JSON can hold, got: {error}. "
            f"Use strings, finite numbers, lists and dicts."
        ) from None
    if len(text) > JSON_LIMIT:
        raise TicketError(
            f"expected at most {JSON_LIMIT:,} bytes of {JSON_NAME}, got {len(text):,}. "
            f"Give a shorter provenance."
        )
    return {JSON_NAME: seal(text), MASK_NAME: content}


def seal(text: bytes) -> bytes:
    """The content of ticket.json with the checksum that belongs to it.

    Args:
        text: the same with any other checksum, as its last field.
    """
    before, _, after = text.rpartition(json.loads(text)["checksum"].encode())
    return before + _checksum(before, after) + after


def _checksum(before: bytes, after: bytes) -> bytes:
    """SHA-256 of ticket.json with 64 zeros in place of the checksum itself."""
    return _sha256(before + ZEROS + after).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- reading -----------------------------------------------------------------


def read_document(folder: Path) -> Document:
    """The fields of a ticket, without its mask; their checksum is compared.

    Raises: TicketError, if ticket.json is missing, too large, damaged or of a newer format.
    """
    path = folder / JSON_NAME
    text = _read(path, JSON_LIMIT)
    fields = _parsed(path, text)
    _check_version(fields)
    document = READER.read(Document if fields["version"] == 1 else SealedDocument, fields)
    if isinstance(document, SealedDocument):
        _check_seal(text, document.checksum)
    return document


def read_ticket(folder: Path, limit: int = WEIGHT_LIMIT) -> tuple[Document, Mask]:
    """The fields of a ticket and its mask; checksums, sizes and counts are compared.

    Args:
        folder: the ticket's folder.
        limit: the most weights that the mask may have.

    Raises: TicketError, if a file is missing, too large, damaged or of a newer format.
    """
    document = read_document(folder)
    _check_size(document.shapes, limit)
    content = _read(folder / MASK_NAME, 8 + HEADER_LIMIT + plain_size(document.shapes))
    if isinstance(document, SealedDocument):
        _check_content(folder, content, document.files)
    try:
        mask = read_mask(content, document.shapes, coded=document.version > 1)
    except MemoryError:
        raise TicketError(
            f"expected memory for a mask of {document.size:,} weights, got too little. "
            f"Read the ticket on a larger machine."
        ) from None
    _check_mask(mask, document)
    return document, mask


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    """The object that ticket.json holds."""
    try:
        value = parse_json(text, depth_limit=DEPTH_LIMIT)
        if finite(value) != value:
            raise ValueError("a number is too large")
    except ValueError as error:
        raise TicketError(
            f"expected JSON in {printable(path)}, got: {error}. Fetch the ticket again."
        ) from None
    if not isinstance(value, dict):
        raise TicketError(
            f"expected a JSON object in {printable(path)}, got a {type(value).__name__}. "
            f"Fetch the ticket again."
        )
    return value


def _read(path: Path, limit: int) -> bytes:
    """The content of a file of a ticket; its size is checked before it is read."""
    try:
        return read_plain(path, limit, links=False)
    except OSError as error:
        raise TicketError(
            f"expected a ticket with {path.name} in {printable(path.parent)}, got: "
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


def _check_limits(shapes: Shapes) -> None:
    """Refuse names and sizes beyond the format's limits.

    Raises: TicketError, naming the first that is.
    """
    _check_size(READER.read(_ShapesOnly, {"shapes": shapes}).shapes)


@dataclass(frozen=True)
class _ShapesOnly:
    """The part of a document that a ticket to be written is checked for."""

    shapes: NamedShapes


def _check_size(shapes: Shapes, limit: int = WEIGHT_LIMIT) -> None:
    size = sum(map(prod, shapes.values()))
    if size > WEIGHT_LIMIT:
        raise READER.misfit("shapes", f"at most {WEIGHT_LIMIT} weights", size)
    if size > limit:
        raise TicketError(
            f"expected a ticket of at most {limit:,} weights, as its network has, got one of "
            f"{size:,}. Use it with the network that it was found on."
        )


def _check_seal(text: bytes, checksum: str) -> None:
    """Refuse a ticket.json that has changed since it was written."""
    written = checksum.encode()
    before, _, after = text.partition(written)
    if written in after or _checksum(before, after) != written:
        raise READER.misfit("checksum", "the SHA-256 of the rest", checksum)


def _check_content(folder: Path, content: bytes, files: CoveredFiles) -> None:
    """Refuse a mask.safetensors that has changed since the ticket was written."""
    expected, found = files["mask.safetensors"], _sha256(content)
    if found != expected:
        raise TicketError(
            f"expected {MASK_NAME} with the SHA-256 {expected[:12]}... in {printable(folder)}, "
            f"got {found[:12]}.... Fetch the ticket again."
        )


def _check_mask(mask: Mask, document: Document) -> None:
    """Refuse a mask that is not the one that ticket.json describes."""
    if (digest := mask.digest()) != document.digest:
        raise TicketError(
            f"expected a mask with digest {document.digest[:12]}..., "
            f"got {digest[:12]}.... Fetch the ticket again."
        )
    for name, found in (("size", mask.size), ("dead", mask.pruned)):
        if (said := getattr(document, name)) != found:
            raise READER.misfit(name, f"{found}, as the mask has", said)


def ticket_schema() -> dict[str, Any]:
    """The JSON Schema of ticket.json, as version 2 has it."""
    from msgspec.json import schema

    described = json.dumps(schema(SealedDocument)).replace("\\\\A", "^").replace("\\\\Z", "$")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **json.loads(described)}


def check_is_ticket(folder: Path) -> None:
    """Refuse what is not a folder, and that of a network with its ticket.

    Raises: TicketError.
    """
    if not os.path.isdir(folder):  # unlike Path.is_dir(), also of a name that is too long
        kind = "a file" if os.path.exists(folder) else "nothing"
        raise TicketError(
            f"a ticket is a folder, got {kind} at {printable(folder)}. Check the path."
        )
    check_no_network(folder)


def check_no_network(folder: Path) -> None:
    """Refuse the folder of a trained network, whose ticket is one level below.

    Raises: TicketError.
    """
    if os.path.isfile(folder / NESTED / JSON_NAME) and not os.path.exists(folder / JSON_NAME):
        raise TicketError(
            f"expected a ticket in {printable(folder)}, got a trained network. Its ticket is in "
            f"{printable(folder / NESTED)}."
        )
