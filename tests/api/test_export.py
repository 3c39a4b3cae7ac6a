"""An ONNX file says what its network says, for any batch and length, with every zero in it."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from onnx.numpy_helper import to_array
from transformers import AutoTokenizer

import tombola
from architectures import ROWS, TASKS, load, save
from command_line import Cli, refusal
from tombola.api.bench.network import Scored, load_scored
from tombola.api.onnx import exporting
from tombola.base.errors import ModelError, OutputError, SpecError, TicketError
from tombola.base.specs import ExportSpec, TaskSpec
from tombola.models.network import Network
from tombola.ship import onnx_file
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.ticket.scope import scope_parameters

TEXTS = ["good film", "a very good film and a bad plot of an actor " * 2, "the"]
PAIRS = ["short story", "the the plot was long", "plot"]

Trained = Callable[[str, str], tuple[Path, Path, Network]]


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    """The folder of a network with a ticket and a head, that of its task's data, and itself."""

    def make(name: str, kind: str) -> tuple[Path, Path, Network]:
        network, task, _ = load(save(name, tmp_path / "bare"), kind)
        network.rewind(3)
        ticket = tombola.one_shot(network.model, sparsity="0.7")
        ticket.apply(network.model).save_pretrained(tmp_path / "net")
        network.tokenizer.save_pretrained(tmp_path / "net")
        (tmp_path / "data").mkdir()
        table = pa.Table.from_pylist(ROWS[kind])
        for split in ("train", task.test_split):
            pq.write_table(table, tmp_path / "data" / f"{split}-00000-of-00001.parquet")
        return tmp_path / "net", tmp_path / "data", network

    return make


EVERY_HEAD = [("bert", kind) for kind in TASK_KINDS]
OTHERS = [
    ("roberta", "classification"),
    ("distilbert", "span"),
    ("modernbert", "mlm"),
    ("gpt2", "span"),
]


@pytest.mark.parametrize(("name", "kind"), EVERY_HEAD + OTHERS)
def test_onnx_runtime_says_what_the_network_says(
    name: str, kind: str, trained: Trained, tmp_path: Path
) -> None:
    net, data, network = trained(name, kind)
    file = tmp_path / "out" / "model.onnx"
    made = tombola.export(net, task=TASKS[kind].name, data=data, output=file)
    assert made.difference <= 1e-4
    assert made.examples == 4
    assert not list(tmp_path.glob("out/*.data"))

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert {tuple(one.shape) for one in session.get_inputs()} == {("batch", "length")}
    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent)
    wanted = [one.name for one in session.get_inputs()]
    network.model.eval()
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:]):
        pairs = [PAIRS[: len(texts)]] if kind == "span" else []
        given = tokenizer(
            texts, *pairs, padding=True, truncation=True, max_length=60, return_tensors="pt"
        )
        given = {one: given[one] for one in wanted}
        found = session.run(None, {one: tensor.numpy() for one, tensor in given.items()})
        with torch.no_grad():
            right = network.model(**given)
        for output, array in zip(session.get_outputs(), found, strict=True):
            apart = (right[output.name] - torch.from_numpy(array)).abs()
            if kind in ("span", "mlm"):
                apart = apart[given["attention_mask"].bool()]
            assert float(apart.max()) <= 1e-4


def test_every_zero_of_the_network_is_in_the_file(trained: Trained, tmp_path: Path) -> None:
    net, data, network = trained("bert", "classification")
    file = tmp_path / "model.onnx"
    made = tombola.export(net, task="sentiment", data=data, output=file)
    held = {one.name: to_array(one) for one in onnx.load(str(file)).graph.initializer}
    matrices = scope_parameters(network.model, "encoder")
    for name, weight in matrices.items():
        array = torch.from_numpy(held[f"bert.{name}"].copy())
        assert torch.equal(array.view(torch.int32), weight.detach().view(torch.int32))
    size = sum(weight.numel() for weight in matrices.values())
    assert (made.zeros, made.weights) == (round(0.7 * size), size)


