"""Masks only shrink, equal work is done once, and who is stopped goes on to the same bits."""

import json
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tombola import specs
from tombola.errors import OutputError, SpecError
from tombola.lab.bench import Bench, Watch
from tombola.lab.runs import FILES, Run, Runs
from tombola.lab.search import CONTROLS, Search, evaluate, find, overlap, summary, verdict
from tombola.specs import EvaluateSpec, FindSpec, TrainSpec
from tombola.study.matching import FIXED_TICKET, SEARCH, THIS_RUN
from tombola.task.tasks import load_task
from tombola.task.train import fit
from tombola.ticket.init import INITS
from tombola.ticket.mask import Mask, jaccard
from tombola.ticket.prune import keep_top
from tombola.ticket.schedule import dead_count

D = Decimal
SPEC = FindSpec(sparsity=D("0.63"), step=D("0.3"), seeds=(5,))
SHORT = replace(SPEC, sparsity=D("0.6"), controls=("random", "shuffle"))
PATH = (D("0.3"), D("0.6"), D("0.63"))


class Recorder(Watch):
    """Remembers what it is told, and stops everything at a step if it is asked to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.steps = stop_at, 0
        self.planned: list[tuple[int, int]] = []
        self.started: list[str] = []
        self.kept: dict[str, bool] = {}

    def plan(self, trainings: int, steps: int) -> None:
        self.planned.append((trainings, steps))

    def start(self, name: str) -> None:
        self.started.append(name)

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.stop_at:
            raise KeyboardInterrupt

    def finish(self, name: str, score: float, *, kept: bool) -> None:
        self.kept[name] = kept


@pytest.fixture(scope="module")
def bench(tiny: Path, reviews: Path) -> Bench:
    recipe = TrainSpec(epochs=1, batch_size=16, learning_rate=1e-2, max_length=30)
    return Bench.open(str(tiny), load_task("sentiment"), recipe, scope="encoder", folder=reviews)


@pytest.fixture(scope="module")
def watch() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("search") / "all", {"kind": "test"})


@pytest.fixture(scope="module")
def search(bench: Bench, runs: Runs, watch: Recorder) -> Search:
    (found,) = find(bench, SPEC, runs, watch)
    return found


def trained(bench: Bench, mask: Mask, seed: int) -> dict[str, torch.Tensor]:
    """Magnitudes of the scope after a training that goes round everything in lab."""
    bench.network.rewind(seed)
    spec = replace(bench.spec, seed=seed)
    fit(bench.network, bench.task, bench.training, mask, spec, scope="encoder")
    return {name: p.detach().abs() for name, p in bench.network.scope("encoder").items()}


# the search


def test_every_training_is_done_once_and_in_order(search: Search, watch: Recorder) -> None:
    names = ["dense", "imp-0.3", "imp-0.6", "imp-0.63", *SPEC.controls]
    assert watch.started == list(watch.kept) == [f"seed-5/{name}" for name in names]
    assert not any(watch.kept.values())
    assert watch.planned == [(9, 3)]
    assert watch.steps == 9 * 3
    assert len(search.all()) == 9


def test_masks_are_nested_and_have_exactly_the_dead_weights_asked_for(search: Search) -> None:
    assert list(search.masks) == [D(0), *PATH]
    assert tuple(search.rounds) == PATH
    for sparsity, mask in search.masks.items():
        assert mask.dead == dead_count(sparsity, mask.size)
    for before, after in pairwise(search.masks.values()):
        assert not any(bool((after[name] & ~before[name]).any()) for name in after)


def test_the_dense_training_is_the_first_round(search: Search, bench: Bench) -> None:
    magnitudes = trained(bench, bench.full, 5)
    assert search.masks[D("0.3")] == keep_top(magnitudes, bench.full, sparsity=D("0.3"))
    assert search.dense.mask == search.masks[D("0.3")]


def test_each_round_prunes_what_the_round_before_trained(search: Search, bench: Bench) -> None:
    magnitudes = trained(bench, search.masks[D("0.3")], 5)
    expected = keep_top(magnitudes, search.masks[D("0.3")], sparsity=D("0.6"))
    assert search.masks[D("0.6")] == expected


def test_a_seed_has_a_search_of_its_own(search: Search, bench: Bench, tmp_path: Path) -> None:
    spec = replace(SPEC, sparsity=D("0.3"), seeds=(6, 5), controls=())
    others = find(bench, spec, Runs(tmp_path / "out", {}), Watch())
    assert [other.seed for other in others] == [6, 5]
    assert others[1].masks[D("0.3")] == search.masks[D("0.3")]
    assert others[0].masks[D("0.3")] != search.masks[D("0.3")]
    assert np.array_equal(others[1].dense.outcome, search.dense.outcome)


# controls


def control(name: str, search: Search, bench: Bench, seed: int = 5) -> tuple[Mask, str]:
    return CONTROLS[name](bench, search.masks[D("0.63")], D("0.63"), seed)


@pytest.mark.parametrize("name", specs.CONTROLS)
def test_a_control_is_as_sparse_as_the_ticket(name: str, search: Search, bench: Bench) -> None:
    mask, init = control(name, search, bench)
    assert mask.dead == search.masks[D("0.63")].dead
    assert mask == control(name, search, bench)[0] == search.controls[name].mask
    assert init == (name if name in ("reinit", "shuffle") else "pretrained")


def test_controls_differ_in_what_they_say(search: Search, bench: Bench) -> None:
    ticket = search.masks[D("0.63")]
    masks = {name: control(name, search, bench)[0] for name in specs.CONTROLS}
    assert masks["reinit"] == masks["shuffle"] == ticket
    assert masks["layer-random"].layer_sparsities() == ticket.layer_sparsities()
    assert masks["random"].layer_sparsities() != ticket.layer_sparsities()
    for name in ("random", "layer-random"):
        assert jaccard(masks[name], ticket) < 0.6
        assert masks[name] != control(name, search, bench, seed=6)[0]
    own = {name: w.abs() for name, w in pretrained(bench).items()}
    assert masks["one-shot"] == keep_top(own, bench.full, sparsity=D("0.63"))
    assert masks["one-shot"] != ticket


def pretrained(bench: Bench) -> dict[str, torch.Tensor]:
    return {name: bench.network.pretrained[f"bert.{name}"] for name in bench.full}


def test_the_names_in_the_specs_are_those_that_are_registered() -> None:
    assert set(specs.CONTROLS) == set(CONTROLS)
    assert set(specs.INITS) == set(INITS)


def test_overlap_is_with_the_one_shot_mask_of_the_same_sparsity(
    search: Search, bench: Bench
) -> None:
    (shared,) = overlap(bench, [search], D("0.3"))
    assert shared == jaccard(search.masks[D("0.3")], bench.one_shot(D("0.3")))
    assert 0.2 < shared < 1


# verdicts


def copy(run: Run, outcome: np.ndarray[Any, Any]) -> Run:
    return replace(run, outcome=outcome, score=100 * float(np.mean(outcome[:, 0] == outcome[:, 1])))


def test_one_seed_says_something_of_this_run_only(search: Search, bench: Bench) -> None:
    right = search.dense.outcome[:, [1, 1]]
    wrong = np.stack([1 - right[:, 0], right[:, 1]], axis=1)
    good, bad = copy(search.dense, right), copy(search.dense, wrong)
    for dense, ticket, status in ((good, bad, "not matching"), (bad, good, "matching")):
        said = verdict(bench, [dense], [ticket], D("0.63"), fixed=False)
        assert (said.status, said.estimand, said.seeds) == (status, THIS_RUN, 1)
        assert said.sparsity == D("0.63")
        assert said.margin == bench.task.margin
        assert said == verdict(bench, [dense], [ticket], D("0.63"), fixed=True)


@pytest.mark.parametrize(("fixed", "estimand"), [(False, SEARCH), (True, FIXED_TICKET)])
def test_several_seeds_are_paired(search: Search, bench: Bench, fixed: bool, estimand: str) -> None:
    dense = [replace(search.dense, score=score) for score in (60.0, 80.0)]
    ticket = [replace(search.dense, score=score) for score in (61.0, 81.0)]
    said = verdict(bench, dense, ticket, D("0.63"), fixed=fixed)
    assert (said.status, said.estimand, said.seeds) == ("matching", estimand, 2)
    assert said.interval == (1.0, 1.0)


def test_a_spread_takes_two_runs(search: Search) -> None:
    runs = [replace(search.dense, score=score) for score in (60.0, 62.0)]
    assert summary(runs[:1]) == {"values": [60.0], "mean": 60.0, "std": None}
    assert summary(runs) == {"values": [60.0, 62.0], "mean": 61.0, "std": 2**0.5}


# evaluation


def test_a_ticket_is_evaluated_beside_dense_with_each_seed(
    search: Search, bench: Bench, tmp_path: Path
) -> None:
    mask, watch = search.masks[D("0.63")], Recorder()
    spec = EvaluateSpec(seeds=(5, 6))
    dense, masked = evaluate(bench, mask, spec, Runs(tmp_path / "out", {}), watch)
    assert watch.started == [
        f"seed-{seed}/{what}" for seed in (5, 6) for what in ("dense", "ticket")
    ]
    assert watch.planned == [(4, 3)]
    assert np.array_equal(dense[0].outcome, search.dense.outcome)
    assert np.array_equal(masked[0].outcome, search.rounds[D("0.63")].outcome)
    assert len(dense) == len(masked) == 2


def test_an_evaluation_starts_from_what_it_is_told(
    search: Search, bench: Bench, tmp_path: Path
) -> None:
    mask = search.masks[D("0.63")]
    for init in ("reinit", "shuffle"):
        spec = EvaluateSpec(seeds=(5,), init=init)
        _, (masked,) = evaluate(bench, mask, spec, Runs(tmp_path / init, {}), Watch())
        assert np.array_equal(masked.outcome, search.controls[init].outcome)


# what is kept


def test_a_run_survives_its_folder(search: Search, runs: Runs) -> None:
    kept = runs.load("seed-5/imp-0.3", search.dense.mask.shapes)
    assert kept is not None
    mine = search.rounds[D("0.3")]
    assert np.array_equal(kept.outcome, mine.outcome)
    assert kept.mask == mine.mask == search.masks[D("0.6")]
    assert (kept.score, kept.facts) == (mine.score, mine.facts)
    assert runs.load("seed-6/imp-0.3", search.dense.mask.shapes) is None
    assert kept.facts.keys() >= {"steps", "tokens", "summed_learning_rate", "seconds", "numerics"}


def test_a_resample_of_a_run_is_scored_like_the_whole(search: Search, bench: Bench) -> None:
    score = bench.score(search.dense)
    assert score(np.arange(24)) == search.dense.score
    hits = search.dense.outcome[:, 0] == search.dense.outcome[:, 1]
    numbers = np.array([3, 3, int(np.argmax(hits)), int(np.argmin(hits))])
    assert score(numbers) == 100 * hits[numbers].mean()


def content(folder: Path) -> dict[str, Any]:
    """File -> bytes; of run.json everything but the times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder))
            found[name] = path.read_bytes()
            if path.name == "run.json":
                facts = json.loads(path.read_text())
                found[name] = {k: v for k, v in facts.items() if "seconds" not in k}
    return found


