"""Whatever others' files of masks hold, reading them ends in a mask or in one clear line."""

import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertModel

import tombola
from memory_limit import memory_limit
from tombola.base.errors import TicketError
from tombola.ticket.imported.reading import read_imported
from tombola.ticket.mask import Tensors
from tombola.ticket.scope import scope_parameters

MUTATIONS = 1200
FIRST = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def parameters(tiny: Path) -> dict[str, Tensor]:
    body: Any = BertModel.from_pretrained(tiny)
    return {**scope_parameters(body, "encoder")}


def masks(parameters: dict[str, Tensor]) -> Tensors:
    drawn = torch.Generator().manual_seed(0)
    return {
        f"bert.{name}_mask": (torch.rand(weight.shape, generator=drawn) > 0.7).float()
        for name, weight in parameters.items()
    }


def refusal(source: Path, model: Path) -> str:
    """The one line in which a file is refused."""
    with pytest.raises(TicketError) as caught:
        tombola.import_ticket(source, model=str(model))
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700
    return message


def limited(source: Path, tiny: Path) -> str:
    """The same, with half a GB of memory more than the process has by now."""
    with memory_limit(1 << 29):
        return refusal(source, tiny)


Made = Callable[[Tensors], Any]


def instead(tensor: Callable[[], Any]) -> Made:
    """Put another tensor in the place of the first mask."""
    return lambda masks: masks | {f"bert.{FIRST}_mask": tensor()}


def sparse(size: int) -> Tensor:
    places = torch.zeros(2, 1, dtype=torch.int64).expand(2, size)
    return torch.sparse_coo_tensor(places, torch.ones(1).expand(size), (32, 32))


def far() -> Tensor:
    """A sparse mask with a value outside of it."""
    places = torch.tensor([[40], [1 << 50]])
    return torch.sparse_coo_tensor(places, torch.ones(1), (32, 32), check_invariants=False)


def rows() -> Tensor:
    """Compressed rows that end beyond the values."""
    crow = torch.arange(33) * 1_000_000
    return torch.sparse_csr_tensor(
        crow, torch.zeros(3, dtype=torch.int64), torch.ones(3), (32, 32), check_invariants=False
    )


def itself(_: Tensors) -> Any:
    """A dict that holds itself under a thousand names."""
    content: dict[str, Any] = {}
    content.update((f"more{n}", content) for n in range(1000))
    return content


CLAIMS: dict[str, tuple[Made, str]] = {
    "one value, 2^40 times": (
        instead(lambda: torch.zeros(1).expand(1 << 20, 1 << 20)),
        "1,099,511,627,776 values of which 1 are stored",
    ),
    "one value for a head that the network lacks": (
        lambda masks: masks | {"classifier_mask": torch.zeros(1).expand(1 << 40)},
        "of which 1 are stored",
    ),
    "overlapping rows": (
        instead(lambda: torch.zeros(2000).as_strided((1000, 1000), (1, 1))),
        "1,000,000 values of which 2,000",
    ),
    "meta": (instead(lambda: torch.zeros(32, 32, device="meta")), "got no values"),
    "huge meta": (instead(lambda: torch.zeros(1 << 40, device="meta")), "got no values"),
    "nested": (instead(lambda: torch.nested.nested_tensor([torch.ones(3)])), "nested"),
    "quantised": (
        instead(lambda: torch.quantize_per_tensor(torch.ones(32, 32), 1.0, 0, torch.quint8)),
        "quantised",
    ),
    "float8": (instead(lambda: torch.ones(32, 32).to(torch.float8_e4m3fn)), "float8_e4m3fn"),
    "4 bits": (
        instead(lambda: torch.ones(32, 32, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)),
        "float4",
    ),
    "complex": (instead(lambda: torch.ones(32, 32, dtype=torch.complex64)), "complex64"),
    "sparse, one place 2^36 times": (instead(lambda: sparse(1 << 36)), "of which"),
    "sparse, huge": (
        instead(lambda: torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (2**31, 2**31))),
        "the mask has (2147483648, 2147483648)",
    ),
    "sparse, outside": (instead(far), "places that don't fit"),
    "compressed rows, outside": (instead(rows), "places that don't fit"),
    "a dict in itself": (itself, "expected a tensor for each name"),
    "a list": (lambda masks: [masks], "got a list"),
    "escapes in a name": (lambda masks: {"\x1b[2J": 1}, r"'\x1b[2J'"),
    "escapes in a tensor's name": (
        lambda masks: {"\x1b[2J": torch.ones(3, dtype=torch.complex64)},
        r"for \x1b[2J",
    ),
    "a tensor as name": (lambda masks: {torch.ones(3): 1}, "for a Tensor"),
}


@pytest.mark.filterwarnings("ignore")  # of torch, about what it saves
@pytest.mark.parametrize("name", CLAIMS)
def test_a_tensor_that_claims_more_than_its_file_holds_is_refused(
    name: str, tiny: Path, tmp_path: Path, parameters: dict[str, Tensor]
) -> None:
    made, message = CLAIMS[name]
    source = tmp_path / "masks.pt"
    torch.save(made(masks(parameters)), source)
    assert source.stat().st_size < 1 << 20
    assert message in limited(source, tiny)


# pickles and archives