def test_what_train_wrote_needs_no_name_of_its_task(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    ticket = tombola.one_shot(str(tiny), sparsity="0.7")
    net, store = tmp_path / "net", str(tmp_path / "store")
    tombola.train(ticket, task="sentiment", data=reviews, output=net, store=store, epochs=1)
    made = tombola.export(net, data=reviews, output=net / "model.onnx", examples=None)
    assert made.zeros == ticket.mask.pruned
    assert made.examples == 24


def test_a_network_of_own_data_knows_its_task_and_its_rows(tiny: Path, tmp_path: Path) -> None:
    rows = [f"a {'good' if n % 2 else 'bad'} film {'the ' * n},{n % 2}" for n in range(8)]
    (tmp_path / "films").mkdir()
    for split in ("train", "dev", "test"):
        (tmp_path / "films" / f"{split}.csv").write_text("\n".join(["body,stars", *rows]))
    ticket, net = tombola.one_shot(str(tiny), sparsity="0.7"), tmp_path / "net"
    tombola.train(
        ticket,
        task=f"csv:{tmp_path / 'films'}",
        text_columns=["body"],
        label_column="stars",
        epochs=1,
        min_steps=1,
        store=str(tmp_path / "store"),
        output=net,
    )
    task, place = exporting._task(ExportSpec(), str(net), None, TaskSpec())
    assert (task.texts, task.label, task.labels) == (("body",), "stars", ("0", "1"))
    assert place == str(tmp_path / "films")
    scored = load_scored(str(net), 4, None)
    assert isinstance(scored, Scored)
    assert (scored.split, len(scored.examples)) == ("dev", 4)


def test_a_ticket_is_exported_with_the_head_of_its_network(
    trained: Trained, tmp_path: Path
) -> None:
    net, data, network = trained("bert", "classification")
    ticket = tombola.one_shot(str(net), sparsity="0.8")
    made = tombola.export(ticket, task="sentiment", data=data, output=tmp_path / "a.onnx")
    assert made.zeros == ticket.mask.pruned
    bare = tombola.one_shot(str(tmp_path / "bare"), sparsity="0.8")
    with pytest.raises(ModelError, match=r"trained on 'sentiment' .* lack its head"):
        tombola.export(bare, task="sentiment", data=data, output=tmp_path / "b.onnx")
    with torch.no_grad():
        next(iter(scope_parameters(network.model, "encoder").values())).add_(1)
    network.model.save_pretrained(net)
    with pytest.raises(TicketError, match="found in a network with fingerprint"):
        tombola.export(ticket, task="sentiment", data=data, output=tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md", "beside", "a"])
def test_a_file_of_the_network_is_never_written_over(
    name: str, trained: Trained, tmp_path: Path
) -> None:
    net, data, _ = trained("bert", "classification")
    before = {path: path.read_bytes() for path in net.iterdir()}
    with pytest.raises(SpecError, match=r"a file that ends in \.onnx, got"):
        tombola.export(net, task="sentiment", data=data, output=net / name)
    assert {path: path.read_bytes() for path in net.iterdir()} == before


def test_nothing_is_written_through_a_link_next_to_the_file(
    trained: Trained, tmp_path: Path
) -> None:
    net, data, _ = trained("bert", "classification")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"expected to write config\.json next to"):
        tombola.export(net, task="sentiment", data=data, output=tmp_path / "o" / "m.onnx")
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "o" / "m.onnx").exists()


@pytest.mark.parametrize("fault", ["weights", "zeros"])
def test_a_file_that_is_not_the_network_gets_no_name(
    fault: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, data, _ = trained("bert", "classification")
    write = onnx_file.write_onnx

    def wrongly(network: Any, inputs: Any, place: Path) -> None:
        weight = next(iter(scope_parameters(network, "encoder").values()))
        kept, before = weight.detach() != 0, weight.detach().clone()
        with torch.no_grad():
            weight.add_(kept * 0.5 if fault == "weights" else ~kept * 1e-9)
        write(network, inputs, place)
        with torch.no_grad():
            weight.copy_(before)

    monkeypatch.setattr(exporting, "write_onnx", wrongly)
    with pytest.raises(ModelError, match=r"within 0.0001 of its own|zeros in bert.* got 0\."):
        tombola.export(net, task="sentiment", data=data, output=tmp_path / "o" / "m.onnx")
    assert not (tmp_path / "o").exists()


def test_a_network_that_torch_cannot_export_is_refused_in_one_line(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, data, network = trained("bert", "classification")
    encoder: Any = type(network.model.base_model.encoder)
    forward = encoder.forward

    def branches(self: Any, hidden: Any, *rest: Any, **named: Any) -> Any:
        if float(hidden.sum()) > 0:
            hidden = hidden + 1
        return forward(self, hidden, *rest, **named)

    monkeypatch.setattr(encoder, "forward", branches)
    with pytest.raises(ModelError, match="that torch exports to ONNX, got BertFor") as caught:
        tombola.export(net, task="sentiment", data=data, output=tmp_path / "m.onnx")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "m.onnx").exists()


def test_a_full_disk_is_not_taken_for_a_network_that_torch_cannot_export(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    net, data, _ = trained("bert", "classification")
    monkeypatch.setattr(torch.onnx.ONNXProgram, "save", full)
    with pytest.raises(OutputError, match=r"m\.onnx, got: No space left on device\. Free some"):
        tombola.export(net, task="sentiment", data=data, output=tmp_path / "m.onnx")


def test_the_command_says_what_it_wrote_and_refuses_in_one_line(
    trained: Trained, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, data, _ = trained("bert", "classification")
    command = ["export", net, "--task", "sentiment", "--data", data, "--output"]
    status, shown, errors = cli(*command, "out/model.onnx")
    assert (status, errors) == (0, "")
    assert "differ by" in shown
    assert "2,509 of 3,584 weights" in shown
    assert cli(*command, "out/model.onnx")[0] == 0  # again, over itself
    assert (
        cli(*command, net / "model.onnx", "--examples", "all")[0] == 0
    )  # next to the network's own files
    Path("other").mkdir()
    Path("other/config.json").write_text("{}")
    assert "another file of that name" in refusal(cli(*command, "other/model.onnx"))
    assert "Pass --task." in refusal(cli("export", net, "--output", "a.onnx"))
    assert "lack its head" in refusal(
        cli("export", net, "--task", "gloss-span", "--output", "a.onnx")
    )
    assert "Leave model out" in refusal(cli(*command, "a.onnx", "--model", "mini"))
    refusal(cli(*command, ""))
    for few in ("0", "-1"):
        assert "or ask for all" in refusal(cli(*command, "a.onnx", "--examples", few))
    assert sorted(path.name for path in Path().iterdir()) == ["other", "out"]
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install onnx onnxruntime onnxscript" in refusal(cli(*command, "a.onnx"))
