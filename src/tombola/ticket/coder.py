"""mask.safetensors of a ticket: each matrix in a bit a weight, or in fewer by an entropy coder."""

from collections.abc import Iterator
from math import prod
from typing import Annotated, Literal, TypedDict

import numpy as np
import torch
from msgspec import Meta
from safetensors.numpy import save

from tombola.base.errors import TicketError
from tombola.base.json_text import parse_json
from tombola.base.records import RecordReader
from tombola.ticket.mask import Mask, Shapes, pack, unpack

__all__ = ["HEADER_LIMIT", "MASK_NAME", "frequencies", "mask_content", "plain_size", "read_mask"]

MASK_NAME = "mask.safetensors"

HEADER_LIMIT = 4 << 20
"""Bytes of the header of mask.safetensors."""

WEIGHTS_PER_BYTE = 1024
"""The most weights that one coded byte may stand for, so that a small file needs little memory."""

PRECISION = 24
"""The frequencies of the coder's 256 symbols add up to 2 to the power of this."""

KEPT_OF_BYTE = np.array([byte.bit_count() for byte in range(256)])
"""Byte of eight weights -> how many of them are kept."""

WORD, COUNT = np.dtype("<u4"), np.dtype("<u8")

REMEDY = "Fetch the ticket again."
READER = RecordReader(where=f"the header of {MASK_NAME}", remedy=REMEDY, error=TicketError)

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
Offset = Annotated[int, Meta(ge=0, le=1 << 62, description="a number of bytes")]


class TensorEntry(TypedDict):
    """What the header says of one tensor."""

    dtype: Annotated[Literal["U8"], Meta(description="U8")]
    shape: Annotated[tuple[Offset, ...], Meta(max_length=1, min_length=1)]
    data_offsets: tuple[Offset, Offset]


class Header(TypedDict):
    """The header: name -> tensor."""

    tensors: dict[str, TensorEntry]


# --- the file ----------------------------------------------------------------


def mask_content(mask: Mask) -> bytes:
    """The content of mask.safetensors: the same bytes for the same mask."""
    packed = {name: bits.numpy() for name, bits in pack(mask).items()}
    return save({name: _smaller(bits, mask[name].numel()) for name, bits in packed.items()})


def plain_size(shapes: Shapes) -> int:
    """Bytes of all matrices in a bit a weight, which is the most that they may take."""
    return sum(_plain(prod(shape)) for shape in shapes.values())


def _plain(weights: int) -> int:
    return (weights + 7) // 8


def read_mask(content: bytes, shapes: Shapes, *, coded: bool) -> Mask:
    """The mask in the content of mask.safetensors.

    Args:
        content: the content of the file.
        shapes: name -> shape of each matrix.
        coded: whether matrices may be coded, as they may from version 2 of the format on.

    Raises: TicketError, if anything in it is not as the format says.
    """
    parts = dict(_parts(content))
    if parts.keys() != shapes.keys():
        odd = min(parts.keys() ^ shapes.keys())
        raise _damaged("bits and a shape for each tensor", f"only one of them for {odd}")
    packed = {}
    for name, part in parts.items():
        weights = prod(shapes[name])
        is_coded = coded and len(part) < _plain(weights)
        packed[name] = torch.from_numpy(_decoded(name, part, weights) if is_coded else part.copy())
    return unpack(packed, shapes)


