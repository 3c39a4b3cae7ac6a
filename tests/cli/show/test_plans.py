"""What a plan takes, as a terminal shows it."""

from dataclasses import replace

import pytest
from rich.console import Console

from tombola.cli.show.plans import show_estimate
from tombola.lab.run.cost_estimate import CostEstimate, GpuEstimate

COST = CostEstimate(kinds={"prunings": 2}, stored=1, shared=0, seconds=90, disk=0, weights=0)
GPU = GpuEstimate(memory=3 << 30, size=80 << 30, fitting=20, gpus=1)


def shown(found: CostEstimate) -> list[str]:
    console = Console(width=100)
    with console.capture() as captured:
        show_estimate(found, console)
    return captured.get().splitlines()


@pytest.mark.parametrize(("gpus", "each"), [(1, "a GPU"), (2, "each of 2 GPUs")])
def test_an_estimate_says_how_many_trainings_share_a_gpu(gpus: int, each: str) -> None:
    *others, last = shown(replace(COST, gpu=replace(GPU, gpus=gpus)))
    assert (
        last
        == f"gpu      about 3.0 GiB a training, so 20 at once on {each} of 80.0 GiB (--workers)"
    )
    assert others == shown(COST)


def test_less_than_a_gib_is_shown_in_mib() -> None:
    *_, last = shown(replace(COST, gpu=replace(GPU, memory=44 << 20, fitting=76)))
    assert "about 44 MiB a training, so 76 at once" in last
