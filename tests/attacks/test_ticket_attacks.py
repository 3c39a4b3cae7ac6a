"""Whatever a ticket's folder holds, reading it ends in the ticket or in one clear line."""

import json
import os
import pickle
import random
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import Cli
from ticket_seal import reseal
from tombola.base.errors import TicketError
from tombola.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]
TICKETS = ROOT / "tests" / "fixtures" / "tickets"
NAMES = ("ticket.json", "mask.safetensors")
MATRIX = "encoder.layer.0.output.dense.weight"
MUTATIONS = 1000

Attack = Callable[[Path], object]


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


# lies with checksums that are right


def document(change: Callable[[Any], object]) -> Attack:
    """Change what ticket.json says."""

    def attack(folder: Path) -> None:
        content = json.loads((folder / "ticket.json").read_text())
        change(content)
        (folder / "ticket.json").write_text(json.dumps(content))
        reseal(folder)

    return attack


def fields(**changes: Any) -> Attack:
    return document(lambda content: content.update(changes))


def shape(*dimensions: Any) -> Attack:
    return document(lambda content: content["shapes"].update({MATRIX: list(dimensions)}))


def named(name: str) -> Attack:
    """Give a matrix another name in both files."""

    def attack(folder: Path) -> None:
        document(lambda c: c["shapes"].update({name: c["shapes"].pop(MATRIX)}))(folder)
        header(lambda entries: entries.update({name: entries.pop(MATRIX)}))(folder)

    return attack


def mask(change: Callable[[bytes], bytes]) -> Attack:
    def attack(folder: Path) -> None:
        place = folder / "mask.safetensors"
        place.write_bytes(change(place.read_bytes()))
        reseal(folder)

    return attack


def header_text(change: Callable[[str], str]) -> Attack:
    """Change the header of mask.safetensors and keep its length true."""

    def rewritten(content: bytes) -> bytes:
        size = struct.unpack("<Q", content[:8])[0]
        new = change(content[8 : 8 + size].decode()).encode()
        return struct.pack("<Q", len(new)) + new + content[8 + size :]

    return mask(rewritten)


def header(change: Callable[[Any], object]) -> Attack:
    def rewritten(text: str) -> str:
        entries = json.loads(text)
        change(entries)
        return json.dumps(entries)

    return header_text(rewritten)


def entry(**changes: Any) -> Attack:
    return header(lambda entries: entries[MATRIX].update(changes))


def coded(change: Callable[[bytes], bytes]) -> Attack:
    """Change the bytes of the last matrix of the file that is coded, at equal length."""

    def attack(folder: Path) -> None:
        content = (folder / "mask.safetensors").read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        start, stop = (
            8 + size + at for at in json.loads(content[8 : 8 + size])[MATRIX]["data_offsets"]
        )
        new = change(content[start:stop])
        assert len(new) == stop - start
        mask(lambda c: c[:start] + new + c[stop:])(folder)

    return attack


def duplicate(text: str) -> str:
    """The header with its first tensor twice."""
    entries = json.loads(text)
    name, about = next(iter((n, a) for n, a in entries.items() if n != "__metadata__"))
    return f"{{{json.dumps(name)}: {json.dumps(about)}, {text.lstrip()[1:]}"


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / "mask.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 1000)
    reseal(folder)


class Trap:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, ("ran",)


def nested(depth: int) -> Any:
    return {} if depth == 0 else {"a": nested(depth - 1)}


def linked(name: str) -> Attack:
    def attack(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(TICKETS / "version-2" / name)

    return attack


def bomb(folder: Path) -> None:
    """A few coded bytes that claim to be a matrix of four billion weights."""
    shape(1 << 16, 1 << 16)(folder)
    fields(dead=1 << 32, size=1 << 32)(folder)


ATTACKS: dict[str, tuple[Attack, str]] = {
    "other size": (fields(size=28_694), "as 'size'"),
    "text as size": (fields(size="28693"), "as 'size'"),
    "no size": (document(lambda c: c.pop("size")), "as 'size'"),
    "other dead": (fields(dead=23_757), "as 'dead'"),
    "negative dead": (fields(dead=-1), "as 'dead'"),
    "other sparsity": (fields(sparsity="0.5"), "of sparsity 0.5"),
    "tiny sparsity": (fields(sparsity="0." + "0" * 63 + "1"), "sparsity"),
    "no checksum": (document(lambda c: c.pop("checksum")), "as 'checksum'"),
    "no files": (document(lambda c: c.pop("files")), "as 'files'"),
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
    "a coded matrix of zeros": (coded(lambda c: bytes(len(c))), "digest"),
    "too many kept": (coded(lambda c: b"\xff" * 8 + c[8:]), "at most 8192 kept"),
    "another number kept": (coded(lambda c: bytes([c[0] ^ 1]) + c[1:]), "kept weights"),
    "noise as code": (coded(lambda c: c[:8] + random.Random(0).randbytes(len(c) - 8)), "kept"),
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


def test_a_number_too_large_for_a_float_is_refused(ticket: Path) -> None:
    place = ticket / "ticket.json"
    place.write_text(place.read_text().replace("2e-05", "1e999"))
    reseal_text(place)
    assert "too large" in refusal(ticket)


def reseal_text(place: Path) -> None:
    from tombola.ticket.format import sealed

    place.write_bytes(sealed(place.read_bytes()))


def test_a_mask_larger_than_its_shapes_is_never_read(ticket: Path) -> None:
    with (ticket / "mask.safetensors").open("r+b") as file:
        file.truncate(1 << 40)
    assert "at most" in refusal(ticket)


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
    guide = (ROOT / "docs" / "ticket-format.md").read_text()
    assert f"{MUTATIONS:,} mutations by Hypothesis" in guide
