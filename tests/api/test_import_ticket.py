"""Masks of others become tickets bit for bit, or are refused in one line."""

import itertools
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers import BertForSequenceClassification, BertModel

import tombola
from tombola.base.errors import TicketError, TombolaError
from tombola.cli.main import main
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

Tensors = dict[str, Tensor]
ATTENTION_MASK = {"bert.embeddings.attn_mask": torch.ones(3, 3).tril()}
"""A buffer that is named like the mask of a weight, but is none."""
SIZE = 2 * (4 * 32 * 32 + 2 * 32 * 48)
"""Weights in the scope `encoder` of the tiny BERT."""


@pytest.fixture(scope="module")
def pruned(tiny: Path) -> Tensors:
    """A classifier's state after torch's own pruning of the encoder and the pooler."""
    model: Any = BertForSequenceClassification.from_pretrained(tiny)
    names = [f"bert.{name.removesuffix('.weight')}" for name in pooled(tiny)]
    modules = [(model.get_submodule(name), "weight") for name in names]
    prune.global_unstructured(modules, prune.L1Unstructured, amount=0.3)
    state: Tensors = model.state_dict()
    return state


def pooled(tiny: Path) -> dict[str, nn.Parameter]:
    body: Any = BertModel.from_pretrained(tiny)
    return scope_parameters(body, "encoder+pooler")


@pytest.fixture
def ticket(tiny: Path) -> Ticket:
    """What the masks are of: the encoder without its pooler."""
    return tombola.one_shot(str(tiny), sparsity="0.7")


def masks_of(ticket: Ticket, prefix: str = "bert.", mark: str = "_mask") -> Tensors:
    """A ticket as the paper's code keeps it: float tensors of zeros and ones."""
    return {f"{prefix}{name}{mark}": kept.float() for name, kept in ticket.mask.items()}


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


# what is read


@pytest.mark.parametrize("only_masks", [True, False])
def test_torch_s_own_masks_come_over_bit_for_bit(
    only_masks: bool, pruned: Tensors, tiny: Path, tmp_path: Path
) -> None:
    masks = {n: t for n, t in pruned.items() if n.endswith("_mask")}
    content = masks if only_masks else pruned | ATTENTION_MASK
    ticket = tombola.import_ticket(saved(content, tmp_path / "mask.pt"), model=str(tiny))
    assert ticket.scope == "encoder+pooler"
    assert ticket.mask.size == SIZE + 32 * 32
    assert ticket.mask.pruned == round(0.3 * ticket.mask.size)
    assert ticket.sparsity == Decimal("0.3")
    for name, kept in ticket.mask.items():
        assert torch.equal(kept, pruned[f"bert.{name}_mask"].bool())


