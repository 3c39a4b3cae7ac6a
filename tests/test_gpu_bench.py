"""The benchmark of a card, on a CPU and as far as that goes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def row(tmp_path: Path) -> Any:
    from card.rows import Row, keep_large

    keep_large(tmp_path / "network", small=True)
    network = str(tmp_path / "network")
    return Row(network, "fp32", epoch=3, warm=1, profiled=1, texts=2, length=8)


def test_both_sides_train_on_the_same_tokens_and_are_compared(row: Any) -> None:
    from card.report import page, ratios
    from card.sides import ours, plain, trainer

    sides: dict[str, Any] = {"ours": ours(row), "trainer": trainer(row), "plain": plain(row)}
    assert sides["ours"]["tokens"] == sides["trainer"]["tokens"] == 3 * 2 * 8
    assert len(sides["ours"]["seconds"]) == len(sides["trainer"]["seconds"]) == 3
    assert sides["ours"]["profile"]["steps"] == sides["trainer"]["profile"]["steps"] == 1
    found: dict[str, Any] = {
        "machine": {"matmul_tflops": {"fp32": 1.0}},
        "rows": {"BERT-base fp32": sides, "mini fp32": {"ours": None, "trainer": None}},
        "seeds": {"1 worker": None},
        "failed": {"mini fp32, ours": "Traceback\nValueError: no"},
    }
    found["ratios"] = ratios(found)
    large = found["ratios"]["BERT-base fp32"]
    tokens = [sides[side]["tokens_a_second"] for side in ("ours", "trainer")]
    assert large["ours / trainer"] == tokens[0] / tokens[1]
    assert 0 < large["ours, of_rate_done"] < large["ours, of_rate"]
    assert found["ratios"]["mini fp32"] == {}
    assert "mini fp32, ours: ValueError: no" in page(found)


def test_the_operations_of_a_step_are_those_of_its_products(row: Any) -> None:
    from card.rows import operations

    width, inner, blocks, tokens = 64, 256, 2, 2 * 8
    linear = 6 * blocks * (4 * width**2 + 2 * width * inner) * tokens
    attention = 12 * blocks * row.length * width * tokens
    assert operations(row, skipping=False) == linear + attention
    longer = replace(row, length=16)
    assert operations(longer, skipping=False) == 2 * linear + 4 * attention


def test_waits_and_kernels_are_counted_apart() -> None:
    from card.report import kernel_table
    from card.watch import Event, seen

    def events() -> Iterator[Any]:
        for _ in range(2):
            yield Event("CPU", "cudaStreamSynchronize", 5.0)
            yield Event("CPU", "cudaLaunchKernel", 5.0)
            yield Event("CPU", "aten::mm", 5.0)
            yield Event("CUDA", "gemm", 300.0)
            yield Event("CUDA", "gelu", 100.0)
            yield Event("CUDA", "Memcpy HtoD", 10.0)
            yield Event("CUDA", "Optimizer.step", 900.0, annotation=True)

    found = seen([*events()], steps=2)
    assert (found["waits_a_step"], found["kernels_a_step"], found["launches_a_step"]) == (1, 2, 1)
    assert [one["name"] for one in found["kernels"]] == ["gemm", "gelu", "Memcpy HtoD"]
    text = kernel_table({"seconds_a_step": 0.001, "profile": found})
    assert "0.3000     30.0%     1.0  gemm" in text


def _fails() -> None:
    raise ValueError("no such\nthing")


def test_a_part_that_fails_or_comes_too_late_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from card import guard

    sent: list[Any] = []
    guard._answer(SimpleNamespace(send=sent.append), _fails, (), {})
    fine, (line, trace) = sent[0]
    assert not fine
    assert line == "ValueError: no such"
    assert "_fails" in trace
    late = guard.Guard(seconds=1.0, least=2.0, only="mini")
    assert late("mini, ours", _fails) is None
    assert late("BERT-base, ours", _fails) is None
    assert late.failed == {"mini, ours": "skipped, no time left"}
    assert capsys.readouterr().err == "mini, ours: skipped, no time left\n"


def test_without_a_card_the_benchmark_says_how_it_is_tried(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        gpu.asked([])
    assert "expected a CUDA device, got none. Use --dry-run" in capsys.readouterr().err
