"""A two-layer random BERT, its tokenizer, and generated reviews; nothing is downloaded."""

import os

from tombola.cli.main import QUIET

# before transformers is imported by whichever test comes first
os.environ |= {"HF_HUB_OFFLINE": "1", **QUIET}
os.environ |= {"CUDA_VISIBLE_DEVICES": ""} if os.environ.get("TOMBOLA_TEST_DEVICE") == "cpu" else {}

import gc
import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import Cli
from hub_stand_in import TOKEN, Hub, serving
from small_search import small_search
from tombola.cli.main import main

if TYPE_CHECKING:
    from tombola.ticket.ticket import Ticket

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GOOD = "good great lovely bright warm funny".split()
BAD = "bad poor dull cold awful boring".split()
PLAIN = "the a film plot actor scene with and of it was very long short story end music".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests for a CUDA card without one."""
    cuda = [item for item in items if item.get_closest_marker("cuda")]
    if not cuda or os.environ.get("TOMBOLA_TEST_DEVICE") == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        reason = "needs a CUDA card; with TOMBOLA_TEST_DEVICE=cpu it runs on the CPU"
        for item in cuda:
            item.add_marker(pytest.mark.skip(reason=reason))


def review(chance: random.Random) -> dict[str, Any]:
    """A sentence of 4 to 13 words, one or two of them telling its label."""
    label = chance.randrange(2)
    words = chance.choices(PLAIN, k=chance.randint(3, 11))
    for word in chance.choices((BAD, GOOD)[label], k=chance.randint(1, 2)):
        words.insert(chance.randrange(len(words) + 1), word)
    return {"sentence": " ".join(words), "label": label}


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parquet files as `--data` takes them for the task `sentiment`: 48 to train, 24 to test."""
    chance = random.Random(0)
    folder = tmp_path_factory.mktemp("reviews")
    for split, size in (("train", 48), ("test", 24)):
        rows = [review(chance) for _ in range(size)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers of 32 with a pooler, as save_pretrained() writes it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    gc.freeze()  # each training collects garbage, and the libraries' objects are none
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = [*SPECIAL, *GOOD, *BAD, *PLAIN, *string.punctuation]
    letters = [*string.ascii_lowercase, *string.digits]
    vocab = {word: n for n, word in enumerate(dict.fromkeys([*words, *letters]))}
    vocab |= {f"##{letter}": len(vocab) + n for n, letter in enumerate(letters)}
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=128,
        initializer_range=0.2,  # so that so narrow a network passes on what it reads
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=vocab).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def finetuned(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That BERT with a trained head of three classes."""
    from tombola.tasks.networks import load_network

    folder = tmp_path_factory.mktemp("models") / "finetuned"
    network = load_network(str(tiny), "classification", 3)
    network.rewind(11)
    network.model.save_pretrained(folder)
    network.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def searched(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a search of two seeds in two rounds; tests change copies of it."""
    place = tmp_path_factory.mktemp("searched")
    return Path(small_search(place, tiny, reviews, step="0.25").output)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run `tombola` in an empty folder: exit status, stdout, stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLUMNS", "140")

    def run(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in argv])
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def ticket() -> "Ticket":
    """A random ticket of a small network."""
    from small_network import drawn_ticket

    return drawn_ticket()


@pytest.fixture
def folder(ticket: "Ticket", tmp_path: Path) -> Path:
    """The folder of `ticket`, without a card."""
    return ticket.save(tmp_path / "ticket")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """What huggingface_hub takes for the hub, with a cache of its own and a token."""
    import huggingface_hub

    with serving() as stand_in:
        template = stand_in.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        settings = {
            "HF_HUB_OFFLINE": False,
            "ENDPOINT": stand_in.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
        }
        for name, value in settings.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("time.sleep", lambda _: None)  # between the library's attempts
        yield stand_in
        huggingface_hub.close_session()
