"""Where a folder, a name or a ticket is expected, anything else is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import tombola
from small_network import network
from tombola.base.errors import ModelError, SpecError

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "push": lambda came: tombola.push(came, "./somewhere"),
    "export": lambda came: tombola.export(came, output="network.onnx"),
    "load": tombola.load,
    "bench": tombola.bench,
    "inspect": tombola.inspect,
    "merge": lambda came: tombola.merge([came, came]),
    "evaluate": tombola.evaluate,
    "train": tombola.train,
    "Ticket.load": tombola.Ticket.load,
    "Ticket.from_pretrained": tombola.Ticket.from_pretrained,
    "one_shot": lambda came: tombola.one_shot([came], sparsity=0.5),  # type: ignore[arg-type]
    "import_ticket": lambda came: tombola.import_ticket(came, model="mini"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_path_is_refused_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for came in (network(), None, 3):
        with pytest.raises(SpecError, match=r"^expected .*, got (None|an object of type )") as told:
            FUNCTIONS[name](came)
        assert "\n" not in str(told.value)
    assert not any(tmp_path.iterdir())


def test_a_search_from_a_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="got an object of type BertForSequenceClassification"):
        tombola.find(from_ticket=network())  # type: ignore[arg-type]


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ModelError, match=r"its weights, got one whose .* meta device or offloaded"):
        tombola.one_shot(nn.Module.to(network(), "meta"), sparsity=0.5)
