"""Ways to damage a stored ticket, with the checksums that belong to what is then there."""

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ticket_seal import reseal
from tombola.ticket.format import seal

TICKETS = Path(__file__).parent / "fixtures" / "tickets"
"""A ticket of each version; the damage is to that of version 2."""

MATRIX = "encoder.layer.0.output.dense.weight"
"""A matrix that is coded."""

PACKED = "encoder.layer.0.attention.output.dense.weight"
"""A matrix that takes a bit a weight."""

Attack = Callable[[Path], object]


def document(change: Callable[[Any], object]) -> Attack:
    """Change what ticket.json says."""

    def attack(folder: Path) -> None:
        content = json.loads((folder / "ticket.json").read_text())
        change(content)
        (folder / "ticket.json").write_text(json.dumps(content))
        reseal(folder)

    return attack


def fields(**changes: Any) -> Attack:
    """Change fields of ticket.json; `...` removes one."""

    def change(content: dict[str, Any]) -> None:
        content.update(changes)
        for name in [name for name, value in changes.items() if value is ...]:
            del content[name]

    return document(change)


def shapes(change: Callable[[dict[str, Any]], object]) -> Attack:
    return document(lambda content: change(content["shapes"]))


def shape(*dimensions: Any) -> Attack:
    return shapes(lambda named: named.update({MATRIX: list(dimensions)}))


def text(content: bytes) -> Attack:
    """Put something else in the place of ticket.json."""
    return lambda folder: (folder / "ticket.json").write_bytes(content)


def overflow(folder: Path) -> None:
    """A number that no float64 holds."""
    place = folder / "ticket.json"
    place.write_bytes(seal(place.read_bytes().replace(b"2e-05", b"1e999")))


def named(name: str) -> Attack:
    """Give a matrix another name in both files."""

    def attack(folder: Path) -> None:
        shapes(lambda known: known.update({name: known.pop(MATRIX)}))(folder)
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


def matrix(change: Callable[[bytes], bytes], name: str = MATRIX) -> Attack:
    """Change the bytes of a matrix in mask.safetensors, at equal length."""

    def attack(folder: Path) -> None:
        content = (folder / "mask.safetensors").read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        start, stop = (
            8 + size + at for at in json.loads(content[8 : 8 + size])[name]["data_offsets"]
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


def sparse_file(name: str) -> Attack:
    """A file that claims a terabyte."""

    def attack(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.truncate(1 << 40)

    return attack


def replaced_by_folder(name: str) -> Attack:
    def attack(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return attack


def replaced_by_pipe(folder: Path) -> None:
    (folder / "ticket.json").unlink()
    os.mkfifo(folder / "ticket.json")


def replaced_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def nested(depth: int) -> Any:
    return {} if depth == 0 else {"a": nested(depth - 1)}


def linked(name: str) -> Attack:
    def attack(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(TICKETS / "version-2" / name)

    return attack


def noise(coded: bytes) -> bytes:
    """Random words after the number of kept weights."""
    return coded[:8] + random.Random(0).randbytes(len(coded) - 8)


def bomb(folder: Path) -> None:
    """A few coded bytes that claim to be a matrix of four billion weights."""
    shape(1 << 16, 1 << 16)(folder)
    fields(dead=1 << 32, size=1 << 32)(folder)
