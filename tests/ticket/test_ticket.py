"""A ticket survives its folder, fits its network, and no damage to it goes unnoticed."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file

from ticket_seal import reseal
from tombola.base import folders as folder_module
from tombola.base.errors import OutputError, TicketError
from tombola.base.folders import directory_size
from tombola.ticket.fingerprint import fingerprint, versions
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

CONFIG: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 18,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 25,
    "max_position_embeddings": 20,
}


def bert(head: str = "ForSequenceClassification", **knobs: Any) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    model = getattr(transformers, f"Bert{head}")(transformers.BertConfig(**CONFIG | knobs))
    assert isinstance(model, transformers.PreTrainedModel)
    return model


@pytest.fixture(scope="module")
def ticket() -> Ticket:
    model = bert()
    weights = scope_parameters(model, "encoder+pooler")
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    return Ticket(
        mask=keep_top(scores, Mask.full(weights), sparsity=Decimal("0.70")),
        model="mini",
        fingerprint=fingerprint(model),
        scope="encoder+pooler",
        sparsity=Decimal("0.70"),
        schedule="linear",
        step=Decimal("0.1"),
        task="mrpc",
        seed=3,
        scores="magnitude",
        provenance={"note": "für Elise", "rounds": [1, 2]},
    )


@pytest.fixture
def saved(ticket: Ticket, tmp_path: Path) -> Path:
    return ticket.save(tmp_path / "tickets" / "mrpc")


def test_loading_undoes_saving(ticket: Ticket, saved: Path) -> None:
    assert Ticket.load(saved) == ticket
    assert ticket.versions == versions()
    assert sorted(os.listdir(saved)) == ["mask.safetensors", "ticket.json"]
    assert os.listdir(saved.parent) == [saved.name]


def test_a_ticket_takes_one_bit_per_weight(ticket: Ticket, saved: Path) -> None:
    assert directory_size(saved) < ticket.mask.size / 8 + 8000


def test_saving_twice_gives_the_same_bytes(ticket: Ticket, saved: Path, tmp_path: Path) -> None:
    again = Ticket.load(saved).save(tmp_path / "again")
    for name in os.listdir(saved):
        assert (saved / name).read_bytes() == (again / name).read_bytes()


def test_a_ticket_prunes_its_weights_and_no_others(ticket: Ticket) -> None:
    model, before = bert(), bert()
    assert ticket.apply(model) is model
    old = dict(before.named_parameters())
    for name, weight in model.named_parameters():
        alive = ticket.mask.get(name.removeprefix("bert."), torch.ones_like(weight).bool())
        assert torch.equal(weight, torch.where(alive, old[name], 0.0))
        assert not weight[~alive].signbit().any()


def test_a_ticket_found_under_one_head_fits_another(ticket: Ticket) -> None:
    encoder = {name: ticket.mask[name] for name in scope_parameters(bert(), "encoder")}
    mask = Mask(encoder)
    own = Decimal(mask.pruned) / Decimal(mask.size)
    part = replace(ticket, mask=mask, scope="encoder", sparsity=own)
    model = part.apply(bert("ForMaskedLM"))
    assert not scope_parameters(model, "encoder")["encoder.layer.0.output.dense.weight"][
        ~mask["encoder.layer.0.output.dense.weight"]
    ].any()


def test_a_ticket_for_another_network_names_tensor_and_shapes(ticket: Ticket) -> None:
    with pytest.raises(TicketError, match=r"layer\.0\..*\(25, 18\).*\(30, 18\)"):
        ticket.apply(bert(intermediate_size=30))
    with pytest.raises(TicketError, match=r"encoder\.layer\.1\..*no such tensor"):
        ticket.apply(bert(num_hidden_layers=1))


def test_a_ticket_has_exactly_the_sparsity_it_claims(ticket: Ticket) -> None:
    with pytest.raises(TicketError, match=r"of sparsity 0\.69"):
        replace(ticket, sparsity=Decimal("0.69"))


def test_a_provenance_that_is_no_json_is_refused(ticket: Ticket, tmp_path: Path) -> None:
    for thing in (float("nan"), {1, 2}):
        with pytest.raises(TicketError, match="provenance"):
            replace(ticket, provenance={"thing": thing}).save(tmp_path / "t")
    assert not list(tmp_path.iterdir())


# fingerprints


def test_the_fingerprint_is_the_same_under_every_head_and_precision() -> None:
    base = bert("Model")
    expected = fingerprint(base)
    for head in ("ForSequenceClassification", "ForMaskedLM", "ForQuestionAnswering"):
        model = bert(head)
        model.base_model.load_state_dict(base.state_dict(), strict=False)
        assert fingerprint(model) == expected
    rounded: Any = bert("Model").bfloat16()
    half = fingerprint(rounded)
    assert half == fingerprint(rounded.float()) != expected


def test_the_fingerprint_sees_one_bit_of_one_weight() -> None:
    model = bert("Model")
    before = fingerprint(model)
    with torch.no_grad():
        model.get_parameter("embeddings.word_embeddings.weight")[3, 4] += 1e-6
    assert fingerprint(model) != before


def test_the_fingerprint_of_a_known_network_is_the_same_for_ever() -> None:
    config = transformers.BertConfig(
        vocab_size=7,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=6,
        max_position_embeddings=5,
    )
    model = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / 64)
    expected = "8f7124d5532637e97e5d196fcbbb99fa2ce165a7b2debb2250b64607e2baa736"
    assert fingerprint(model) == expected


# saving


def test_an_older_ticket_is_replaced(ticket: Ticket, saved: Path) -> None:
    (saved / "README.md").write_text("about the old one")
    replace(ticket, seed=4).save(saved)
    assert Ticket.load(saved).seed == 4
    assert not (saved / "README.md").exists()
    assert os.listdir(saved.parent) == [saved.name]


def test_files_of_others_are_never_overwritten(ticket: Ticket, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert Ticket.load(ticket.save(tmp_path / "empty")) == ticket
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        with pytest.raises(OutputError, match="Choose another folder"):
            ticket.save(tmp_path / name)
    with pytest.raises(OutputError, match="expected to write"):
        ticket.save(tmp_path / "file" / "below")
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("step", ["write_synced", "sync", "_swap"])
def test_a_kill_while_saving_never_leaves_half_a_ticket(
    ticket: Ticket, saved: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, step, killed)
    fresh = saved.with_name("fresh")
    for target in (saved, fresh):
        with pytest.raises(KeyboardInterrupt):
            replace(ticket, seed=5).save(target)
    assert Ticket.load(saved) == ticket
    assert not fresh.exists()


def test_the_old_ticket_comes_back_when_the_new_one_cannot_be_renamed(
    ticket: Ticket, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse_new(source: Path, target: Path) -> Path:
        if (source / "ticket.json").exists() and target == saved and source.suffix != ".old":
            raise OSError(28, "No space left on device")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(OutputError, match="No space left"):
        replace(ticket, seed=5).save(saved)
    assert Ticket.load(saved) == ticket
    assert os.listdir(saved.parent) == [saved.name]


def test_the_documented_example_is_a_ticket(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs" / "ticket-format.md"
    written = guide.read_text().split("```json\n")[1].split("```")[0]
    bits = {"layers.0.weight": [0x0B, 0x03], "layers.1.weight": [0x05]}
    save_file(
        {name: np.array(row, dtype=np.uint8) for name, row in bits.items()},
        tmp_path / "mask.safetensors",
    )
    (tmp_path / "ticket.json").write_text(written)
    ticket = Ticket.load(tmp_path)
    assert ticket.mask["layers.0.weight"].int().tolist() == [
        [1, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
        [1, 0, 0],
    ]
    assert ticket.mask["layers.1.weight"].int().tolist() == [[1, 0, 1, 0, 0]]
    ticket.save(tmp_path)
    again = json.loads((tmp_path / "ticket.json").read_text())
    assert again == json.loads(written) | {"checksum": again["checksum"]}


# a folder of attacks

Attack = Callable[[Path], object]


def edit(**changes: Any) -> Attack:
    """Change fields of ticket.json; `...` removes one."""

    def attack(folder: Path) -> None:
        document = json.loads((folder / "ticket.json").read_text()) | changes
        kept = {name: value for name, value in document.items() if value is not ...}
        (folder / "ticket.json").write_text(json.dumps(kept))
        reseal(folder)

    return attack


def text(content: bytes) -> Attack:
    return lambda folder: (folder / "ticket.json").write_bytes(content)


def bits(change: Callable[[bytes], bytes]) -> Attack:
    def attack(folder: Path) -> None:
        path = folder / "mask.safetensors"
        path.write_bytes(change(path.read_bytes()))
        reseal(folder)

    return attack


def header(change: Callable[[bytes], bytes]) -> Attack:
    """Change the header of mask.safetensors and keep its length true."""

    def rewrite(content: bytes) -> bytes:
        size = struct.unpack("<Q", content[:8])[0]
        new = change(content[8 : 8 + size])
        return struct.pack("<Q", len(new)) + new + content[8 + size :]

    return bits(rewrite)


def reshape(change: Callable[[dict[str, Any]], object]) -> Attack:
    def attack(folder: Path) -> None:
        document = json.loads((folder / "ticket.json").read_text())
        change(document["shapes"])
        (folder / "ticket.json").write_text(json.dumps(document))
        reseal(folder)

    return attack


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


def as_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


POOLER = "pooler.dense.weight"

ATTACKS: dict[str, tuple[Attack, str]] = {
    "no folder": (shutil.rmtree, "got nothing"),
    "a file": (as_file, "got a file"),
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
    "another format": (edit(format="other"), "'format'"),
    "a newer version": (edit(version=3), "Upgrade"),
    "version zero": (edit(version=0), "'version'"),
    "a boolean version": (edit(version=True), "'version'"),
    "no model": (edit(model=...), "'model'"),
    "a number as scope": (edit(scope=3), "'scope'"),
    "a text as seed": (edit(seed="3"), "a whole number or null as 'seed'"),
    "no hash": (edit(fingerprint="abc"), "64 hexadecimal"),
    "a float sparsity": (edit(sparsity=0.7), "'sparsity'"),
    "sparsity one": (edit(sparsity="1"), "'sparsity'"),
    "a strange sparsity": (edit(sparsity="7e-1"), "'sparsity'"),
    "another sparsity": (edit(sparsity="0.71"), "of sparsity 0.71"),
    "another step": (edit(step="x"), "'step'"),
    "another digest": (edit(digest="0" * 64), "digest"),
    "shapes as list": (edit(shapes=[]), "'shapes'"),
    "no shapes": (edit(shapes={}), "'shapes'"),
    "a shape too few": (reshape(lambda shapes: shapes.pop(POOLER)), "only one of them for pooler"),
    "a shape too many": (
        reshape(lambda shapes: shapes.update(more=[8])),
        "only one of them for more",
    ),
    "a renamed shape": (
        reshape(lambda shapes: shapes.update(other=shapes.pop(POOLER))),
        "only one of them",
    ),
    "a transposed shape": (
        reshape(lambda s: s.update({"encoder.layer.0.intermediate.dense.weight": [18, 25]})),
        "digest",
    ),
    "a name with a space": (reshape(lambda s: s.update({"a b": [8]})), "printable"),
    "a negative length": (reshape(lambda s: s.update({POOLER: [-18, -18]})), "whole number"),
    "a length of zero": (reshape(lambda s: s.update({POOLER: [0]})), "whole number"),
    "a boolean length": (reshape(lambda s: s.update({POOLER: [True]})), "whole number"),
    "a galactic shape": (reshape(lambda s: s.update({POOLER: [1 << 30, 1 << 30]})), "at most"),
    "many dimensions": (reshape(lambda s: s.update({POOLER: [1] * 9})), "dimensions"),
    "empty bits": (bits(lambda _: b""), "add up"),
    "bits cut by one": (bits(lambda content: content[:-1]), "add up"),
    "one byte more": (bits(lambda content: content + b"\0"), "add up"),
    "a huge header": (bits(lambda content: b"\xff" * 8 + content[8:]), "add up"),
    "a longer header": (bits(lambda c: struct.pack("<Q", c[0] + 256) + c[8:]), "a header in JSON"),
    "a damaged header": (header(lambda old: b"?" * len(old)), "safetensors"),
    "a deep header": (header(lambda old: b"[" * len(old)), "safetensors"),
    "a renamed tensor": (header(lambda old: old.replace(b"pooler", b"puller")), "only one of"),
    "another dtype": (header(lambda old: old.replace(b'"U8"', b'"I8"')), "expected U8 as"),
    "an unknown dtype": (header(lambda old: old.replace(b'"U8"', b'"Z8"')), "safetensors"),
    "offsets that leave the file": (
        header(lambda old: old.replace(b'"data_offsets":[0,', b'"data_offsets":[9,')),
        "safetensors",
    ),
    "a flipped bit": (bits(lambda content: content[:-9] + b"\x55" * 2 + content[-7:]), "digest"),
    "a padding bit": (bits(lambda content: content[:-1] + b"\xff"), "zeros after"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_damage_is_reported_in_one_clear_line(saved: Path, name: str) -> None:
    attack, message = ATTACKS[name]
    attack(saved)
    with pytest.raises(TicketError, match=message) as caught:
        Ticket.load(saved)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 500


def test_any_cut_of_either_file_is_noticed(saved: Path) -> None:
    for name in ("ticket.json", "mask.safetensors"):
        whole = (saved / name).read_bytes()
        for kept in range(0, len(whole) - 2, max(len(whole) // 40, 1)):
            (saved / name).write_bytes(whole[:kept])
            with pytest.raises(TicketError):
                Ticket.load(saved)
        (saved / name).write_bytes(whole)
    Ticket.load(saved)


def test_unknown_fields_are_ignored(ticket: Ticket, saved: Path) -> None:
    edit(colour="red")(saved)
    assert Ticket.load(saved) == ticket


def test_versions_import_nothing_and_name_what_decides_the_bits() -> None:
    assert {"python", "torch", "transformers", "numpy", "tombola"} <= versions().keys()
