"""A ticket survives its folder, fits its network, and is stored completely or not at all."""

import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file

from damage import fields
from tombola.base import folders as folder_module
from tombola.base.errors import OutputError, SpecError, TicketError
from tombola.base.folders import directory_size
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket, check_ticket_folder
from tombola.ticket.versions import versions

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


def test_saving_twice_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = Ticket.load(saved).save(tmp_path / "again")
    for name in os.listdir(saved):
        assert (saved / name).read_bytes() == (again / name).read_bytes()


def test_a_ticket_prunes_its_weights_and_no_others(ticket: Ticket) -> None:
    model, before = bert(), bert()
    assert ticket.apply(model) is model
    old = dict(before.named_parameters())
    for name, weight in model.named_parameters():
        kept = ticket.mask.get(name.removeprefix("bert."), torch.ones_like(weight).bool())
        assert torch.equal(weight, torch.where(kept, old[name], 0.0))
        assert not weight[~kept].signbit().any()


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


def test_a_provenance_that_is_not_json_is_refused(ticket: Ticket, tmp_path: Path) -> None:
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


def test_versions_import_nothing_and_name_what_decides_the_bits() -> None:
    assert {"python", "torch", "transformers", "numpy", "tombola"} <= versions().keys()


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
    guide = Path(__file__).parents[2] / "docs" / "reference" / "ticket-format.md"
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


def test_unknown_fields_are_ignored(ticket: Ticket, saved: Path) -> None:
    fields(colour="red")(saved)
    assert Ticket.load(saved) == ticket


def test_what_is_no_path_is_refused_in_one_line(ticket: Ticket) -> None:
    for came, got in {b"abc": "an object of type bytes", "a\0b": r"'a\\x00b' with a null"}.items():
        for refuses in (ticket.save, check_ticket_folder, Ticket.load):
            with pytest.raises(SpecError, match=f"expected .* got {got}"):
                refuses(came)  # type: ignore[arg-type]
    with pytest.raises(TicketError, match=r"a ticket is a folder, got nothing at a{300}\."):
        Ticket.load("a" * 300)
