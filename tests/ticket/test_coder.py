"""A coded mask is as small as its sparsities allow, and anyone can decode it."""

import json
from decimal import Decimal
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from tombola.ticket.coder import frequencies, mask_content, plain_size, read_mask
from tombola.ticket.format import ticket_schema
from tombola.ticket.mask import Mask, pack
from tombola.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "reference" / "ticket-format.md").read_text()
TICKETS = ROOT / "tests" / "fixtures" / "tickets"


def mask_of(size: int, sparsity: float) -> Mask:
    """A mask of one matrix with random bits."""
    kept = np.random.default_rng(0).random(size) >= sparsity
    return Mask({"w": torch.from_numpy(kept)})


def entropy(mask: Mask) -> float:
    """Bytes that bits of the mask's sparsity need."""
    shares = [part for part in (mask.sparsity, 1 - mask.sparsity) if part]
    return -mask.size / 8 * sum(part * float(np.log2(part)) for part in shares)


@pytest.mark.parametrize("sparsity", [0.05, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_coded_matrix_is_within_two_percent_of_its_entropy(sparsity: float) -> None:
    mask = mask_of(1 << 20, sparsity)
    content = mask_content(mask)
    size = len(load(content)["w"])
    assert size <= 1.02 * entropy(mask) + 8
    assert size <= plain_size(mask.shapes)
    assert read_mask(content, mask.shapes, coded=True) == mask
    assert mask_content(mask) == content


@given(size=st.integers(1, 3000), sparsity=st.floats(0, 1))
def test_every_matrix_comes_back(size: int, sparsity: float) -> None:
    mask = mask_of(size, sparsity)
    assert read_mask(mask_content(mask), mask.shapes, coded=True) == mask


@pytest.mark.parametrize("sparsity", [0.0, 1.0])
def test_a_matrix_of_equal_bits_is_small_but_never_a_bomb(sparsity: float) -> None:
    mask = mask_of(3_000_000, sparsity)
    assert len(load(mask_content(mask))["w"]) == 2932  # 3,000,000 / 1024, in words


def test_a_small_matrix_takes_a_bit_a_weight() -> None:
    mask = mask_of(64, 0.9)
    assert load(mask_content(mask))["w"].tolist() == pack(mask)["w"].tolist()


@pytest.mark.parametrize("kept", [0, 1, 20_000, 50_000, 99_999, 100_000])
def test_frequencies_fill_the_coder_s_range(kept: int) -> None:
    found = frequencies(kept, 100_000)
    assert found.min() >= 1
    assert found.sum() == 1 << 24


@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.7, 0.97, 1.0])
def test_the_documented_lines_decode_a_matrix(sparsity: float) -> None:
    scope: dict[str, object] = {}
    exec(GUIDE.split("```py\n")[1].split("```")[0], scope)
    decode = scope["decode"]
    assert callable(decode)
    mask = mask_of(20_003, sparsity)
    coded = load(mask_content(mask))["w"].tobytes()
    assert len(coded) < plain_size(mask.shapes)
    assert decode(coded, 20_003) == pack(mask)["w"].numpy().tobytes()


@pytest.mark.parametrize("version", [1, 2])
def test_a_ticket_of_each_version_is_readable_for_ever(version: int) -> None:
    folder = TICKETS / f"version-{version}"
    assert json.loads((folder / "ticket.json").read_text())["version"] == version
    ticket = Ticket.load(folder)
    assert ticket.mask.digest().startswith("7ff4425401ec2c4a7f538e9d00575")
    assert (ticket.mask.pruned, ticket.mask.size) == (23_756, 28_693)
    assert (ticket.model, ticket.task, ticket.seed) == ("example/network", "mrpc", 3)
    assert ticket.step == Decimal("0.1")
    assert ticket.provenance["note"] == "für Elise"


def test_version_2_of_a_ticket_has_the_same_bytes_on_every_machine(tmp_path: Path) -> None:
    Ticket.load(TICKETS / "version-1").save(tmp_path / "again")
    for name in ("ticket.json", "mask.safetensors"):
        expected = (TICKETS / "version-2" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == expected


def test_the_published_schema_describes_what_is_written() -> None:
    published = json.loads((ROOT / "docs" / "reference" / "ticket.schema.json").read_text())
    assert published == ticket_schema()
    written = json.loads((TICKETS / "version-2" / "ticket.json").read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(written, published)
    wrongs: list[dict[str, object]] = [{"dead": -1}, {"checksum": "0"}, {"shapes": {}}]
    for wrong in [*wrongs, {"version": 1}, {"files": {}}]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(written | wrong, published)