@pytest.fixture(scope="module")
def undisturbed(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("search") / "undisturbed"
    find(bench, SHORT, Runs(folder, {"kind": "test"}), Watch())
    return content(folder)


@pytest.mark.parametrize(("stop_at", "finished"), [(2, 0), (4, 1), (14, 4)])
def test_who_is_stopped_goes_on_to_the_same_bits(
    stop_at: int, finished: int, bench: Bench, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        find(bench, SHORT, Runs(folder, {"kind": "test"}), Recorder(stop_at))
    left = content(folder)
    assert len(left) == 1 + finished * len(FILES)
    assert left.items() <= undisturbed.items()
    bench.network.rewind(99)
    torch.manual_seed(99)
    again = Recorder()
    find(bench, SHORT, Runs(folder, {"kind": "test"}), again)
    assert list(again.kept.values()) == [True] * finished + [False] * (5 - finished)
    assert again.steps == (5 - finished) * 3
    assert content(folder) == undisturbed


def test_what_is_finished_is_not_done_again(search: Search, bench: Bench, runs: Runs) -> None:
    before, again = content(runs.folder), Recorder()
    (found,) = find(bench, SPEC, Runs(runs.folder, {"kind": "test"}), again)
    assert again.started == []
    assert all(again.kept.values())
    assert len(again.kept) == 9
    assert content(runs.folder) == before
    assert found.masks == search.masks


def test_runs_of_different_arithmetic_are_not_compared(bench: Bench, tmp_path: Path) -> None:
    spec = replace(SPEC, sparsity=D("0.3"), controls=())
    find(bench, spec, Runs(tmp_path / "out", {}), Watch())
    file = tmp_path / "out" / "runs" / "seed-5" / "dense" / "run.json"
    facts = json.loads(file.read_text())
    facts["numerics"]["threads"] = 77
    file.write_text(json.dumps(facts))
    with pytest.raises(SpecError, match="but threads is 77 in run 1"):
        find(bench, spec, Runs(tmp_path / "out", {}), Watch())


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"train": {"epochs": 2.0}, "seeds": [0]}, "its epochs is 1.0, asked for 2.0"),
    ({"train": {"epochs": 1.0, "warmup": 0.1}, "seeds": [0]}, "its warmup is the default, asked"),
    ({"train": {}, "seeds": [0]}, "its epochs is 1.0, asked for the default"),
    ({"train": {"epochs": 1.0}, "seeds": [0, 1]}, r"its seeds is \[0\], asked for \[0, 1\]"),
]


