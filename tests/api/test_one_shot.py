"""A ticket of the largest pre-trained weights, from a name, a folder or a network."""

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, BertModel

import tombola
from tombola import api
from tombola.base.errors import ModelError, SpecError
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.schedule import pruned_count
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default store is in the current folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


@pytest.mark.parametrize("scope", ["encoder", "encoder+pooler"])
@pytest.mark.parametrize("sparsity", [0.7, "0.70", Decimal("0.7")])
def test_one_shot_keeps_the_largest_pretrained_weights(
    sparsity: Any, scope: str, tiny: Path, tmp_path: Path
) -> None:
    ticket = tombola.one_shot(str(tiny), sparsity=sparsity, scope=scope)
    weights = scope_parameters(AutoModel.from_pretrained(tiny), scope)
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    assert ticket.mask == keep_top(scores, Mask.full(weights), sparsity=Decimal("0.7"))
    assert ticket.mask.pruned == pruned_count(Decimal("0.7"), ticket.mask.size)
    assert (ticket.seed, ticket.task, ticket.schedule) == (None, None, None)
    assert Ticket.load(ticket.save(tmp_path / "ticket")) == ticket


@pytest.mark.parametrize("kind", [AutoModel, AutoModelForSequenceClassification])
def test_one_shot_takes_a_folder_or_a_network(kind: Any, tiny: Path) -> None:
    by_name = tombola.one_shot(str(tiny), sparsity=0.5)
    assert tombola.one_shot(tiny, sparsity=0.5) == by_name
    assert tombola.one_shot(kind.from_pretrained(tiny), sparsity=0.5) == by_name


def test_a_network_is_called_by_the_name_that_it_was_loaded_under(tiny: Path) -> None:
    mini = AutoModel.from_pretrained(tombola.model_path("mini"), dtype="float32")
    assert tombola.one_shot(mini, sparsity=0.5) == tombola.one_shot("mini", sparsity=0.5)
    with pytest.raises(ModelError, match=r"from_pretrained.* got BertModel .*save_pretrained"):
        tombola.one_shot(BertModel(BertConfig.from_pretrained(tiny)), sparsity=0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about transformers
def test_one_shot_looks_into_wrappers_and_refuses_adapters(tiny: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny)
    by_name = tombola.one_shot(tiny, sparsity=0.5)
    assert tombola.one_shot(torch.nn.DataParallel(model), sparsity=0.5) == by_name
    adapted = get_peft_model(model, LoraConfig(target_modules=["query"]))
    for network in (adapted, adapted.get_base_model()):
        with pytest.raises(ModelError, match=r"an adapter of PEFT at .*query\. Make the ticket be"):
            tombola.one_shot(network, sparsity=0.5)


def test_one_shot_refuses_a_bad_sparsity(tiny: Path) -> None:
    with pytest.raises(SpecError, match=r"For 70 % write 0\.7"):
        tombola.one_shot(str(tiny), sparsity=70)


def test_a_ticket_finds_its_folder_again_from_anywhere(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    ticket = tombola.one_shot("models/mine", sparsity="0.5")
    assert ticket.model == str((tmp_path / "models" / "mine").resolve())
    assert tombola.one_shot("mini", sparsity="0.5").model == "mini"
    ticket.save("ticket")
    (tmp_path / "models").rename(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"nothing at .*mine'\. Pass the folder .* as `model`"):
        api.evaluate("ticket", task="sentiment")
