"""Every architecture: heads, padding, positions, and a ticket from the search to another head."""

import gc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoTokenizer

import tombola
from architectures import ARCHITECTURES, POSITIONS, ROWS, TASKS, TOKENIZERS, load, save
from tombola.base.errors import ModelError, SpecError
from tombola.base.specs import LabSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import read_mask
from tombola.lab.subjects import SubjectFactory
from tombola.models.network import Network, load_backbone
from tombola.plan.plan import Plan
from tombola.tasks.data.batches import collate
from tombola.tasks.data.encode import encode_split
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.kinds.mlm import mask_tokens
from tombola.tasks.networks import load_network
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.scope import backbone, scope_parameters, whole_model_size
from tombola.ticket.structures import unit_ranks, units_of
from tombola.ticket.ticket import Ticket
from tombola.training.loop import fit
from tombola.training.predictions import predict

HEADED = [
    (name, kind) for name, made in ARCHITECTURES.items() for kind in TASK_KINDS if made.has(kind)
]
SPEC = TrainSpec(epochs=1, batch_size=2, learning_rate=1e-2)
SHORT = TrainSpec(epochs=1, batch_size=24, learning_rate=1e-2, max_length=POSITIONS, test_limit=8)

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Where the tiny network of an architecture is."""
    gc.freeze()  # each training collects garbage, and the libraries' objects are none
    root = tmp_path_factory.mktemp("architectures")

    def of(name: str) -> Path:
        return root / name if (root / name).exists() else save(name, root / name)

    return of


def inside(network: Network) -> Tensors:
    """The weights of the backbone as they stand, under its own names."""
    own = backbone(network.model).named_parameters()
    return {name: parameter.detach().clone() for name, parameter in own}


def zeroed(weights: Tensor, kept: Tensor) -> bool:
    """Whether all pruned weights have the bits of +0.0."""
    return not weights.detach().view(torch.int32)[~kept].any()


# loading


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_whole_model_is_what_its_file_holds(name: str, folder: Folder) -> None:
    stored = load_file(folder(name) / "model.safetensors").values()
    size = sum(tensor.numel() for tensor in stored)
    assert whole_model_size(load_backbone(str(folder(name)))) == size


COLUMNS = {"classification": 2, "regression": 2, "mlm": 2, "span": 3}
"""Kind of task -> columns of its predictions; a question's context is the third."""


