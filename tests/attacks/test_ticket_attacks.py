"""Whatever a ticket's folder holds, reading it ends in the ticket or in one clear line."""

import os
import pickle
import random
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from transformers import AutoModel

import tombola
from command_line import Cli
from damage import (
    MATRIX,
    PACKED,
    TICKETS,
    Attack,
    Trap,
    bomb,
    duplicate,
    entry,
    fields,
    header,
    header_text,
    linked,
    mask,
    matrix,
    named,
    nested,
    noise,
    overflow,
    replaced_by_file,
    replaced_by_folder,
    replaced_by_pipe,
    shape,
    shapes,
    sparse_file,
    text,
    zipped,
)
from memory_limit import memory_limit
from ticket_seal import reseal
from tombola.base.errors import TicketError
from tombola.models.stored_types import most_weights
from tombola.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]
NAMES = ("ticket.json", "mask.safetensors")
MUTATIONS = 1000


@pytest.fixture
def ticket(tmp_path: Path) -> Iterator[Path]:
    """A ticket of version 2, in a folder where nothing else may appear."""
    folder = tmp_path / "place" / "ticket"
    shutil.copytree(TICKETS / "version-2", folder)
    yield folder
    assert os.listdir(folder.parent) in (["ticket"], [])
    assert set(os.listdir(tmp_path)) <= {"place", "here"}


def refusal(folder: Path) -> str:
    """The one line in which a ticket is refused, after at most 32 MB of memory."""
    tracemalloc.start()
    try:
        with pytest.raises(TicketError) as caught:
            Ticket.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    assert message.endswith(".")
    return message


# damage that checksums find