@pytest.mark.parametrize(("wanted", "message"), OTHERS)
def test_a_folder_belongs_to_one_experiment(
    wanted: dict[str, Any], message: str, tmp_path: Path
) -> None:
    mine = {"train": {"epochs": 1.0}, "seeds": [0]}
    Runs(tmp_path / "out", mine)
    before = content(tmp_path)
    with pytest.raises(OutputError, match=f"holds another experiment: {message}") as caught:
        Runs(tmp_path / "out", wanted)
    assert "\n" not in str(caught.value)
    assert content(tmp_path) == before
    assert Runs(tmp_path / "out", mine).load("seed-0/dense", {}) is None


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "runs/seed-0/notes.txt"])
def test_a_folder_with_something_else_is_refused_and_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = content(tmp_path)
    with pytest.raises(OutputError, match="holds something else"):
        Runs(tmp_path, {})
    assert content(tmp_path) == before


def test_a_file_is_no_place_for_results(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        Runs(tmp_path / "out", {})
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_description_is_told_in_one_line(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_bytes(text)
    with pytest.raises(OutputError, match=r"experiment\.json.*got no JSON object") as caught:
        Runs(tmp_path, {})
    assert "\n" not in str(caught.value)
    assert (tmp_path / "experiment.json").read_bytes() == text
