"""The card of a trained network says what it is, and obeys nothing that its ticket says."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from small_network import drawn_ticket
from tombola.ship.network_card import CardFacts, network_card

FACTS = CardFacts(
    auto_class="AutoModelForQuestionAnswering",
    task="squad",
    metric="f1",
    split="dev",
    score=88.125,
    trivial=12.0,
    seed=100,
    init="pretrained",
    whole_model_sparsity=0.4567,
    numerics={"threads": 2, "torch": "2.13.0"},
    recipe={"epochs": 2.0, "learning_rate": 3e-5},
)


def metadata(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    read = yaml.safe_load(head)
    assert isinstance(read, dict)
    return read


def test_the_metadata_are_what_the_hub_reads() -> None:
    assert metadata(network_card(drawn_ticket(), FACTS)) == {
        "library_name": "transformers",
        "license": "unknown",
        "pipeline_tag": "question-answering",
        "base_model": "google-bert/bert-base-uncased",
        "base_model_relation": "finetune",
        "tags": ["lottery-ticket", "pruning", "sparsity"],
    }


@pytest.mark.parametrize("model", ["mini", "/home/ada/models/mine"])
def test_a_base_that_is_not_on_the_hub_is_not_named_as_if_it_were(model: str) -> None:
    text = network_card(replace(drawn_ticket(), model=model), FACTS)
    assert "base_model" not in metadata(text)
    assert "/home" not in text


def test_the_card_says_score_seed_and_recipe() -> None:
    text = network_card(drawn_ticket(), FACTS)
    assert "| this network, seed 100 (`f1`, split `dev`, in points) | 88.12 |" in text
    assert "| without learning anything from the texts | 12.00 |" in text
    assert "| learning rate | `3e-05` |" in text
    assert "| torch | `2.13.0` |" in text
    assert "45.7 % of the whole encoder" in text
    assert text.count("AutoModelForQuestionAnswering") == 2


def test_names_are_shown_and_not_obeyed() -> None:
    evil = "x`](http://x)<script>\x1b[2J|\n# y"
    ticket = replace(drawn_ticket(), model=evil)
    text = network_card(ticket, replace(FACTS, task=evil, metric=evil, split=evil, init=evil))
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "\n# y" not in text
    assert metadata(text).keys() == metadata(network_card(ticket, FACTS)).keys()
