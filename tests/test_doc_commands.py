"""The commands that the documentation shows run as they stand there, one page after another.

Only places are others: the embedded model for BERT-base, memory for a bucket, and a stand-in for
the Hugging Face hub. Searches and trainings are cut short. Commands that made published results,
and slow ones that another test runs, are read and not run.
"""

import gzip
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import fsspec
import pytest
import torch

import tombola
from command_line import Cli
from hub_stand_in import Hub
from page_network import NETWORK, shared_by
from tombola.cli.main import VERBS
from tombola.cli.parser import Parser
from tombola.lab.store.result_store import Store

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OWN, PLAN = (ROOT / "docs" / "how-to" / name for name in ("own-data.md", "plans.md"))

GLUE = ROOT / "tests" / "fixtures" / "glue_parquet"
PLACES = {
    "runs/.../": "runs/a-search/",
    "bert-base-uncased": "mini",
    "s3://": "memory://",
    "hub:Salesforce/wikitext/wikitext-103-raw-v1": "texts",
    "--workers 2": "--workers 1",
    "docs/results/": f"{ROOT / 'docs' / 'results'}/",
    " DIR": f" {GLUE}",
}
"""What a page writes -> what stands for it here."""

OFFLINE = {"glue/mnli": ["--data", str(GLUE)], "gloss-span": ["--query-length", "16"]}
"""Task -> flags that name its files here, or leave room for its questions."""
SLOW = ("completion", "run")
SMALL_PLAN = {
    "seeds: [0, 1, 2]": "seeds: [0, 1]",
    "step: 0.1": "step: 0.7",
    "epochs: 1": "epochs: 1, train_limit: 16, test_limit: 8, max_length: 32",
}
ONE_THREAD = ["--threads", "1"]
SHORT = "--train-limit 16 --test-limit 8 --epochs 1 --min-steps 0 --max-length 32".split()
SHORT += ONE_THREAD
SEARCH = "--sparsity 0.5 --step 0.5 --seeds 0,1 --controls none".split()


def commands(page: Path) -> list[str]:
    """The command lines of a page, without comments and without what the shell does."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    lines = re.findall(r"^    (tombola .*)$", text, re.M)
    return [line.partition(" > ")[0] for line in lines if line.split()[1] in VERBS]


SHOWN = {str(page.relative_to(ROOT)): lines for page in PAGES if (lines := commands(page))}


@pytest.fixture(scope="module")
def tickets() -> list[tombola.Ticket]:
    """Three tickets of the embedded model, as a search would find them."""
    found = [tombola.one_shot("mini", sparsity=share) for share in ("0.65", "0.7", "0.75")]
    return [replace(ticket, task="sentiment") for ticket in found]


def write_inputs(tickets: list[tombola.Ticket], model: Path) -> None:
    """Tickets, masks, rows, a task and a plan, as the pages have them or made them elsewhere."""
    for seed, ticket in enumerate(tickets):
        ticket.save(f"runs/a-search/ticket-seed-{seed}")
    tickets[1].save("one-shot-70")
    torch.save({f"bert.{n}_mask": kept.float() for n, kept in tickets[1].mask.items()}, "mask.pt")
    write_rows()
    shown = re.search(r"^```yaml\n(.*?)^```", OWN.read_text(encoding="utf-8"), re.S | re.M)
    assert shown
    Path("recommends.yaml").write_text(shown[1])
    shown = re.search(r"^```yaml\n(.*?)^```", PLAN.read_text(encoding="utf-8"), re.S | re.M)
    assert shown
    plan = shown[1].replace("model: mini", f"model: {model}")
    for written, here in SMALL_PLAN.items():
        assert written in plan
        plan = plan.replace(written, here)
    Path("moved.yaml").write_text(plan)


def write_rows() -> None:
    """Rows of a user in the layouts that the pages name."""
    rows = [(f"{word} film {n}", ("no", "yes")[n % 2]) for n in range(32) for word in ("a", "the")]
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    Path("reviews.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    Path("reviews.csv").write_text("\n".join(["text,label", *(",".join(row) for row in rows)]))
    for folder in ("reviews", "texts"):
        Path(folder).mkdir()
    lines = [f"{n},{text},{label},{label}" for n, (text, label) in enumerate(rows)]
    body = "\n".join(["title,body,stars,recommends", *lines])
    texts = "\n".join(f"{n} {text}" for n, (text, _) in enumerate(rows * 3))
    for split in ("train", "dev", "test"):
        Path(f"reviews/{split}.csv").write_text(body)
        Path(f"texts/{split}.txt").write_text(texts)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store and the trained network that pages have in common, made by the first of them."""
    return Store(tmp_path_factory.mktemp("pages") / "store").folder.parent


