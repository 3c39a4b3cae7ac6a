"""`precision: auto` goes by the instruction set alone."""

from pathlib import Path

import pytest
import torch

from tombola.kernel import processor
from tombola.kernel.native_bf16 import fast_precision

AVX2 = "fpu sse4_2 avx avx2 fma"


def set_processor(
    flags: str, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "flags\t\t"
) -> None:
    """Give this machine a processor with some flags, twice, and no GPU."""
    core = f"processor\t: 0\nvendor_id\t: Any\n{name}: {flags}\nvmx flags\t: vnmi amx_bf16\n"
    (folder / "cpuinfo").write_text(f"{core}\n{core}\n")
    monkeypatch.setattr(processor, "CPUINFO", folder / "cpuinfo")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        (AVX2, "fp32"),
        (f"{AVX2} avx512f avx512_vnni", "fp32"),
        (f"{AVX2} avx512f avx512_bf16", "bf16"),
        (f"{AVX2} amx_tile amx_int8", "fp32"),
        (f"{AVX2} avx512f amx_tile amx_bf16", "bf16"),
    ],
)
def test_a_processor_is_known_by_its_instructions(
    flags: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_processor(flags, tmp_path, monkeypatch)
    assert fast_precision() == precision


def test_a_processor_that_nobody_measured_takes_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_processor("fp asimd bf16", tmp_path, monkeypatch, name="Features\t")
    assert fast_precision() == "fp32"
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert fast_precision() == "fp32"


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ([(7, 5)], "fp32"),
        ([(8, 0)], "bf16"),
        ([(9, 0), (9, 0)], "bf16"),
        ([(9, 0), (7, 0)], "fp32"),  # results of one plan have one precision
    ],
)
def test_gpus_are_known_by_their_compute_capability(
    capabilities: list[tuple[int, int]],
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_processor(f"{AVX2} amx_bf16", tmp_path, monkeypatch)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", capabilities.__getitem__)
    assert fast_precision() == precision


def test_another_accelerator_takes_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_processor(f"{AVX2} amx_bf16", tmp_path, monkeypatch)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert fast_precision() == "fp32"
