"""The command line on a card: a plan, a search, workers that share it, and ranks."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trainings import DEVICE, needs_card

from command_line import Cli, find_command, refusal
from tombola.lab.store.artifacts import read_mask
from tombola.lab.store.result_store import Store
from tombola.ticket.mask import jaccard

pytestmark = pytest.mark.cuda

PLAN = """
version: 1
about: Masks of weights that no training has changed.
model: {model}
seeds: [0]
train: {{epochs: 1, batch_size: 8, train_limit: 32, test_limit: 32, max_length: 32}}
tasks: [sentiment]
arms:
  single: {{kind: one-shot, sparsity: [0.25, 0.5]}}
  units: {{kind: one-shot, sparsity: 0.5, structure: heads-and-neurons}}
  pattern: {{kind: one-shot, sparsity: 0.5, structure: "2:4"}}
  sensitive: {{kind: snip, sparsity: 0.5}}
  drawn: {{kind: control, of: single, names: [random, layer-random, random-init], sparsity: 0.5}}
"""


LONGEST = 300.0
"""Seconds of a command, after which it hangs."""


def answer(*argv: object, folder: Path, **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command in a process and a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tombola", *map(str, argv)],
        cwd=folder,
        env={**os.environ, "COLUMNS": "140", **environment},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def tombola(*argv: object, folder: Path, **environment: str) -> str:
    """What a command prints that ends well."""
    status, printed, errors = answer(*argv, folder=folder, **environment)
    assert status == 0, errors
    return printed


def results(folder: Path) -> dict[str, Any]:
    """Key -> result of every job in a store."""
    store = Store(folder)
    return {key: store.read(key) for key in sorted(store.keys())}


def test_the_quick_plan_runs_and_has_a_table(tmp_path: Path) -> None:
    printed = tombola("run", "quick", "--store", "store", folder=tmp_path)
    assert "sentiment" in printed
    found = results(tmp_path / "store")
    trained = [result for result in found.values() if result.kind == "train"]
    assert len(trained) > 20
    assert {result.numerics["device"] for result in trained} == {DEVICE}
    assert all(result.facts["diverged"] is None for result in trained)
    assert printed.count(" 1/1 ") > 30
    assert " 0/1 " not in printed
    tombola("run", "quick", "--store", "store", folder=tmp_path)
    assert results(tmp_path / "store") == found


def test_masks_of_the_same_weights_are_those_of_a_cpu(tiny: Path, tmp_path: Path) -> None:
    """All to the bit, but for SNIP's, whose gradients are rounded in other places."""
    (tmp_path / "plan.yaml").write_text(PLAN.format(model=tiny), encoding="utf-8")
    tombola("run", "plan.yaml", "--store", "here", folder=tmp_path)
    tombola("run", "plan.yaml", "--store", "there", folder=tmp_path, CUDA_VISIBLE_DEVICES="")
    here, there = results(tmp_path / "here"), results(tmp_path / "there")
    assert here.keys() == there.keys()
    masks = [key for key, result in here.items() if result.kind == "prune"]
    snip = [key for key in masks if here[key].job_spec.scores == "snip"]
    for key in {*masks} - {*snip}:
        assert here[key].facts == there[key].facts, here[key].label
    assert len(masks) - len(snip) >= 6
    assert len(snip) == 1
    ours, theirs = (read_mask(Store(tmp_path / name), snip[0]) for name in ("here", "there"))
    assert ours.pruned == theirs.pruned
    assert jaccard(ours, theirs) > 0.99


@pytest.fixture
def without_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches draw nothing, so that no library for figures is needed."""
    stand_in = SimpleNamespace(save=lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "tombola.report.figures.score_curve", stand_in)
    monkeypatch.setattr("tombola.report.figures.score_curve", stand_in, raising=False)


@pytest.mark.usefixtures("without_figure")
def test_workers_share_a_card(cli: Cli, tiny: Path, reviews: Path) -> None:
    command = find_command(tiny, reviews)
    more = ["--seeds", "0,1,2", "--workers", 2, "--store", "store", "--output", "out"]
    status, printed, errors = cli(*command, *more)
    assert status == 0, errors
    assert printed
    found = [one for one in results(Path("store")).values() if one.kind == "train"]
    assert len(found) == 6
    assert {one.numerics["device"] for one in found} == {DEVICE}
    assert len([*Path("out").glob("ticket-seed-*")]) == 3


@needs_card("workers share the memory of a card")
def test_workers_make_the_bits_of_one_process_and_a_dry_run_says_how_many_fit(
    tiny: Path, tmp_path: Path
) -> None:
    plan = PLAN.format(model=tiny).partition("arms:")[0] + "arms: {whole: {kind: dense}}\n"
    (tmp_path / "plan.yaml").write_text(plan.replace("[0]", "[0, 1, 2]"), encoding="utf-8")
    one = ["run", "plan.yaml", "--threads", 1]
    printed = tombola(*one, "--dry-run", folder=tmp_path)
    assert re.search(r"\ngpu +about \d+ MiB a training, so \d+ at once on ", printed), printed
    tombola(*one, "--store", "alone", folder=tmp_path)
    tombola(*one, "--store", "shared", "--workers", 3, folder=tmp_path)
    alone, shared = results(tmp_path / "alone"), results(tmp_path / "shared")
    assert len(alone) == 3
    for key, result in alone.items():
        assert shared[key].files == result.files
        assert shared[key].facts["weights"] == result.facts["weights"]
        assert 0 < shared[key].facts["gpu_memory"] < 1 << 30


def test_two_processes_train_together_or_are_refused_in_one_line(
    tiny: Path, tmp_path: Path
) -> None:
    plan = PLAN.format(model=tiny).partition("arms:")[0] + "arms: {whole: {kind: dense}}\n"
    (tmp_path / "plan.yaml").write_text(plan, encoding="utf-8")
    more = ["--processes", 2, "--threads", 1, "--store", "store"]
    got = answer("run", "plan.yaml", *more, folder=tmp_path)
    if torch.cuda.device_count() == 1:
        line = got[2].splitlines(keepends=True)[-1]
        assert refusal((*got[:2], line)).startswith("expected a GPU for each of 2 processes, got 1")
        assert not results(tmp_path / "store")
        return
    assert got[0] == 0, got[2]
    (found,) = results(tmp_path / "store").values()
    assert found.numerics["processes"] == 2
