"""A network under its ticket is measured next to other ways to run it, by turns."""

import json
import sys
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import tombola
from command_line import Cli, refusal
from tombola.api.bench.comparison import Shape
from tombola.api.bench.timing import Timing, times, timings
from tombola.base.errors import SpecError, TicketError
from tombola.ship.compiled.runtimes import RUNTIMES, BenchedNetwork, Runnable, Runtime

QUICK: dict[str, Any] = {"batch_sizes": [2], "lengths": [4], "rounds": 3}
pytestmark = pytest.mark.filterwarnings("ignore:the C extension of tombola")


@pytest.fixture(scope="module")
def trained(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network that was trained under a ticket."""
    folder = tmp_path_factory.mktemp("bench")
    ticket, net = tombola.one_shot(str(tiny), sparsity="0.9"), folder / "net"
    store = str(folder / "store")
    tombola.train(ticket, task="sentiment", data=reviews, output=net, store=store, epochs=1)
    return net


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sparse runtimes without the C extension; the tokens that each network was made for."""
    made: list[int] = []

    def make(subject: BenchedNetwork, tokens: int) -> Runnable:
        made.append(tokens)
        return Runnable(subject.model, 8)

    for name in RUNTIMES:
        if name.startswith("sparse"):
            changed = Runtime(make, uses_ticket=True)
            monkeypatch.setitem(RUNTIMES._registered, name, changed)
    return made


def test_a_trained_network_is_timed_weighed_and_scored(
    trained: Path, reviews: Path, stand_ins: list[int]
) -> None:
    found = tombola.bench(trained, data=reviews, batch_sizes=[1, 2], lengths=[4, 8], rounds=3)
    names = {*RUNTIMES}
    shapes = [(one.batch_size, one.length) for one in found.shapes]
    assert shapes == [(1, 4), (1, 8), (2, 4), (2, 8)]
    for shape in found.shapes:
        assert shape.timings.keys() == found.megabytes.keys() == found.scores.keys() == names
        assert {one.rounds for one in shape.timings.values()} == {3}
        assert shape.timings["dense fp32"].times_as_fast == 1
    assert found.megabytes["dense bf16"] == found.megabytes["dense fp32"] / 2
    assert found.megabytes["torch int8"] < found.megabytes["dense fp32"]
    assert found.scored == {
        "task": "sentiment",
        "metric": "accuracy",
        "split": "test",
        "examples": 24,
    }
    assert found.scores["dense fp32"] == found.scores["ONNX Runtime"] == found.scores["sparse fp32"]
    assert 0 <= found.scores["torch int8"] <= 100
    assert found.notes == []
    assert found.megabytes["shrunk fp32"] < found.megabytes["dense fp32"]
    assert stand_ins == [n for n in (4, 8, 8, 16) for _ in range(3)]
    assert {"torch", "transformers", "onnxruntime"} <= found.machine["versions"].keys()
    assert json.loads(json.dumps(found.to_json()))["lost"] == found.lost


def test_a_ticket_is_run_on_its_network_and_what_is_missing_is_a_note(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, stand_ins: list[int]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ticket = tombola.one_shot(str(tiny), sparsity="0.9")
    chosen = ["dense bf16", "ONNX Runtime", "sparse fp32"]
    threads = torch.get_num_threads()
    found = tombola.bench(ticket, runtimes=chosen, threads=2, **QUICK)
    assert [*found.shapes[0].timings] == [*found.megabytes] == ["dense bf16", "sparse fp32"]
    assert found.scores == {}
    assert found.sparsity == Decimal("0.9")
    assert found.machine["threads"] == 2
    assert torch.get_num_threads() == threads
    first, second = found.notes
    assert first.startswith("a ticket has no trained head to score")
    assert second.startswith("ONNX Runtime is left out: ")
    assert "pip install onnx onnxruntime onnxscript" in second
    with pytest.raises(SpecError, match="a runtime that works here, got none: ONNX Runtime is"):
        tombola.bench(ticket, runtimes=["ONNX Runtime"], **QUICK)


def test_a_runtime_that_fails_on_a_network_is_a_note(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> dict[str, Any]:
        raise RuntimeError("no kernel\nfor this")

    broken = Runtime(lambda subject, tokens: Runnable(fail, 0))
    monkeypatch.setitem(RUNTIMES._registered, "torch int8", broken)
    ticket = tombola.one_shot(str(tiny), sparsity="0.5")
    found = tombola.bench(ticket, runtimes=["dense fp32", "torch int8"], **QUICK)
    assert [*found.megabytes] == ["dense fp32"]
    said = "torch int8 is left out: it fails on this network: RuntimeError, no kernel."
    assert found.notes[-1] == said


def test_each_round_calls_every_network_once_and_in_another_order() -> None:
    called: list[str] = []

    def call(name: str) -> dict[str, Any]:
        called.append(name)
        return {}

    runnables = {name: Runnable(partial(call, name), 0) for name in "abc"}
    found = times(runnables, {}, rounds=4, seconds=60)
    assert "".join(called) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(each) for name, each in found.items()} == dict.fromkeys("abc", 4)
    ticks = iter(range(1000))
    found = times(runnables, {}, rounds=9, seconds=0, clock=lambda: float(next(ticks)))
    assert found == {name: [1.0, 1.0, 1.0] for name in "abc"}


def test_speed_is_the_median_ratio_of_calls_in_the_same_round() -> None:
    found = timings({"a": [1.0, 2.0, 4.0], "b": [0.5, 1.0, 4.0]}, tokens=10, first="a")
    assert found["a"].median_ms == 2000
    assert found["a"].p95_ms == pytest.approx(3800)
    assert found["a"].times_as_fast == 1
    assert found["b"].times_as_fast == 2
    assert found["b"].tokens_per_second == 10
    assert found["b"].rounds == 3


def test_it_says_where_the_ticket_does_not_win() -> None:
    rest: dict[str, Any] = {"p95_ms": 9.0, "tokens_per_second": 9.0, "times_as_fast": 1.0}
    slow, fast = (Timing(median_ms=ms, rounds=3, **rest) for ms in (3.0, 1.5))
    lost = Shape(batch_size=1, length=16, timings={"dense bf16": fast, "sparse int8": slow})
    assert lost.lost == "1 text of 16 tokens: dense bf16 is 2.00 times as fast as sparse int8"
    assert Shape(batch_size=1, length=16, timings={"sparse fp32": slow}).lost is None
    won = {"dense fp32": slow, "dense bf16": slow, "sparse int8": slow, "sparse fp32": fast}
    assert Shape(batch_size=1, length=16, timings=won).lost is None
    assert Shape(batch_size=1, length=16, timings={"dense fp32": slow}).lost is None


def test_the_command_line_shows_the_same(
    cli: Cli, trained: Path, reviews: Path, stand_ins: list[int]
) -> None:
    flags = ["--batch-sizes", 1, "--lengths", "4", "--rounds", 3, "--data", reviews]
    flags += ["--runtimes", "dense fp32,sparse bf16"]
    status, output, _ = cli("bench", trained, *flags)
    assert status == 0
    for wanted in ("sparsity   90 %", "1 x 4 tokens", "times dense fp32", "sparse bf16", "score"):
        assert wanted in output
    status, output, _ = cli("bench", trained, *flags, "--json", "-")
    assert status == 0
    assert json.loads(output)["shapes"][0]["length"] == 4


def test_what_cannot_be_measured_is_refused_in_one_line(
    cli: Cli, trained: Path, tiny: Path, tmp_path: Path
) -> None:
    for flag, value, said in (
        ("--lengths", "4,4", "lengths must be distinct integers of 1 or more, got (4, 4)"),
        ("--batch-sizes", "0", "--batch-sizes must be distinct integers of 1 or more, got (0,)"),
        ("--rounds", "2", "rounds must be 3 or more, got 2"),
        ("--seconds", "0", "seconds must be above 0, got 0"),
        ("--threads", "0", "threads must be 1 or more, got 0"),
        ("--examples", "-1", "examples must be 0, for none, or more, got -1"),
        ("--batch-sizes", "9999999", "at most 1,048,576 tokens in a call"),
        (
            "--runtimes",
            "dense fp23",
            "no runtime 'dense fp23'. Did you mean 'dense fp32'?",
        ),
        ("--lengths", "9999", "expected lengths of at most "),
        ("--model", tiny, "model names the network of a ticket"),
    ):
        assert said in refusal(cli("bench", trained, flag, value))
    with pytest.raises(TicketError, match="expected a trained network with a folder 'ticket' in"):
        tombola.bench(tmp_path)
