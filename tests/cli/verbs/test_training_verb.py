"""`tombola train` keeps a network and says how to load it; `find --keep-weights` keeps those of a
search."""

import json
from pathlib import Path
from typing import Any

import pytest

import tombola
from command_line import RECIPE, Cli, find_command, refusal


@pytest.fixture
def ticket(tiny: Path, tmp_path: Path) -> Path:
    return tombola.one_shot(tiny, sparsity=0.5).save(tmp_path / "a ticket")


def test_a_ticket_is_trained_and_the_shown_lines_load_the_network(
    cli: Cli, ticket: Path, reviews: Path
) -> None:
    words = ("train", ticket, "--data", reviews, *RECIPE, "--seed", "7", "--output", "a network")
    status, shown, errors = cli(*words, "--json", "trained.json")
    assert (status, errors) == (0, "")
    trained = json.loads(Path("trained.json").read_text())
    assert (trained["seed"], trained["output"]) == (7, "a network")
    assert trained["ticket"] == str(ticket)
    assert f"accuracy {trained['score']:.2f} on the test split" in shown
    names: dict[str, Any] = {}
    exec(compile(shown[shown.index("import tombola\n") :], "shown", "exec"), names)
    assert names["trained"].ticket.mask == tombola.Ticket.load(ticket).mask
    status, shown, errors = cli(*words, "--json", "-")
    assert (status, json.loads(shown)) == (0, trained)


def test_a_search_shows_where_its_networks_are(cli: Cli, tiny: Path, reviews: Path) -> None:
    status, shown, errors = cli(*find_command(tiny, reviews), "--keep-weights", "--output", "out")
    assert (status, errors) == (0, "")
    assert "network   out/network-seed-0 (" in shown
    assert tombola.load("out/network-seed-0").ticket == tombola.Ticket.load("out/ticket-seed-0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "7"], "there is no flag '--seeds'. Did you mean '--seed'?"),
        (["--seed", "-1"], "seed must be an integer of 0 or more, got -1."),
        (["--margin", "1"], "there is no flag '--margin'"),
        (["--scope", "encoder+pooler"], "expected a scope that the ticket covers"),
        (["--learning-rate", "tune"], "expected a number, got 'tune'"),
        (["--output", "taken"], "'taken' holds something else"),
    ],
)
def test_a_mistake_is_one_line_and_trains_nothing(
    words: list[str], message: str, cli: Cli, ticket: Path, reviews: Path
) -> None:
    Path("taken").write_text("")
    assert message in refusal(cli("train", ticket, "--data", reviews, *words))
    assert not Path("runs/store").exists()