@pytest.mark.parametrize(("name", "kind"), HEADED)
def test_under_every_head_the_backbone_is_the_one_in_the_files(
    name: str, kind: str, folder: Folder
) -> None:
    bare = load_backbone(str(folder(name)))
    stored = dict(bare.named_parameters())
    network, task, examples = load(folder(name), kind)
    assert network.fingerprint == fingerprint(bare)
    full = Mask.full(network.scope("encoder"))
    fit(network, task, examples, full, SPEC, scope="encoder")
    assert not any(torch.equal(inside(network)[n], stored[n]) for n in full)
    assert predict(network, task, examples).shape == (4, COLUMNS[kind])
    network.rewind(0)
    assert all(torch.equal(weight, stored[n]) for n, weight in inside(network).items())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_padding_changes_nothing_that_a_network_says(name: str, folder: Folder) -> None:
    network, task, examples = load(folder(name), "classification")
    network.rewind(0)
    network.model.eval()

    def says(*numbers: int) -> Tensor:
        batch = collate(examples, torch.tensor(numbers).numpy(), task, network.pad)
        with torch.inference_mode():
            logits: Tensor = network.model(**batch).logits
        return logits

    together = says(0, 3)
    assert torch.allclose(together[:1], says(0), atol=1e-5)
    assert torch.allclose(together[1:], says(3), atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_reads_as_many_tokens_as_it_has_positions(name: str, folder: Folder) -> None:
    network, _, _ = load(folder(name), "classification")
    network.check_length(POSITIONS)
    ids = torch.full((1, POSITIONS), 7)
    with torch.inference_mode():
        network.model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    with pytest.raises(SpecError, match=f"at most {POSITIONS} tokens .* of {POSITIONS + 1}"):
        network.check_length(POSITIONS + 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_words_are_masked_and_special_tokens_never(name: str, folder: Folder) -> None:
    if not ARCHITECTURES[name].masked:
        return
    network, task, examples = load(folder(name), "mlm")
    words = network.tokenizer
    batch = collate(examples, torch.arange(4).numpy(), task, network.pad)
    batch = {key: value.repeat(50, 1) for key, value in batch.items()}
    masked = mask_tokens(batch, words, torch.Generator().manual_seed(0))
    ids, picked = batch["input_ids"], masked["labels"] >= 0
    special = torch.isin(ids, torch.tensor(words.all_special_ids))
    assert special.any()
    assert not (picked & special).any()
    assert torch.equal(masked["labels"][picked], ids[picked])
    share = (masked["input_ids"][picked] == words.mask_token_id).double().mean()
    assert float(share) == pytest.approx(0.8, abs=0.05)
    assert words.convert_ids_to_tokens(words.mask_token_id) in ("[MASK]", "<mask>")


# the ticket


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_ticket_is_found_saved_and_trained_under_another_head(
    name: str, folder: Folder, reviews: Path, tmp_path: Path
) -> None:
    made, spec = ARCHITECTURES[name], ImpSpec(sparsity=Decimal("0.4"), step=Decimal("0.2"))
    subject = SubjectFactory(tmp_path).subject(
        str(folder(name)), TASKS["classification"], SHORT, scope="encoder", folder=str(reviews)
    )
    search = FINDERS["imp"].search(subject, spec, 0)
    lab = LabSpec(store=str(tmp_path / "store"), threads=1)
    store, summary = run_plan(Plan.of(search.trainings.values()), lab, RunCallback())
    assert not summary.failed
    first, mask = (read_mask(store, search.masks[s].key) for s in (spec.step, spec.sparsity))
    assert not any(bool((mask[n] & ~first[n]).any()) for n in mask)
    assert (len(mask), mask.size) == (made.matrices * made.blocks, made.weights * made.blocks)
    assert (first.pruned, mask.pruned) == (round(mask.size * 0.2), round(mask.size * 0.4))
    assert mask != tombola.one_shot(str(folder(name)), sparsity="0.4").mask
    Ticket(
        mask=mask,
        model=str(folder(name)),
        fingerprint=subject.fingerprint,
        scope="encoder",
        sparsity=spec.sparsity,
    ).save(tmp_path / "ticket")
    ticket = Ticket.load(tmp_path / "ticket")
    assert ticket.mask == mask
    kind = "span" if name == "gpt2" else "mlm"
    network, task, examples = load(folder(name), kind)
    network.rewind(1)
    parameters = scope_parameters(ticket.apply(network.model), ticket.scope)
    assert all(zeroed(weight, ticket.mask[n]) for n, weight in parameters.items())
    fit(network, task, examples, ticket.mask, SPEC, scope=ticket.scope)
    assert all(zeroed(weight, ticket.mask[n]) for n, weight in parameters.items())
    assert any(bool(weight[ticket.mask[n]].any()) for n, weight in parameters.items())
    assert predict(network, task, examples).shape == (4, COLUMNS[kind])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_pooler_is_pruned_where_the_files_hold_one(
    name: str, folder: Folder, tmp_path: Path
) -> None:
    if ARCHITECTURES[name].pooler:
        ticket = tombola.one_shot(str(folder(name)), sparsity="0.5", scope="encoder+pooler")
        assert [key for key in ticket.mask if "pooler" in key]
        return
    with pytest.raises(ModelError, match="Use the scope 'encoder'") as refused:
        tombola.one_shot(str(folder(name)), sparsity="0.5", scope="encoder+pooler")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["bert", "roberta", "albert", "mpnet"])
def test_a_pooler_that_the_files_lack_is_no_part_of_the_backbone(
    name: str, folder: Folder, tmp_path: Path
) -> None:
    AutoModelForMaskedLM.from_pretrained(folder(name)).save_pretrained(tmp_path)
    body = load_backbone(str(tmp_path))
    assert not [key for key, _ in body.named_parameters() if "pooler" in key]
    assert fingerprint(body) == fingerprint(load_backbone(str(folder(name))))
    body.eval()(torch.tensor([[2, 5, 6, 3]]))
    with pytest.raises(ModelError, match="Use the scope 'encoder'"):
        tombola.one_shot(str(tmp_path), sparsity="0.5", scope="encoder+pooler")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_whole_heads_and_neurons_are_pruned_or_it_is_refused_in_one_line(
    name: str, folder: Folder
) -> None:
    network = load_backbone(str(folder(name)))
    weights = {n: p.detach() for n, p in scope_parameters(network, "encoder").items()}
    heads = network.config.num_attention_heads
    if ARCHITECTURES[name].units:
        scores = unit_ranks(units_of(weights, heads), weights)
        assert scores.keys() == weights.keys()
        values = torch.cat([score.flatten() for score in scores.values()]).unique()
        assert len(values) == ARCHITECTURES[name].blocks * (2 + 24)
    else:
        with pytest.raises(SpecError, match="needs blocks of square query") as refused:
            units_of(weights, heads)
        assert "\n" not in str(refused.value)


# what can't be used


def test_an_architecture_without_a_head_is_reported_with_those_that_it_has(folder: Folder) -> None:
    with pytest.raises(ModelError, match="'mlm' needs a head that gpt2 doesn't have") as refused:
        load_network(str(folder("gpt2")), "mlm")
    assert "can do classification, regression, span. Use another task" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_without_the_encoder_are_refused(folder: Folder, tmp_path: Path) -> None:
    for file in folder("bert").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    lost = [name for name in weights if name.startswith("encoder.layer.1.attention")]
    kept = {name: tensor for name, tensor in weights.items() if name not in lost}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = rf"lack {len(lost)} of them, first (bert\.)?encoder\.layer\.1\.attention"
    for attempt in (load_backbone, lambda place: load_network(place, "span")):
        with pytest.raises(ModelError, match=message) as refused:
            attempt(str(tmp_path))
        assert "\n" not in str(refused.value)


def with_tokenizer(place: Path, tokenizer: Any, target: Path) -> str:
    """The network of one folder with another tokenizer."""
    for name in ("config.json", "model.safetensors"):
        (target / name).write_bytes((place / name).read_bytes())
    tokenizer.save_pretrained(target)
    return str(target)


def test_a_tokenizer_with_more_words_than_the_network_is_refused(
    folder: Folder, tmp_path: Path
) -> None:
    other = with_tokenizer(folder("bert"), TOKENIZERS["roberta"](), tmp_path)
    with pytest.raises(
        ModelError, match=r"got 180 embeddings and the number \d+ for the word"
    ) as refused:
        load_network(other, "classification")
    assert "\n" not in str(refused.value)


def test_token_types_go_to_networks_that_tell_them_apart(folder: Folder, tmp_path: Path) -> None:
    row = {"question": "good film", "context": "the plot", "answers": ROWS["span"][0]["answers"]}
    for name, given in (("bert", True), ("roberta", False), ("gpt2", False)):
        place = tmp_path / name
        place.mkdir()
        other = with_tokenizer(folder(name), TOKENIZERS["wordpiece"](), place)
        network = load_network(other, "span")
        examples = encode_split(
            [row], TASKS["span"], network.tokenizer, TrainSpec(max_length=POSITIONS)
        )
        assert ("token_type_ids" in examples.inputs) == given
        assert predict(network, TASKS["span"], examples).shape == (1, COLUMNS["span"])


def test_without_anything_to_pad_or_to_mask_with_it_is_reported(
    folder: Folder, tmp_path: Path
) -> None:
    bare = AutoTokenizer.from_pretrained(folder("bert"))
    bare.mask_token = None
    with pytest.raises(ModelError, match="needs a mask token, and the tokenizer of"):
        load_network(with_tokenizer(folder("bert"), bare, tmp_path), "mlm")
    bare.pad_token = None
    with pytest.raises(ModelError, match="batches need a pad token or an end-of-text token"):
        load_network(with_tokenizer(folder("bert"), bare, tmp_path), "classification")