def test_a_bit_flipped_anywhere_is_noticed(ticket: Path) -> None:
    whole = {name: (ticket / name).read_bytes() for name in NAMES}
    bits = sum(map(len, whole.values())) * 8
    for place in random.Random(0).sample(range(bits), 1000):
        name, at = NAMES[0], place
        if at >= len(whole[name]) * 8:
            name, at = NAMES[1], at - len(whole[name]) * 8
        flipped = bytearray(whole[name])
        flipped[at // 8] ^= 1 << at % 8
        (ticket / name).write_bytes(flipped)
        with pytest.raises(TicketError):
            Ticket.load(ticket)
        (ticket / name).write_bytes(whole[name])
    Ticket.load(ticket)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_cut_at_every_hundredth_byte_is_noticed(tmp_path: Path, name: str, version: int) -> None:
    folder = tmp_path / "ticket"
    shutil.copytree(TICKETS / f"version-{version}", folder)
    whole = (folder / name).read_bytes()
    for kept in range(0, len(whole) - 1, 100):
        (folder / name).write_bytes(whole[:kept])
        refusal(folder)


# one attack each, with checksums that are right where there is something to sum


ATTACKS: dict[str, tuple[Attack, str]] = {
    "no folder": (shutil.rmtree, "got nothing"),
    "a file": (replaced_by_file, "got a file"),
    "no json": (lambda folder: (folder / "ticket.json").unlink(), "No such file"),
    "no bits": (lambda folder: (folder / "mask.safetensors").unlink(), "No such file"),
    "json is a folder": (replaced_by_folder("ticket.json"), "plain file"),
    "json is a pipe": (replaced_by_pipe, "plain file"),
    "huge json": (sparse_file("ticket.json"), "at most"),
    "huge bits": (sparse_file("mask.safetensors"), "at most"),
    "empty json": (text(b""), "expected JSON"),
    "half a json": (text(b'{"format": "tombola-ticket", "ver'), "expected JSON"),
    "no utf-8": (text(b'{"format": "\xff"}'), "expected JSON"),
    "deep json": (text(b"[" * 500_000), "expected JSON"),
    "a list": (text(b"[]"), "JSON object"),
    "a repeated key": (text(b'{"format": 1, "format": 2}'), "twice"),
    "not a number": (text(b'{"format": NaN}'), "NaN"),
    "an endless number": (text(b'{"version": ' + b"9" * 9999 + b"}"), "expected JSON"),
    "a number that no float holds": (overflow, "too large"),
    "another format": (fields(format="other"), "'format'"),
    "a newer version": (fields(version=3), "Upgrade"),
    "version zero": (fields(version=0), "'version'"),
    "a boolean version": (fields(version=True), "'version'"),
    "no model": (fields(model=...), "'model'"),
    "a number as scope": (fields(scope=3), "'scope'"),
    "a text as seed": (fields(seed="3"), "a whole number or null as 'seed'"),
    "no hash": (fields(fingerprint="abc"), "64 hexadecimal"),
    "a float sparsity": (fields(sparsity=0.7), "'sparsity'"),
    "sparsity one": (fields(sparsity="1"), "'sparsity'"),
    "a strange sparsity": (fields(sparsity="7e-1"), "'sparsity'"),
    "another step": (fields(step="x"), "'step'"),
    "another digest": (fields(digest="0" * 64), "digest"),
    "shapes as list": (fields(shapes=[]), "'shapes'"),
    "no shapes": (fields(shapes={}), "'shapes'"),
    "a shape too few": (shapes(lambda known: known.pop(MATRIX)), "only one of them for encoder"),
    "a shape too many": (
        shapes(lambda known: known.update(more=[8])),
        "only one of them for more",
    ),
    "a renamed shape": (
        shapes(lambda known: known.update(other=known.pop(MATRIX))),
        "only one of them",
    ),
    "a transposed shape": (
        shapes(lambda s: s.update({"encoder.layer.1.intermediate.dense.weight": [64, 128]})),
        "digest",
    ),
    "a name with a space": (shapes(lambda s: s.update({"a b": [8]})), "printable"),
    "a length of zero": (shape(0), "whole number"),
    "a boolean length": (shape(True), "whole number"),
    "many dimensions": (shape(*[1] * 9), "dimensions"),
    "bits cut by one": (mask(lambda content: content[:-1]), "add up"),
    "a shorter header": (mask(lambda c: struct.pack("<Q", 256) + c[8:]), "a header in JSON"),
    "a damaged header": (header_text(lambda old: "?" * len(old)), "a header in JSON"),
    "a renamed tensor": (header_text(lambda old: old.replace("query", "quarry")), "only one of"),
    "another dtype": (header_text(lambda old: old.replace('"U8"', '"I8"')), "expected U8 as"),
    "an unknown dtype": (header_text(lambda old: old.replace('"U8"', '"Z8"')), "safetensors"),
    "offsets that leave the file": (
        header_text(lambda old: old.replace('"data_offsets":[0,', '"data_offsets":[9,')),
        "safetensors",
    ),
    "a flipped bit": (matrix(lambda c: bytes([c[0] ^ 1]) + c[1:], PACKED), "digest"),
    "a padding bit": (matrix(lambda c: c[:-1] + b"\xff", PACKED), "zeros after"),
    "other size": (fields(size=28_694), "as 'size'"),
    "text as size": (fields(size="28693"), "as 'size'"),
    "no size": (fields(size=...), "as 'size'"),
    "other dead": (fields(dead=23_757), "as 'dead'"),
    "negative dead": (fields(dead=-1), "as 'dead'"),
    "other sparsity": (fields(sparsity="0.5"), "of sparsity 0.5"),
    "tiny sparsity": (fields(sparsity="0." + "0" * 63 + "1"), "sparsity"),
    "no checksum": (fields(checksum=...), "as 'checksum'"),
    "no files": (fields(files=...), "as 'files'"),
    "empty files": (fields(files={}), "as 'files.mask.safetensors'"),
    "deep provenance": (fields(provenance=nested(70)), "nested deeper"),
    "deeper provenance": (fields(provenance=nested(900)), "nested"),
    "negative shape": (shape(-64, -128), "whole number"),
    "huge shape": (shape(1 << 62, 1 << 62), "whole number"),
    "huge product": (shape(*[1 << 30] * 8), "at most"),
    "2^33 + 1 weights": (shape((1 << 33) + 1), "whole number"),
    "fractional shape": (shape(64.5, 128), "whole number"),
    "coded bomb": (bomb, "in its bits or coded"),
    "larger matrix": (shape(64, 129), "kept weights"),
    "packed too long": (shape(7), "takes 1 bytes"),
    "dots in a name": (named("../../outside"), "digest"),
    "an absolute name": (named("/etc/passwd"), "digest"),
    "NUL in a name": (named("a\0b"), "printable ASCII"),
    "escape in a name": (named("\x1b[2J"), "printable ASCII"),
    "a header of 2^60 bytes": (mask(lambda c: struct.pack("<Q", 1 << 60) + c[8:]), "add up"),
    "a header of 2^64 - 1 bytes": (mask(lambda c: b"\xff" * 8 + c[8:]), "add up"),
    "no bytes": (mask(lambda c: b""), "add up"),
    "more bytes": (mask(lambda c: c + b"\0"), "don't add up"),
    "a hole": (header(lambda e: e.pop(MATRIX)), "at the bytes"),
    "overlap": (entry(data_offsets=[0, 1028]), "at the bytes"),
    "negative offsets": (entry(data_offsets=[-4, 0]), "number of bytes"),
    "huge offsets": (entry(data_offsets=[0, 1 << 70]), "number of bytes"),
    "three offsets": (entry(data_offsets=[0, 1, 2]), "data_offsets"),
    "a longer shape": (entry(shape=[1, 500]), "shape"),
    "a huge shape": (entry(shape=[1 << 61]), "at the bytes"),
    "a negative shape": (entry(shape=[-1]), "number of bytes"),
    "NaN in the header": (entry(shape=[float("nan")]), "NaN"),
    "a repeated name": (header_text(duplicate), "comes twice"),
    "a deep header": (header_text(lambda _: "[" * 100_000), "nested"),
    "a list as header": (header_text(lambda _: "[]"), "an object"),
    "a text as tensor": (header(lambda e: e.update({MATRIX: "x"})), MATRIX),
    "a coded matrix of zeros": (matrix(lambda c: bytes(len(c))), "digest"),
    "too many kept": (matrix(lambda c: b"\xff" * 8 + c[8:]), "at most 8192 kept"),
    "another number kept": (matrix(lambda c: bytes([c[0] ^ 1]) + c[1:]), "kept weights"),
    "noise as code": (matrix(noise), "kept"),
    "a zip file": (zipped, "add up"),
    "a pickle": (mask(lambda _: pickle.dumps(Trap())), "add up"),
    "ticket.json as link": (linked("ticket.json"), "link"),
    "the mask as link": (linked("mask.safetensors"), "link"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_in_one_line_and_little_memory(ticket: Path, name: str) -> None:
    attack, message = ATTACKS[name]
    attack(ticket)
    assert message in refusal(ticket)


def coded_zeros(folder: Path) -> None:
    """A ticket whose 4 million coded bytes stand for 2^32 pruned weights."""
    zeros = struct.pack("<Q", 0) + bytes((1 << 22) - 8)
    content = save({MATRIX: torch.frombuffer(bytearray(zeros), dtype=torch.uint8)})
    (folder / "mask.safetensors").write_bytes(content)
    fields(shapes={MATRIX: [1 << 16, 1 << 16]})(folder)


def test_a_ticket_larger_than_its_network_is_refused_before_it_is_unpacked(
    ticket: Path, tiny: Path
) -> None:
    fields(model="mini", task=None)(ticket)
    coded_zeros(ticket)
    mini = most_weights("mini")
    assert mini is not None
    calls: list[Callable[[], object]] = [
        lambda: Ticket.load(ticket, limit=mini),
        lambda: tombola.evaluate(ticket, task="sentiment"),
        lambda: tombola.evaluate(ticket, task="sentiment", model=str(tiny)),
    ]
    for call in calls:
        with memory_limit(1 << 29), pytest.raises(TicketError, match="as its network has, got one"):
            call()


def test_a_ticket_as_large_as_its_network_is_read(ticket: Path, tiny: Path) -> None:
    assert Ticket.load(ticket, limit=28_693).mask.size == 28_693
    with pytest.raises(TicketError, match="at most 28,692 weights"):
        Ticket.load(ticket, limit=28_692)
    network: Any = AutoModel.from_pretrained(tiny)
    assert most_weights(str(tiny)) == network.num_parameters()


def test_escapes_in_a_ticket_never_reach_the_screen(ticket: Path, cli: Cli) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\r"
    names = ("model", "scope", "task", "schedule", "scores", "created_by")
    fields(**dict.fromkeys(names, evil), versions={evil: evil}, provenance={evil: evil})(ticket)
    for arguments in ([ticket], [ticket, "--json"]):
        status, shown, errors = cli("inspect", *arguments)
        assert status == 0
        assert all(line.isprintable() for line in (shown + errors).split("\n"))
    assert repr(Ticket.load(ticket)).isprintable()


def test_escapes_in_a_path_never_reach_the_screen(tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "a\x1b[2Jb"
    assert cli("inspect", folder)[2].strip().isprintable()
    shutil.copytree(TICKETS / "version-2", folder)
    for name in NAMES:
        (folder / name).write_bytes(b"x")
        assert cli("inspect", folder)[2].strip().isprintable()
        refusal(folder)


# fuzz


PUT = st.binary(max_size=12) | st.sampled_from([b"[" * 50, b"9" * 30, b"null", b"-1", b"1e999"])
"""What comes in place of the bytes that are removed."""


@settings(
    max_examples=MUTATIONS,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    name=st.sampled_from(NAMES),
    version=st.sampled_from([1, 2]),
    where=st.floats(0, 1, exclude_max=True),
    change=st.tuples(st.integers(0, 12), PUT),
)
def test_any_mutation_with_right_checksums_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    name: str,
    version: int,
    where: float,
    change: tuple[int, bytes],
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(TICKETS / f"version-{version}", folder)
    content = (folder / name).read_bytes()
    at, (removed, put) = int(where * len(content)), change
    (folder / name).write_bytes(content[:at] + put + content[at + removed :])
    with suppress(ValueError, KeyError, AttributeError, TypeError):  # not JSON any more
        reseal(folder)
    with suppress(TicketError):
        ticket = Ticket.load(folder)
        assert (ticket.mask.size, ticket.mask.pruned) == (28_693, 23_756)


def test_the_documented_number_of_mutations_is_tried() -> None:
    guide = (ROOT / "docs" / "reference" / "ticket-format.md").read_text()
    assert f"{MUTATIONS:,} mutations by Hypothesis" in guide