def _parts(content: bytes) -> Iterator[tuple[str, Bytes]]:
    """Name and bytes of each tensor; together they are all that follows the header."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(HEADER_LIMIT, len(content) - 8):
        raise _damaged("8 bytes and a header", f"{len(content)} bytes that don't add up to it")
    data = np.frombuffer(content, np.uint8)[8 + length :]
    end = 0
    for name, entry in sorted(_header(content[8 : 8 + length]).items(), key=_offsets):
        (size,), (start, stop) = entry["shape"], entry["data_offsets"]
        if start != end or stop - start != size:
            raise _damaged(f"{name} at the bytes {end} to {end + size}", f"{start} to {stop}")
        yield name, data[start:stop]
        end = stop
    if end != len(data):
        raise _damaged(f"{end} bytes of data", f"{len(data)}, which don't add up")


def _header(text: bytes) -> dict[str, TensorEntry]:
    try:
        header = parse_json(text, depth_limit=4)
    except ValueError as error:
        raise _damaged("a header in JSON", str(error)) from None
    if isinstance(header, dict):
        header.pop("__metadata__", None)
    return READER.read(Header, {"tensors": header})["tensors"]


def _offsets(item: tuple[str, TensorEntry]) -> tuple[int, int]:
    return item[1]["data_offsets"]


def _damaged(expected: str, came: str) -> TicketError:
    return TicketError(f"expected {expected} in {MASK_NAME}, got {came}. {REMEDY}")


# --- the coder ---------------------------------------------------------------


def frequencies(kept: int, weights: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How often the coder expects each byte of eight weights, out of 2^24, in exact integers.

    A byte with c kept weights has the probability p^c (1 - p)^(8 - c), p = kept / weights. Each
    byte has a frequency of at least 1, so that there is a code for all.
    """
    pruned, free = weights - kept, (1 << PRECISION) - 256
    of_count = [1 + free * kept**c * pruned ** (8 - c) // weights**8 for c in range(9)]
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = np.array(of_count, np.int64)[KEPT_OF_BYTE]
    found[255 if kept > pruned else 0] += (1 << PRECISION) - found.sum()
    return found


def _smaller(bits: Bytes, weights: int) -> Bytes:
    """The packed bits of a matrix, coded if that is smaller."""
    kept = int(np.count_nonzero(np.unpackbits(bits)))
    coded = _coded(bits, kept, weights)
    return coded if len(coded) < len(bits) else bits


def _coded(bits: Bytes, kept: int, weights: int) -> Bytes:
    """The number of kept weights, then the coder's words, padded with zeros to the least length."""
    import constriction

    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(bits.astype(np.int32), _model(kept, weights))
    words = coder.get_compressed().astype(WORD)
    needed = -(-weights // WEIGHTS_PER_BYTE)
    missing = max(-(-(needed - COUNT.itemsize) // WORD.itemsize) - len(words), 0)
    padded = np.concatenate([words, np.zeros(missing, WORD)])
    return np.concatenate([np.array([kept], COUNT).view(np.uint8), padded.view(np.uint8)])


def _decoded(name: str, part: Bytes, weights: int) -> Bytes:
    """The packed bits of a coded matrix; lengths are compared before anything is allocated."""
    import constriction

    if (
        len(part) < COUNT.itemsize
        or len(part) % WORD.itemsize
        or len(part) * WEIGHTS_PER_BYTE < weights
    ):
        raise _damaged(f"{name}, {weights} weights, in its bits or coded", f"{len(part)} bytes")
    kept = int(part[: COUNT.itemsize].view(COUNT)[0])
    if kept > weights:
        raise _damaged(f"at most {weights} kept weights of {name}", str(kept))
    words = part[COUNT.itemsize :].view(WORD)
    filled = np.flatnonzero(words)
    words = words[: int(filled[-1]) + 1 if len(filled) else 0].astype(np.uint32)
    coder = constriction.stream.stack.AnsCoder(words)
    bits: Bytes = coder.decode(_model(kept, weights), _plain(weights)).astype(np.uint8)
    if not coder.is_empty() or int(np.count_nonzero(np.unpackbits(bits))) != kept:
        raise _damaged(f"{kept} kept weights of {name}", "another number, or more words")
    return bits


def _model(kept: int, weights: int) -> object:
    """The coder's model with exactly our frequencies.

    constriction gives each symbol 1 and shares the rest of 2^24 in proportion to the numbers that
    it is given: these add up to that rest, so nothing is rounded.
    """
    import constriction

    given = (frequencies(kept, weights) - 1).astype(np.float64)
    return constriction.stream.model.Categorical(given, perfect=False)