class Call:
    """Pickled as a call, and so called by whatever reads it without care."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def archived(content: bytes, **settings: Any) -> Callable[[Path], None]:
    """An archive as torch writes it, with any bytes as its pickle."""

    def write(place: Path) -> None:
        with zipfile.ZipFile(place, "w", **settings) as archive:
            archive.writestr("masks/data.pkl", content)
            archive.writestr("masks/version", "3\n")

    return write


def pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def deflated(place: Path) -> None:
    """An archive of 640 MB of zeros in 3 MB."""
    torch.save({"weight_mask": torch.ones(3)}, place)
    with zipfile.ZipFile(place, "a", compression=zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        block = bytes(1 << 24)
        with archive.open("masks/data/9", "w") as file:
            for _ in range(40):
                file.write(block)


def legacy(place: Path) -> None:
    """A file of torch before 1.6 whose storage claims 2^40 values."""
    torch.save({"weight_mask": torch.ones(99)}, place, _use_new_zipfile_serialization=False)
    whole = place.read_bytes()
    claim = b"K" + bytes([99])
    at = whole.index(claim)
    place.write_bytes(whole[:at] + b"\x8a\x06" + (1 << 40).to_bytes(6, "little") + whole[at + 2 :])


def piped(name: str) -> Callable[[Path], None]:
    """A folder with a named pipe where its weights are looked for."""

    def write(place: Path) -> None:
        place.mkdir()
        os.mkfifo(place / name)

    return write


def bare(content: bytes) -> Callable[[Path], Any]:
    return lambda place: place.write_bytes(content)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a call of the system": (archived(pickled({"a": Call(os.system, "true")})), "system"),
    "a call in a bare pickle": (bare(pickled({"a": Call(os.system, "true")})), "system"),
    "10 GB of bytes": (archived(pickled({"a": Call(bytearray, 10**10)})), "bytearray"),
    "10 GB of bytes, bare": (bare(pickled({"a": Call(bytearray, 10**10)})), "bytearray"),
    "a tensor of 2^40": (archived(pickled({"a": Call(torch.Tensor, 1 << 40)})), "torch Tensor"),
    "a call by position": (archived(b"\x80\x02\x82\x01."), "EXT1"),
    "a compressed archive": (deflated, "a compressed archive"),
    "a compressed pickle": (
        archived(b"x" * 10**6, compression=zipfile.ZIP_DEFLATED),
        "a compressed archive",
    ),
    "a long pickle": (archived(bytes(33 << 20)), "bytes of names and shapes"),
    "no pickle": (archived(b""), "expected safetensors or a file of torch.save"),
    "half a pickle": (archived(pickled({"a": 1})[:-3]), "expected safetensors or"),
    "an old storage of 2^40 values": (legacy, "expected safetensors or a file of torch.save"),
    "a deep list": (archived(b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."), "a list"),
    "a key of 2^80 tuples": (
        archived(
            b"\x80\x02})q\x00" + b"".join(b"h%c\x86q%c" % (n, n + 1) for n in range(80)) + b"Ns."
        ),
        "repeats itself",
    ),
    "a named pipe": (partial(os.mkfifo), "something that isn't a file"),
    "a folder with a named pipe": (
        piped("model.safetensors"),
        "something that isn't a file",
    ),
    "a folder with a named pipe for older weights": (
        piped("pytorch_model.bin"),
        "something that isn't a file",
    ),
    "a header of 2^60 bytes": (
        bare((1 << 60).to_bytes(8, "little") + b'{"a":{}}'),
        "expected safetensors or",
    ),
    "a header with 5 GB": (
        lambda place: place.write_bytes(
            (len(HEADER)).to_bytes(8, "little") + HEADER.encode() + bytes(64)
        ),
        "expected safetensors or",
    ),
    "float8 in safetensors": (
        lambda place: save_file(
            {"encoder.layer.0.weight": torch.ones(8, 8).to(torch.float8_e5m2)}, place
        ),
        "float8_e5m2",
    ),
}
HEADER = '{"a":{"dtype":"F32","shape":[1342177280],"data_offsets":[0,5368709120]}}'


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_an_attack_is_refused(name: str, tiny: Path, tmp_path: Path) -> None:
    write, message = FILES[name]
    source = tmp_path / "masks.pt"
    write(source)
    assert message in limited(source, tiny)
    assert os.listdir(tmp_path) == ["masks.pt"]


# fuzz


SAVED: dict[str, Callable[[Tensors, Path], None]] = {
    "archive": torch.save,
    "old file": partial(torch.save, _use_new_zipfile_serialization=False),
    "sparse": lambda masks, place: torch.save(
        {
            n: m.to_sparse_csr() if n.endswith("query.weight_mask") else m.to_sparse()
            for n, m in masks.items()
        },
        place,
    ),
    "safetensors": save_file,
}


@pytest.mark.filterwarnings("ignore")  # of torch, about what is damaged
@pytest.mark.parametrize("how", SAVED)
def test_a_mutation_anywhere_never_ends_in_a_traceback(
    how: str, tmp_path: Path, parameters: dict[str, Tensor]
) -> None:
    source = tmp_path / "masks"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SAVED[how](masks(parameters), source)
    whole = source.read_bytes()
    start = {"safetensors": 8 + int.from_bytes(whole[:8], "little")}.get(how, len(whole))
    drawn = random.Random(0)
    read = 0
    for _ in range(MUTATIONS // len(SAVED)):
        at = drawn.randrange(start if drawn.random() < 0.5 else len(whole))
        removed, put = drawn.randrange(9), drawn.randbytes(drawn.randrange(9))
        source.write_bytes(whole[:at] + put + whole[at + removed :])
        with suppress(TicketError):
            read += read_imported(source).mask(parameters).size > 0
    assert 0 < read < MUTATIONS // len(SAVED)


def test_the_documented_number_of_mutations_is_tried() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "import.md").read_text()
    assert f"{MUTATIONS:,} mutations of good files" in guide
