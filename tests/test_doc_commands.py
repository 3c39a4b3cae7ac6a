"""The commands that the documentation shows for tickets and networks run as they stand there.

Only places are others: the embedded model for BERT-base, memory for a bucket, and a stand-in for
the Hugging Face hub. Trainings are cut short.
"""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import torch

import tombola
from command_line import Cli
from hub_stand_in import Hub

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
VERBS = ("train", "export", "inspect", "import", "merge", "push", "pull")

PLACES = {
    "runs/.../": "runs/a-search/",
    "bert-base-uncased": "mini",
    "s3://": "memory://",
}
"""What a page writes -> what stands for it here."""

SHORT = "--train-limit 32 --test-limit 16 --epochs 1 --max-length 32".split()


def commands(page: Path) -> list[str]:
    """The command lines of those verbs, without comments."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    return re.findall(rf"^    (tombola (?:{'|'.join(VERBS)}) .*)$", text, re.M)


SHOWN = {str(page.relative_to(ROOT)): lines for page in PAGES if (lines := commands(page))}


@pytest.fixture(scope="module")
def tickets() -> list[tombola.Ticket]:
    """Three tickets of the embedded model, as a search would find them."""
    found = [tombola.one_shot("mini", sparsity=share) for share in ("0.65", "0.7", "0.75")]
    return [replace(ticket, task="sentiment") for ticket in found]


@pytest.mark.filterwarnings("ignore:.pin_memory:UserWarning")  # of torch, without a GPU
@pytest.mark.parametrize("page", SHOWN)
def test_commands_that_a_page_shows_run_one_after_another(
    page: str, tickets: list[tombola.Ticket], cli: Cli, hub: Hub
) -> None:
    for seed, ticket in enumerate(tickets):
        ticket.save(f"runs/a-search/ticket-seed-{seed}")
    tickets[1].save("one-shot-70")
    torch.save({f"bert.{n}_mask": kept.float() for n, kept in tickets[1].mask.items()}, "mask.pt")
    try:
        for line in SHOWN[page]:
            run(line, cli, hub)
    finally:
        fsspec.filesystem("memory").store.clear()


def run(line: str, cli: Cli, hub: Hub) -> None:
    """Run a line of a page, and what must have been before it."""
    for written, here in PLACES.items():
        line = line.replace(written, here)
    _, verb, *arguments = shlex.split(line, comments=True)
    if verb == "push":
        hub.repositories.clear()
    elif verb == "pull" and "--revision" in arguments:
        branch = arguments[arguments.index("--revision") + 1]
        assert cli("push", "one-shot-70", arguments[0], "--revision", branch)[0] == 0
    status, _, errors = cli(verb, *arguments, *(SHORT if verb == "train" else ()))
    assert (status, line, errors) == (0, line, errors)


def test_every_verb_that_ships_a_ticket_is_shown() -> None:
    shown = {line.split()[1] for lines in SHOWN.values() for line in lines}
    assert shown == {*VERBS}
    python = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in ("ticket.hold(", "TicketCallback(", "merge_lora(", "export(", "push(", "pull("):
        assert re.search(rf"^[^`\n]*{re.escape(name)}", python, re.M), name
