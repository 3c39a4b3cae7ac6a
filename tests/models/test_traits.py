"""What a network can't have, and what its scope leaves out, is known before anything is trained."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from architectures import ARCHITECTURES, save
from tombola.base.errors import ModelError, SpecError
from tombola.lab.subjects import SubjectFactory
from tombola.plan.controls import control as control_of
from tombola.plan.job import Job, dense, one_shot
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task

HALF = Decimal("0.5")
SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "pad_token_id": 0}
MIXTURE = {"num_hidden_layers": 2, "num_key_value_heads": 2, "num_local_experts": 3}


def made(place: Path, kept: Path, *, task: str = "sentiment", scope: str = "encoder") -> Subject:
    found = load_task(task)
    return SubjectFactory(kept).subject(str(place), found, found.recipe, scope=scope, folder=None)


def saved(tiny: Path, folder: Path, kind: str, **settings: int) -> Path:
    words = AutoTokenizer.from_pretrained(tiny)
    config = transformers.AutoConfig.for_model(kind, vocab_size=len(words), **SMALL, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def control(name: str, subject: Subject) -> Job:
    return control_of(name, subject, one_shot(subject, HALF), HALF, 1)


@pytest.mark.parametrize(
    ("architecture", "name", "message"),
    [
        ("gpt2", "small-dense", "the structure 'heads-and-neurons' needs blocks"),
        ("modernbert", "small-dense", "the structure 'heads-and-neurons' needs blocks"),
        ("albert", "shuffle-layers", "shuffle-layers needs two blocks or more"),
    ],
)
def test_a_control_that_a_network_cannot_have_is_refused_while_planning(
    tmp_path: Path, architecture: str, name: str, message: str
) -> None:
    subject = made(save(architecture, tmp_path / "m"), tmp_path)
    with pytest.raises(SpecError, match=message) as refused:
        control(name, subject)
    assert "\n" not in str(refused.value)
    assert (name == "small-dense") == str(refused.value).endswith(
        "Leave the control small-dense out."
    )
    assert control("reinit", subject).kind == "train"


def test_a_scope_that_the_head_drops_is_refused_while_planning(tiny: Path, tmp_path: Path) -> None:
    assert made(tiny, tmp_path, scope="encoder+pooler").left_out == {}
    for task in ("mlm", "gloss-span"):
        with pytest.raises(ModelError, match="Use the scope 'encoder'"):
            made(tiny, tmp_path, task=task, scope="encoder+pooler")
    with pytest.raises(SpecError, match="outside of them"):
        control("small-dense", made(tiny, tmp_path, scope="encoder+pooler"))


def test_networks_of_the_same_weights_and_other_heads_have_masks_of_their_own(
    tiny: Path, tmp_path: Path
) -> None:
    two = made(tiny, tmp_path)
    four, embedded = replace(two, heads=4), replace(two, heads=0)
    assert two.heads == 2
    keys = {control("small-dense", one).parents["mask"].key for one in (two, four, embedded)}
    assert len(keys) == 3
    assert len({one_shot(one, HALF).key for one in (two, four, embedded)}) == 1


@pytest.mark.parametrize("kind", ["mixtral", "convbert"])
def test_what_a_scope_holds_and_leaves_out_is_reported_and_named(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    settings = MIXTURE if kind == "mixtral" else {"embedding_size": 16, "num_hidden_layers": 2}
    subject = made(saved(tiny, tmp_path / "m", kind, **settings), tmp_path)
    plain = replace(subject, matrices="")
    assert one_shot(subject, HALF).key != one_shot(plain, HALF).key
    assert dense(subject, 0).key != dense(plain, 0).key
    if kind == "mixtral":
        assert subject.left_out == {}
        assert not [note for note in subject.notes if "leaves out" in note]
    else:
        (note,) = [note for note in subject.notes if "leaves out" in note]
        assert "depthwise.weight" in note
        assert f"{sum(subject.left_out.values()):,} weights of the blocks" in note
    with pytest.raises(SpecError, match="'heads-and-neurons' needs blocks"):
        control("small-dense", subject)


@pytest.mark.parametrize("name", ["bert", "roberta", "deberta-v3"])
def test_networks_of_linear_layers_alone_have_the_names_that_they_had(
    tmp_path: Path, name: str
) -> None:
    assert ARCHITECTURES[name].matrices == 6
    subject = made(save(name, tmp_path / "m"), tmp_path)
    assert (subject.matrices, subject.left_out) == ("", {})
    assert subject.network.to_json().keys() == {"model", "fittings"}


def test_experts_are_pruned_reinitialised_and_shuffled_like_any_matrix(
    tiny: Path, tmp_path: Path
) -> None:
    import tombola
    from tombola.tasks.networks import load_network

    place = saved(tiny, tmp_path / "m", "mixtral", **MIXTURE)
    mask = tombola.one_shot(str(place), sparsity="0.5").mask
    stacks = [name for name, alive in mask.items() if alive.ndim == 3]
    assert len(stacks) == 4
    assert mask.pruned == mask.size // 2
    network: Any = load_network(str(place), "classification")
    for init in ("reinit", "shuffle", "shuffle-layers"):
        network.rewind(3, init=init)
        moved = {name: p for name, p in network.scope("encoder").items() if name in stacks}
        before = {name: network.pretrained[f"model.{name}"] for name in stacks}
        assert {p.shape for p in moved.values()} == {p.shape for p in before.values()}
        if init != "shuffle-layers":
            assert not any(torch.equal(moved[name], before[name]) for name in stacks)
        if init != "reinit":
            told = [torch.cat([t[n].flatten() for n in stacks]).sort() for t in (moved, before)]
            assert torch.equal(told[0].values, told[1].values)