@pytest.mark.parametrize(("prefix", "mark"), [("", ""), ("bert.", ""), ("module.bert.", "_mask")])
def test_masks_may_have_a_prefix_and_any_type(
    prefix: str, mark: str, ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    types = itertools.cycle([torch.float32, torch.float16, torch.uint8, torch.bool])
    named = masks_of(ticket, prefix, mark).items()
    content = {name: mask.to(next(types)) for name, mask in named}
    found = tombola.import_ticket(saved(content, tmp_path / "mask.pt"), model=str(tiny))
    assert found.mask == ticket.mask
    assert (found.scope, found.sparsity) == ("encoder", Decimal("0.7"))
    assert found.fingerprint == ticket.fingerprint


@pytest.mark.parametrize("kind", ["folder", "file", "bin", "bin file", "a buffer"])
def test_the_zeros_of_a_checkpoint_are_pruned(
    kind: str, ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    model: Any = BertForSequenceClassification.from_pretrained(tiny)
    ticket.apply(model).save_pretrained(tmp_path)
    source = {
        "file": tmp_path / "model.safetensors",
        "bin file": tmp_path / "pytorch_model.bin",
        "a buffer": tmp_path / "model.safetensors",
    }.get(kind, tmp_path)
    if kind in ("bin", "bin file"):
        (tmp_path / "model.safetensors").unlink()
        saved(model.state_dict(), tmp_path / "pytorch_model.bin")
    if kind == "a buffer":
        save_file(model.state_dict() | ATTENTION_MASK, source)
    found = tombola.import_ticket(source, model=str(tiny))
    assert found.mask == ticket.mask
    assert found.scope == "encoder"
    assert found.provenance == {"imported": "zeros of weights"}


def test_a_pooler_with_zeros_is_in_the_scope_unless_it_is_left_out(
    tiny: Path, tmp_path: Path, pruned: Tensors
) -> None:
    whole = tombola.one_shot(str(tiny), sparsity="0.5", scope="encoder+pooler")
    body: Any = BertModel.from_pretrained(tiny)
    whole.apply(body).save_pretrained(tmp_path)
    masks = saved(masks_of(whole), tmp_path / "mask.pt")
    for source in (tmp_path, masks):
        assert tombola.import_ticket(source, model=str(tiny)).mask == whole.mask
        less = tombola.import_ticket(source, model=str(tiny), scope="encoder")
        assert dict(less.mask).keys() == dict(whole.mask).keys() - {"pooler.dense.weight"}
        assert all(torch.equal(kept, whole.mask[name]) for name, kept in less.mask.items())


Spelling = Callable[[Tensors], Any]
SPELLINGS: dict[str, Spelling] = {
    "a sparse tensor's pattern": lambda masks: {n: m.to_sparse() for n, m in masks.items()},
    "compressed rows": lambda masks: {n: m.to_sparse_csr() for n, m in masks.items()},
    "blocks": lambda masks: {n: m.to_sparse_bsr((8, 8)) for n, m in masks.items()},
    "blocks of weights": lambda masks: {
        n: (m * 0.3).to_sparse_bsr((8, 8)) for n, m in masks.items()
    },
    "a pattern of weights": lambda masks: {n: (m * 0.3).to_sparse() for n, m in masks.items()},
    "explicit zeros": lambda masks: {
        n: torch.sparse_coo_tensor(torch.ones_like(m).nonzero().T, m.flatten(), m.shape)
        for n, m in masks.items()
    },
    "a checkpoint": lambda masks: {"epoch": 3, "state_dict": masks, "args": {"lr": 0.1}},
    "another": lambda masks: {"model": masks, "optimizer": {"state": {0: {}}, "param_groups": []}},
    "with AdamW's state": lambda masks: {
        "model": masks,
        "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]},
    },
    "with averaged weights": lambda masks: {
        "model": masks,
        "ema": {n.removesuffix("_mask"): m / 2 for n, m in masks.items()},
    },
    "a nested one": lambda masks: {"checkpoint": {"module": under(masks, "module."), "step": 1}},
    "lightning": lambda masks: {
        "state_dict": under(masks, "net."),
        "pytorch-lightning_version": "2.5",
        "callbacks": {},
    },
    "names with dots": lambda masks: {n.replace("_mask", ".mask"): m for n, m in masks.items()},
    "masks of modules": lambda masks: {
        n.replace(".weight_mask", ".mask"): m for n, m in masks.items()
    },
    "plain modules": lambda masks: {n.replace(".weight_mask", ""): m for n, m in masks.items()},
    "a prefix for masks": lambda masks: {f"masks.{n}": m for n, m in masks.items()},
}


def under(tensors: Tensors, prefix: str) -> Tensors:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("how", SPELLINGS)
def test_masks_come_over_bit_for_bit_however_they_are_kept(
    how: str, ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    source = saved(SPELLINGS[how](masks_of(ticket)), tmp_path / "mask.pt")
    found = tombola.import_ticket(source, model=str(tiny))
    assert found.mask == ticket.mask
    assert found.scope == "encoder"


def test_a_sparse_tensor_of_another_shape_is_never_spread_out(
    ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    masks = masks_of(ticket)
    huge = torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (2**31, 2**31))
    for name in (next(iter(masks)), "bert.embeddings.more.weight_mask"):
        source = saved(masks | {name: huge}, tmp_path / "mask.pt")
        with pytest.raises(TicketError, match=r"the mask has \(2147483648, 2147483648\)"):
            tombola.import_ticket(source, model=str(tiny))


@pytest.mark.parametrize("zeros", [0, 1, 20])
def test_what_underflowed_in_a_pooler_does_not_make_it_pruned(
    zeros: int,
    ticket: Ticket,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    body: Any = BertModel.from_pretrained(tiny)
    with torch.no_grad():
        ticket.apply(body).pooler.dense.weight.view(-1)[:zeros] = 0
    body.half().save_pretrained(tmp_path / "half")
    given = ["import", str(tmp_path / "half"), "--model", str(tiny)]
    assert main([*given, "--output", str(tmp_path / "ticket")]) == 0
    shown = capsys.readouterr().out
    found = Ticket.load(tmp_path / "ticket")
    assert (found.mask, found.scope) == (ticket.mask, "encoder")
    assert (f"{zeros} zeros in pooler.dense.weight, as many as" in shown) == (zeros > 0)
    whole = tombola.import_ticket(tmp_path / "half", model=str(tiny), scope="encoder+pooler")
    assert whole.mask.pruned == ticket.mask.pruned + zeros


def test_a_ticket_is_no_mask_of_others_and_is_called_so(
    ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    ticket.save(tmp_path / "ticket")
    with pytest.raises(TicketError, match=r"got a ticket\. Use it as it is: tombola evaluate "):
        tombola.import_ticket(tmp_path / "ticket", model=str(tiny))


def test_an_archive_of_numpy_is_refused_with_what_to_save_instead(
    tiny: Path, tmp_path: Path
) -> None:
    numpy.savez(tmp_path / "masks.npz", a=numpy.ones(3))
    with pytest.raises(TicketError, match=r"got: an archive of other things\. Save the masks as "):
        tombola.import_ticket(tmp_path / "masks.npz", model=str(tiny))


@pytest.mark.parametrize("layout", ["coo", "csr", "bsr"])
@pytest.mark.filterwarnings("error")
def test_a_sparse_mask_comes_over_without_a_word_of_torch(
    layout: str, ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    size = {"bsr": ((8, 8),)}.get(layout, ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masks = {n: getattr(m, f"to_sparse_{layout}")(*size) for n, m in masks_of(ticket).items()}
        source = saved(masks, tmp_path / "mask.pt")
    assert tombola.import_ticket(source, model=str(tiny)).mask == ticket.mask


def test_weights_that_are_not_finite_are_refused_by_name(
    ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    body: Any = BertModel.from_pretrained(tiny)
    with torch.no_grad():
        ticket.apply(body).encoder.layer[1].output.dense.weight[0, 0] = torch.inf
    body.save_pretrained(tmp_path)
    with pytest.raises(TicketError, match=r"NaN or infinity in encoder\.layer\.1\.output\.dense"):
        tombola.import_ticket(tmp_path, model=str(tiny))


# what is refused


def change(name: str, to: Tensor | None) -> Callable[[Tensors], Any]:
    """Masks of which one is another, or missing."""

    def changed(masks: Tensors) -> Tensors:
        others = {key: mask for key, mask in masks.items() if name not in key}
        return others if to is None else others | {f"bert.encoder.layer.{name}.weight_mask": to}

    return changed


class Code:
    """Something that a pickle can only make by calling it."""


QUERY, OTHERS = "1.attention.self.query", r"encoder\.layer\.1\.attention\.self\.query\.weight"
REFUSED: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "shape": (
        change(QUERY, torch.zeros(32, 16)),
        rf"differ first at {OTHERS}: the mask has \(32, 16\), the network has \(32, 32\)",
    ),
    "missing": (change(QUERY, None), rf"first at {OTHERS}: the mask has no such tensor"),
    "more": (
        lambda masks: masks | {"bert.embeddings.word.weight_mask": torch.zeros(3, 3)},
        r"embeddings\.word\.weight: the mask has \(3, 3\), the network has no such tensor",
    ),
    "other names": (
        lambda masks: {f"{key}s": mask for key, mask in masks.items()},
        "the network has no such tensor",
    ),
    "two networks": (
        lambda masks: masks | {f"other.{key}": mask for key, mask in masks.items()},
        r"got several under the prefixes 'bert\.', 'other\.bert\.'",
    ),
    "values": (change(QUERY, torch.full((32, 32), 0.5)), rf"0 and 1, got 0\.5 in {OTHERS}"),
    "nan": (change(QUERY, torch.full((32, 32), torch.nan)), rf"0 and 1, got nan in {OTHERS}"),
    "nothing pruned": (
        lambda masks: {key: torch.ones_like(mask) for key, mask in masks.items()},
        f"expected pruned and kept weights, got 0 pruned of {SIZE}",
    ),
    "nothing kept": (
        lambda masks: {key: torch.zeros_like(mask) for key, mask in masks.items()},
        f"got {SIZE} pruned of {SIZE}",
    ),
    "code": (lambda masks: masks | {"code": Code()}, "got a pickle that wants to run code"),
    "no tensors": (
        lambda masks: {"masks": [*masks.values()]},
        "expected a tensor for each name in .* got list for 'masks'",
    ),
    "two dicts": (
        lambda masks: {"model": masks, "ema": dict(masks)},
        "got several: ema, model. Save only the one with the masks",
    ),
    "no dict": (lambda masks: [*masks.values()], "expected a dict of tensors in .* got a list"),
    "empty": (lambda masks: {}, "expected a dict of tensors in .* without anything in it"),
    "no values": (
        lambda masks: {n: m.to("meta") for n, m in masks.items()},
        "got no values. Save the masks as a plain dict",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_no_mask_of_the_network_is_refused_in_one_line(
    why: str, ticket: Ticket, tiny: Path, tmp_path: Path
) -> None:
    content, message = REFUSED[why]
    source = saved(content(masks_of(ticket)), tmp_path / "mask.pt")
    with pytest.raises(TicketError, match=message) as refused:
        tombola.import_ticket(source, model=str(tiny))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.pt", None, "got nothing at"),
        ("mask.pt", b"", "expected safetensors or a file of torch.save"),
        ("mask.pt", b"no pickle", "expected safetensors or a file of torch.save.* got: text"),
        ("passwd", b"root:x:0:0::/root:/bin/sh\n", r"file of torch.save\(\) .* got: text"),
        ("mask.npz", b"\x93NUMPY\x01\x00", "got: other bytes"),
        ("mask.pt", b"version https://git-lfs.github.com/spec/v1\n", "a git-LFS pointer"),
        ("mask.pt", b"PK\x03\x04", "expected safetensors or a file of torch.save"),
        ("mask.safetensors", b"no safetensors", "expected safetensors or a file of torch.save"),
        ("", None, r"expected \*\.safetensors or pytorch_model\.bin in"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(
    name: str, content: bytes | None, message: str, tiny: Path, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TicketError, match=message) as refused:
        tombola.import_ticket(tmp_path / name, model=str(tiny))
    assert "\n" not in str(refused.value)


def test_weights_for_a_network_of_another_shape_are_refused(tiny: Path, tmp_path: Path) -> None:
    body: Any = BertModel.from_pretrained(tiny)
    weights = {name: torch.zeros(2, 3) for name in scope_parameters(body, "encoder")}
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(TicketError, match=r"the mask has \(2, 3\), the network has \(32, 32\)"):
        tombola.import_ticket(tmp_path / "other.safetensors", model=str(tiny))


# the command


def test_an_imported_ticket_is_trained_like_any_other(
    ticket: Ticket,
    tiny: Path,
    reviews: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, place = saved(masks_of(ticket), tmp_path / "mask.pt"), tmp_path / "ticket"
    assert main(["import", str(source), "--model", str(tiny), "--output", str(place)]) == 0
    shown = capsys.readouterr().out
    assert str(place) in shown
    assert f"0.7, {ticket.mask.pruned:,} of {SIZE:,} weights" in shown
    result = tombola.evaluate(
        place,
        task="sentiment",
        data=reviews,
        output=tmp_path / "result",
        store=str(tmp_path / "store"),
        epochs=1,
        threads=1,
    )
    assert result.to_json()["sparsity"] == "0.7"


def test_a_mistake_writes_no_ticket(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "ticket"
    given = ["import", str(tmp_path / "nowhere.pt"), "--output", str(place)]
    assert main(given) == main([*given, "--model", str(tiny)]) == 2
    assert main([*given, "--model", str(tiny), "--scop", "encoder"]) == 2
    assert capsys.readouterr().err.count("\n") == 3
    assert not place.exists()
    with pytest.raises(TombolaError, match="Did you mean 'encoder'"):
        tombola.import_ticket(tiny, model=str(tiny), scope="encodr")
