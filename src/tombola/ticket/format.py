"""The ticket format, version 1: its limits, and readers that trust nothing."""

import re
from collections.abc import Mapping
from decimal import Decimal
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load

from tombola.base.errors import SpecError, TicketError, cut
from tombola.base.folders import parse_object, read_limited
from tombola.base.keys import exact
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

_NAME = re.compile(r"[!-~]{1,512}")
_HASH = re.compile(r"[0-9a-f]{64}")
_FRACTION = re.compile(r"0(\.[0-9]{1,64})?")

_FIELDS: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "fingerprint": (str,),
    "scope": (str,),
    "sparsity": (str,),
    "digest": (str,),
    "schedule": (str, type(None)),
    "step": (str, type(None)),
    "task": (str, type(None)),
    "seed": (int, type(None)),
    "scores": (str, type(None)),
    "created_by": (str,),
    "versions": (dict,),
    "provenance": (dict,),
    "shapes": (dict,),
}
"""Fields that a reader needs, and their types; `format` and `version` come before."""


def read_document(path: Path) -> dict[str, Any]:
    """The fields of ticket.json: fractions as decimals, shapes as tuples, unknown fields dropped.

    Raises: TicketError, if the file is missing, too large, damaged or of a newer format.
    """
    document = parse_object(read_limited(path, JSON_LIMIT), path)
    _check_version(document)
    for name, types in _FIELDS.items():
        if type(document.get(name, ...)) not in types:
            expected = " or ".join(kind.__name__.replace("NoneType", "null") for kind in types)
            raise _bad(name, expected, document.get(name, "nothing"))
    for name in ("fingerprint", "digest"):
        if not _HASH.fullmatch(document[name]):
            raise _bad(name, "64 hexadecimal digits", document[name])
    fields = {name: document[name] for name in _FIELDS}
    fields["sparsity"] = _fraction("sparsity", fields["sparsity"])
    if fields["step"] is not None:
        fields["step"] = _fraction("step", fields["step"])
    return fields | {"shapes": check_shapes(fields["shapes"])}


def _check_version(document: Mapping[str, Any]) -> None:
    if document.get("format") != FORMAT:
        raise _bad("format", FORMAT, document.get("format", "nothing"))
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise _bad("version", str(FORMAT_VERSION), version)
    if version > FORMAT_VERSION:
        raise TicketError(
            f"expected a ticket of format version {FORMAT_VERSION}, got {version}. Upgrade tombola."
        )


def _fraction(name: str, text: str) -> Decimal:
    if not _FRACTION.fullmatch(text):
        raise _bad(name, "a decimal fraction such as 0.7", text)
    try:
        return exact(text, name)
    except SpecError:
        raise _bad(name, "a decimal fraction in [0, 1)", text) from None


def _bad(name: str, expected: str, came: object) -> TicketError:
    return TicketError(
        f"expected {expected} as {name!r} in ticket.json, got {cut(came)}. Fetch the ticket again."
    )


def check_shapes(shapes: Mapping[str, Any]) -> Shapes:
    """Shapes as tuples, if names and sizes are within the format's limits.

    Raises: TicketError, naming the first that is not.
    """
    if not 0 < len(shapes) <= TENSOR_LIMIT:
        raise _bad("shapes", f"1 to {TENSOR_LIMIT} tensors", len(shapes))
    for name, shape in shapes.items():
        if not _NAME.fullmatch(name):
            raise _bad("shapes", "a name of up to 512 printable ASCII characters", name)
        if not isinstance(shape, list | tuple) or not 0 < len(shape) <= DIMENSION_LIMIT:
            raise _bad("shapes", f"1 to {DIMENSION_LIMIT} dimensions for {name}", shape)
        if any(type(length) is not int or not 0 < length <= WEIGHT_LIMIT for length in shape):
            raise _bad("shapes", f"positive whole numbers for {name}", shape)
    if sum(prod(shape) for shape in shapes.values()) > WEIGHT_LIMIT:
        raise _bad("shapes", f"at most {WEIGHT_LIMIT} weights", "more")
    return {name: tuple(shape) for name, shape in shapes.items()}


def read_bits(path: Path, shapes: Shapes) -> Tensors:
    """The packed bits in a safetensors file that has exactly the size that the shapes say.

    Raises: TicketError, if the file is missing, has another size, or is damaged.
    """
    expected = sum((prod(shape) + 7) // 8 for shape in shapes.values())
    content = read_limited(path, 8 + HEADER_LIMIT + expected)
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
