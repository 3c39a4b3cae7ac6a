"""What is saved of a network of any architecture is loaded by transformers, to the bit."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from architectures import ARCHITECTURES, load, save
from small_network import half_mask
from tombola.models.saving import save_network
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.ticket.fingerprint import weights_digest

HEADED = [
    (name, kind) for name, made in ARCHITECTURES.items() for kind in TASK_KINDS if made.has(kind)
]
TEXTS = ["good film", "a long bad story with a poor end"]

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Where the tiny network of an architecture is."""
    gc.freeze()
    root = tmp_path_factory.mktemp("architectures")

    def of(name: str) -> Path:
        return root / name if (root / name).exists() else save(name, root / name)

    return of


@pytest.mark.parametrize(("name", "kind"), HEADED)
def test_the_network_and_its_tokenizer_are_loaded_as_they_were_saved(
    name: str, kind: str, folder: Folder, tmp_path: Path
) -> None:
    network, task, _ = load(folder(name), kind)
    network.rewind(3)
    half_mask(network).fill(network.scope("encoder"))
    save_network(network, tmp_path, labels=task.labels)
    loader: Any = getattr(transformers, TASK_KINDS[kind].head(2).auto_class)
    model, report = loader.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert weights_digest(dict(model.named_parameters())) == weights_digest(network.weights())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    inputs, ours = (
        dict(each(TEXTS, return_tensors="pt", padding=True))
        for each in (tokenizer, network.tokenizer)
    )
    assert inputs.keys() == ours.keys()
    assert all(torch.equal(inputs[each], ours[each]) for each in inputs)
    with torch.inference_mode():
        theirs = model(**inputs).to_tuple()
        mine = network.model.eval()(**ours).to_tuple()
    assert all(torch.equal(a, b) for a, b in zip(theirs, mine, strict=True) if torch.is_tensor(a))


def test_matrices_begin_where_torch_would_put_them(folder: Folder, tmp_path: Path) -> None:
    network, _, _ = load(folder("bert"), "regression")  # whose head has a bias of four bytes
    network.model.save_pretrained(tmp_path / "plain")
    (tmp_path / "ours").mkdir()
    save_network(network, tmp_path / "ours")
    starts = {}
    for place in ("plain", "ours"):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / place)
        weights = [weight for weight in model.parameters() if weight.nbytes % 64 == 0]
        starts[place] = {weight.data_ptr() % 64 for weight in weights}
    assert starts["ours"] == {0}
    assert starts["plain"] != {0}, "transformers no longer maps files: nothing need be aligned"


def test_saving_twice_gives_the_same_bytes(folder: Folder, tmp_path: Path) -> None:
    network, task, _ = load(folder("bert"), "classification")
    network.rewind(3)
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        save_network(network, tmp_path / place, labels=task.labels)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    for each in names:
        assert (tmp_path / "a" / each).read_bytes() == (tmp_path / "b" / each).read_bytes()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("I/O error: No space left on device (os error 28)"), OSError),
        (RuntimeError("something else"), RuntimeError),
        (PermissionError(13, "Permission denied"), PermissionError),
    ],
)
def test_an_error_of_the_disk_is_one_whoever_reports_it(
    error: Exception,
    kind: type[Exception],
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, _, _ = load(folder("bert"), "classification")

    def refuse(place: Path) -> None:
        raise error

    monkeypatch.setattr(network.model, "save_pretrained", refuse)
    with pytest.raises(kind) as caught:
        save_network(network, tmp_path)
    if kind is OSError:
        assert isinstance(caught.value, OSError)
        assert (caught.value.errno, caught.value.strerror) == (28, "No space left on device")