@pytest.fixture
def shared(pages: Path, cli: Cli) -> Iterator[None]:
    """What pages have in common, in the folder of a page."""
    del cli  # whose folder it is in
    with shared_by(pages, pages / NETWORK):
        yield


@pytest.mark.usefixtures("shared")
@pytest.mark.filterwarnings("ignore:.pin_memory:UserWarning")  # of torch, without a GPU
@pytest.mark.parametrize("page", SHOWN)
def test_commands_that_a_page_shows_run_one_after_another(
    page: str, tickets: list[tombola.Ticket], tiny: Path, cli: Cli, hub: Hub
) -> None:
    write_inputs(tickets, tiny)
    try:
        for line in SHOWN[page]:
            run(line, cli, hub, tiny, page)
    finally:
        fsspec.filesystem("memory").store.clear()


def run(line: str, cli: Cli, hub: Hub, model: Path, page: str) -> None:
    """Run a line of a page, and what must have been before it."""
    for written, here in PLACES.items():
        line = line.replace(written, here)
    _, verb, *arguments = shlex.split(line, comments=True)
    if verb == "push":
        hub.repositories.clear()
    elif verb == "pull" and "--revision" in arguments:
        branch = arguments[arguments.index("--revision") + 1]
        assert cli("push", "one-shot-70", arguments[0], "--revision", branch)[0] == 0
    if "/results/" in page or (verb in SLOW and page != str(PLAN.relative_to(ROOT))):
        understood(verb, arguments)
        return
    status, _, errors = cli(verb, *arguments, *cut_short(verb, arguments, model))
    assert status == 0, f"{line}: {errors}"


def understood(verb: str, arguments: list[str]) -> None:
    """Read a command without running it, or raise what is wrong with it."""
    parser = Parser(f"tombola {verb}", "", arguments)
    import_module(f"tombola.cli.verbs.{VERBS[verb].file}").VERBS[verb].flags(parser)
    parser.read(arguments)


def cut_short(verb: str, arguments: list[str], model: Path) -> list[str]:
    """Flags that make a command take a second or two."""
    match verb:
        case "find":
            data = [] if "--data" in arguments else OFFLINE.get(task_of(arguments), [])
            return [*SHORT, *SEARCH, "--model", str(model), *data]
        case "evaluate":
            return [*SHORT, "--seeds", "100"]
        case "train":
            return SHORT
        case "run":
            return ONE_THREAD
        case "bench":
            return "--batch-sizes 1 --lengths 8 --rounds 3 --examples 8".split()
    return []


def task_of(arguments: list[str]) -> str:
    """The task of a search."""
    return arguments[arguments.index("--task") + 1]


def test_every_verb_that_ships_a_ticket_is_shown() -> None:
    shown = {line.split()[1] for lines in SHOWN.values() for line in lines}
    assert {"train", "export", "inspect", "import", "merge", "push", "pull"} <= shown
    python = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in ("ticket.hold(", "TicketCallback(", "merge_lora(", "export(", "push(", "pull("):
        assert re.search(rf"^[^`\n]*{re.escape(name)}", python, re.M), name
