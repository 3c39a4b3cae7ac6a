"""The verbs that make a ticket from others and look inside one, as a user calls them."""

import json
import math
from pathlib import Path

import pytest
from transformers import DistilBertConfig, DistilBertModel

from command_line import Cli, refusal
from tombola import api
from tombola.models import embedded
from tombola.ticket.ticket import Ticket


@pytest.fixture(scope="module")
def tickets(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One-shot tickets of three sparsities, one inside another."""
    place = tmp_path_factory.mktemp("tickets")
    return [
        api.one_shot(str(tiny), sparsity=each).save(place / each) for each in ("0.3", "0.5", "0.9")
    ]


def test_tickets_are_merged_and_the_sources_are_shown(cli: Cli, tickets: list[Path]) -> None:
    status, shown, errors = cli("merge", *tickets, "--output", "merged")
    assert (status, errors) == (0, "")
    masks = [Ticket.load(folder).mask for folder in tickets]
    assert Ticket.load("merged").mask == masks[1]  # the masks are nested
    assert "ticket    merged\n" in shown
    assert "sparsity  0.5, " in shown
    assert "merged    majority of 3 tickets" in shown
    status, shown, errors = cli("inspect", "merged")
    assert (status, errors) == (0, "")
    assert "majority of 3 tickets" in shown
    for mask in masks:
        assert mask.digest()[:12] in shown
    status, shown, _ = cli("inspect", "merged", "--json")
    sources = json.loads(shown)["provenance"]["merged"]["sources"]
    assert [source["digest"] for source in sources] == [mask.digest() for mask in masks]


def test_without_an_output_the_folder_is_named_after_the_mask(
    cli: Cli, tickets: list[Path]
) -> None:
    command = ("merge", *tickets, "--rule", "majority", "--sparsity", "0.7")
    status, shown, errors = cli(*command)
    assert (status, errors) == (0, "")
    [place] = Path("runs").iterdir()
    ticket = Ticket.load(place)
    assert place.name == f"merged-{ticket.mask.digest()[:8]}"
    assert f"train it  tombola evaluate {place} --task TASK" in shown
    before = {path: path.read_bytes() for path in place.iterdir()}
    assert cli(*command) == (0, shown, "")
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_a_merge_never_writes_over_its_sources(cli: Cli, tickets: list[Path]) -> None:
    Path("link").symlink_to(tickets[0])
    before = {path: path.read_bytes() for path in tickets[0].iterdir()}
    for place in (tickets[0], "link"):
        message = refusal(cli("merge", *tickets, "--output", place))
        assert f"none of the tickets, got '{tickets[0]}' as --output" in message
    assert {path: path.read_bytes() for path in tickets[0].iterdir()} == before


def test_a_merge_that_makes_no_sense_is_one_line_and_leaves_nothing(
    cli: Cli, tickets: list[Path]
) -> None:
    union = ("--rule", "union")
    assert "there is no rule 'unoin'. Did you mean" in refusal(
        cli("merge", *tickets, "--rule", "unoin")
    )
    assert "a merge takes two or more tickets, got one." in refusal(
        cli("merge", tickets[0], *union)
    )
    assert f"got '{tickets[0]}' twice" in refusal(cli("merge", tickets[0], *tickets, *union))
    assert "a ticket is a folder, got nothing at nowhere" in refusal(
        cli("merge", tickets[0], "nowhere", *union)
    )
    assert "sparsity must be at least 0 and below 1, got 70." in refusal(
        cli("merge", *tickets, "--rule", "majority", "--sparsity", "70")
    )
    assert not any(Path().iterdir())
    Path("out").mkdir()
    Path("out/notes.txt").write_text("mine")
    assert "an older ticket, got a folder with notes.txt." in refusal(
        cli("merge", *tickets, *union, "--output", "out")
    )
    assert [path.name for path in Path("out").iterdir()] == ["notes.txt"]


def test_what_each_scope_would_prune_of_a_model_is_shown(cli: Cli, tiny: Path) -> None:
    status, shown, errors = cli("inspect", tiny)
    assert (status, errors) == (0, "")
    status, said, errors = cli("inspect", tiny, "--json")
    assert (status, errors) == (0, "")
    facts = json.loads(said)
    assert facts == api.inspect(tiny).to_json()
    for scope, about in facts["scopes"].items():
        ticket = api.one_shot(tiny, sparsity="0.9", scope=scope)
        saved = ticket.save(scope)
        assert about["size"] == ticket.mask.size
        assert {n: tuple(shape) for n, shape in about["matrices"].items()} == ticket.mask.shapes
        assert about["ticket_bytes"]["0.9"] == sum(f.stat().st_size for f in saved.iterdir())
        assert f"prunes       {ticket.mask.size:,} weights in {len(ticket.mask)} matrices" in shown
    left = facts["scopes"]["encoder"]["left_out"]
    assert left["pooler.dense.weight"] == {"shape": [32, 32], "reason": "pooler"}
    inside = facts["scopes"]["encoder"]["size"]
    assert inside + sum(math.prod(one["shape"]) for one in left.values()) == facts["size"]
    assert facts["fingerprint"] == ticket.fingerprint


def test_the_embedded_model_can_be_inspected_and_a_ticket_comes_first(
    cli: Cli, tickets: list[Path], monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    monkeypatch.setitem(embedded.EMBEDDED, "mini", tiny)
    assert "mini, BertModel without a task head" in cli("inspect", "mini")[1]
    Ticket.load(tickets[0]).save("mini")
    assert cli("inspect", "mini") == cli("inspect", tickets[0])


def test_a_scope_that_a_network_cannot_have_says_why(cli: Cli, tmp_path: Path) -> None:
    config = DistilBertConfig(dim=16, hidden_dim=16, n_heads=2, n_layers=1, vocab_size=50)
    DistilBertModel(config).save_pretrained(tmp_path / "distil")
    status, shown, errors = cli("inspect", tmp_path / "distil")
    assert (status, errors) == (0, "")
    assert "scope        encoder+pooler: the scope 'encoder+pooler' needs a pooler" in shown


def test_what_is_neither_a_ticket_nor_a_model_is_one_line(cli: Cli) -> None:
    Path("empty").mkdir()
    Path("file").touch()
    said = refusal(cli("inspect", "empty"))
    assert said == (
        "expected a ticket, with ticket.json, or a model, with config.json, got a folder with "
        "neither at empty. Check the path."
    )
    assert "a ticket is a folder, got a file at file; a model is" in refusal(cli("inspect", "file"))
    assert "got nothing at no/such/place; a model" in refusal(cli("inspect", "no/such/place"))
    assert "Did you mean 'mini'?" in refusal(cli("inspect", "minni"))
    said = refusal(cli("inspect", "no/such"))
    assert said.startswith("expected a ticket or a model: 'no/such' is neither embedded (mini) nor")
