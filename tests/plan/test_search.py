"""Masks only shrink, equal work is done once, and an interrupted search loses no bit."""

import dataclasses
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tombola.base import specs
from tombola.base.errors import ModelError, OutputError, SpecError
from tombola.base.specs import EvaluateSpec, FindSpec, LabSpec, TrainSpec
from tombola.finders.finder import FINDERS
from tombola.finders.imp import ImpSpec
from tombola.lab.run.engine import RunCallback, missing
from tombola.lab.run.payload import payload_for
from tombola.lab.run.runner import run_plan
from tombola.lab.run.workspace import Workspace
from tombola.lab.store.artifacts import keep_mask, read_mask, read_predictions, results
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.controls import CONTROLS
from tombola.plan.job import Job, given, one_shot
from tombola.plan.plan import Plan, transfer
from tombola.plan.search import Finding, evaluation, finding
from tombola.plan.subject import Subject
from tombola.study.results.trainings import mean_jaccard, score_summary, verdict_on_results
from tombola.study.verdicts.verdict import FIXED_TICKET, SEARCH, THIS_RUN
from tombola.tasks.task import load_task
from tombola.ticket.init import INITS
from tombola.ticket.mask import Mask, jaccard
from tombola.ticket.prune import keep_top
from tombola.ticket.schedule import pruned_count
from tombola.ticket.structures import STRUCTURES
from tombola.training.loop import fit

D = Decimal
EVERY = (*specs.DEFAULT_CONTROLS, *specs.OPTIONAL_CONTROLS)
SPEC = FindSpec(seeds=(5,), controls=EVERY)
SHORT = replace(SPEC, controls=("random", "shuffle"))
PATH = (D("0.3"), D("0.6"), D("0.63"))
RECIPE = TrainSpec(epochs=1, batch_size=16, learning_rate=1e-2, max_length=30)


def searched(subject: Subject, spec: FindSpec, sparsity: str) -> Finding:
    imp = ImpSpec(sparsity=D(sparsity), step=D("0.3"))
    return finding(
        subject, spec, imp.sparsity, lambda seed: FINDERS["imp"].search(subject, imp, seed)
    )


class Recorder(RunCallback):
    """Records what it is called with, and stops everything at a step if it is asked to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.steps = stop_at, 0
        self.kept: list[str] = []
        self.trained: list[str] = []

    def on_plan(self, todo: list[Job], done: list[Job]) -> None:
        self.kept = [job.label for job in done if job.kind == "train"]

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        self.steps += 1
        if self.steps == self.stop_at:
            raise KeyboardInterrupt

    def on_job_end(self, job: Job, result: Result) -> None:
        if job.kind == "train":
            self.trained.append(job.label)


@pytest.fixture(scope="module")
def subject(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    known = SubjectFactory(tmp_path_factory.mktemp("known"))
    return known.subject(
        str(tiny), load_task("sentiment"), RECIPE, scope="encoder", folder=str(reviews)
    )


@pytest.fixture(scope="module")
def jobs(subject: Subject) -> Finding:
    return searched(subject, SPEC, "0.63")


@pytest.fixture(scope="module")
def callback() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def store(jobs: Finding, callback: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which the search is done."""
    return done(jobs.plan, tmp_path_factory.mktemp("search") / "store", callback)


def done(plan: Plan, folder: Path, callback: RunCallback | None = None) -> Store:
    store, summary = run_plan(plan, LabSpec(store=str(folder)), callback or RunCallback())
    for _, error in summary.failed:
        raise error
    return store


@pytest.fixture(scope="module")
def workspace(jobs: Finding) -> Workspace:
    dense = jobs.searches[5].dense
    return Workspace.open(payload_for(dense, keep_weights=False, threads=1, processes=1))


def magnitudes(workspace: Workspace, mask: Mask, seed: int) -> dict[str, torch.Tensor]:
    """Of the scope after a training that goes round everything in lab."""
    workspace.network.rewind(seed)
    spec = replace(RECIPE, seed=seed)
    fit(workspace.network, workspace.task, workspace.training(spec), mask, spec, scope="encoder")
    return {name: p.detach().abs() for name, p in workspace.network.scope("encoder").items()}


def masks(jobs: Finding, store: Store) -> dict[Decimal, Mask]:
    return {s: read_mask(store, job.key) for s, job in jobs.searches[5].masks.items()}


# the search


def test_every_training_is_done_once(store: Store, jobs: Finding, callback: Recorder) -> None:
    assert len(callback.trained) == len(set(callback.trained)) == 4 + len(EVERY)
    assert not callback.kept
    assert callback.steps == 3 * len(callback.trained)
    assert callback.trained[:4] == [
        f"sentiment, seed 5, {what}"
        for what in ("dense", "IMP at 0.3", "IMP at 0.6", "IMP at 0.63")
    ]
    assert missing(jobs.plan, store) == set()


def test_masks_are_nested_and_have_exactly_the_dead_weights_asked_for(
    store: Store, jobs: Finding
) -> None:
    found = masks(jobs, store)
    assert tuple(found) == PATH
    for sparsity, mask in found.items():
        assert mask.pruned == pruned_count(sparsity, mask.size)
    for before, after in pairwise(found.values()):
        assert not any(bool((after[name] & ~before[name]).any()) for name in after)


def test_each_round_prunes_what_the_round_before_trained(
    store: Store, jobs: Finding, workspace: Workspace
) -> None:
    found, full = masks(jobs, store), workspace.full("encoder")
    first = keep_top(magnitudes(workspace, full, 5), full, sparsity=D("0.3"))
    assert found[D("0.3")] == first
    assert found[D("0.6")] == keep_top(magnitudes(workspace, first, 5), first, sparsity=D("0.6"))


def test_a_seed_has_a_search_of_its_own(
    store: Store, jobs: Finding, subject: Subject, tmp_path: Path
) -> None:
    others = searched(subject, replace(SPEC, seeds=(6, 5), controls=()), "0.3")
    place = done(others.plan, tmp_path / "store")
    mine = masks(jobs, store)[D("0.3")]
    assert read_mask(place, others.searches[5].masks[D("0.3")].key) == mine
    assert read_mask(place, others.searches[6].masks[D("0.3")].key) != mine
    dense = jobs.searches[5].dense.key
    assert np.array_equal(read_predictions(place, dense), read_predictions(store, dense))


# options of the search


@pytest.mark.parametrize(
    "options",
    [
        {"rewind_step": 1},
        {"rewind_fraction": D("0.5")},
        {"no_rewind": True},
        {"keep_head": True},
        {"long_horizon": True},
        {"prune_first": True},
    ],
    ids="".join,
)
def test_each_option_makes_another_ticket(
    options: dict[str, Any], store: Store, jobs: Finding, subject: Subject, tmp_path: Path
) -> None:
    spec = ImpSpec(sparsity=D("0.6"), step=D("0.3"), **options)
    search = FINDERS["imp"].search(subject, spec, 5)
    place = done(Plan.of(search.trainings.values()), tmp_path / "store")
    found = read_mask(place, search.masks[D("0.6")].key)
    assert found.pruned == pruned_count(D("0.6"), found.size)
    assert found != masks(jobs, store)[D("0.6")]
    last = place.read(search.trainings[D("0.6")].key)
    assert last is not None
    first = jobs.searches[5].trainings[D("0.6")]
    assert last.facts["weights"] != results(store, [first])[0].facts["weights"]


# controls


def control_mask(name: str, jobs: Finding, store: Store, seed: int = 5) -> tuple[Mask, str]:
    ticket = jobs.searches[5].masks[D("0.63")]
    mask, init = CONTROLS[name](ticket.subject, ticket, D("0.63"), seed)
    if seed != 5:
        done(Plan.of([mask]), store.folder)
    return read_mask(store, mask.key), init


@pytest.mark.parametrize("name", EVERY)
def test_a_control_is_as_sparse_as_the_ticket(name: str, jobs: Finding, store: Store) -> None:
    mask, init = control_mask(name, jobs, store)
    assert mask.pruned == masks(jobs, store)[D("0.63")].pruned
    assert init == (name if name in INITS else "pretrained")
    assert results(store, jobs.controls[name])[0].facts["dead"] == mask.pruned


def test_controls_differ_in_what_they_say(
    jobs: Finding, store: Store, workspace: Workspace
) -> None:
    ticket = masks(jobs, store)[D("0.63")]
    found = {name: control_mask(name, jobs, store)[0] for name in EVERY}
    assert found["reinit"] == found["shuffle"] == found["shuffle-layers"] == ticket
    assert found["layer-random"].layer_sparsities() == ticket.layer_sparsities()
    assert found["random"].layer_sparsities() != ticket.layer_sparsities()
    assert found["signs"] == ticket
    assert found["permuted-mask"].layer_sparsities() == ticket.layer_sparsities()
    for name, kept in found["permuted-mask"].items():
        for axis in (0, 1):
            assert torch.equal(kept.sum(axis).sort()[0], ticket[name].sum(axis).sort()[0])
    for name in ("random", "layer-random", "random-init", "permuted-mask"):
        assert jaccard(found[name], ticket) < 0.6
        assert found[name] != control_mask(name, jobs, store, seed=6)[0]
    full = workspace.full("encoder")
    own = {name: workspace.network.pretrained[f"bert.{name}"].abs() for name in full}
    assert found["one-shot"] == keep_top(own, full, sparsity=D("0.63"))
    assert found["one-shot"] != ticket
    scores = {r.facts["weights"] for jobs_ in jobs.controls.values() for r in results(store, jobs_)}
    assert len(scores) == len(EVERY)


@pytest.mark.parametrize("structure", ["2:4", "rows", "heads-and-neurons"])
def test_layer_random_masks_keep_the_structure_and_as_much_of_each_matrix(
    structure: str, jobs: Finding, store: Store
) -> None:
    subject = jobs.searches[5].masks[D("0.63")].subject
    ticket = one_shot(subject, D("0.5"), structure)
    job = CONTROLS["layer-random"](subject, ticket, D("0.5"), 5)[0]
    done(Plan.of([job]), store.folder)
    mask, own = (read_mask(store, each.key) for each in (job, ticket))
    assert mask != own
    assert mask.layer_sparsities() == own.layer_sparsities()
    ranked = {name: kept.float() for name, kept in mask.items()}
    again = STRUCTURES[structure](ranked, Mask.full(mask), D("0.5"), subject.heads)
    assert sum(int((mask[name] != kept).sum()) for name, kept in again.items()) == 0


def test_layer_random_masks_of_two_tickets_share_no_permutation(
    jobs: Finding, store: Store
) -> None:
    subject = jobs.searches[5].masks[D("0.63")].subject
    ticket = masks(jobs, store)[D("0.63")]
    drawn = []
    for moved in (0, 1):
        near = {
            name: alive.reshape(-1).roll(moved).view_as(alive) for name, alive in ticket.items()
        }
        start = given(subject, Mask(near).digest(), D("0.63"))
        keep_mask(store, start, Mask(near))
        mask = CONTROLS["layer-random"](subject, start, D("0.63"), 5)[0]
        done(Plan.of([mask]), store.folder)
        drawn.append(read_mask(store, mask.key))
    for name, alive in ticket.items():
        flat = [mask[name].reshape(-1) for mask in drawn]
        assert flat[0].sum() == flat[1].sum() == alive.sum()
        assert jaccard(Mask({"w": flat[0]}), Mask({"w": flat[1]})) < 0.6
        sample = alive.reshape(-1)
        share = float((flat[0] != flat[1]).double().mean())
        by_chance = 2 * float(sample.double().mean()) * float((~sample).double().mean())
        assert share == pytest.approx(by_chance, abs=0.1)


def test_the_names_in_the_specs_are_those_that_are_registered() -> None:
    assert set(EVERY) == set(CONTROLS)
    assert set(specs.INIT_NAMES) == set(INITS)


def test_overlap_is_with_the_one_shot_mask_of_the_same_sparsity(
    store: Store, jobs: Finding
) -> None:
    mine, plain = jobs.searches[5].masks[D("0.3")], jobs.one_shot[D("0.3")]
    shared = mean_jaccard(store, [mine], [plain])
    assert shared == jaccard(read_mask(store, mine.key), read_mask(store, plain.key))
    assert 0.2 < shared < 1


# verdicts


def scored(run: Result, score: float) -> Result:
    return dataclasses.replace(run, facts={**run.facts, "score": score})


@pytest.fixture(scope="module")
def dense(store: Store, jobs: Finding) -> Result:
    return results(store, [jobs.searches[5].dense])[0]


def test_one_seed_says_something_of_this_run_only(
    store: Store, jobs: Finding, dense: Result, subject: Subject
) -> None:
    ticket = results(store, [jobs.searches[5].trainings[D("0.63")]])[0]
    said = verdict_on_results(store, subject.task, [dense], [ticket], D("0.63"), fixed=False)
    assert (said.estimand, said.seeds, said.sparsity) == (THIS_RUN, 1, D("0.63"))
    assert said.margin == subject.task.margin
    assert said.difference == pytest.approx(ticket.facts["score"] - dense.facts["score"])
    same = verdict_on_results(store, subject.task, [dense], [dense], D("0.63"), fixed=False)
    reach = 100 * (1 - 0.05 ** (1 / len(read_predictions(store, dense.key))))
    assert (same.status, same.difference) == ("undecided", 0.0)
    assert same.interval == pytest.approx((-reach, reach))


@pytest.mark.parametrize(("fixed", "estimand"), [(False, SEARCH), (True, FIXED_TICKET)])
def test_several_seeds_are_paired(
    store: Store, dense: Result, subject: Subject, fixed: bool, estimand: str
) -> None:
    whole, ticket = (
        [scored(dense, score) for score in two] for two in ((60.0, 80.0), (61.0, 81.0))
    )
    said = verdict_on_results(store, subject.task, whole, ticket, D("0.63"), fixed=fixed)
    assert (said.status, said.estimand, said.seeds) == ("undecided", estimand, 2)
    assert said.difference == 1.0
    assert said.interval is not None
    assert (
        said.interval[0] < 1.0 - 6.31 * 100 / len(read_predictions(store, dense.key)) / 12**0.5
    )  # rounding, two seeds


def test_a_spread_takes_two_runs(dense: Result) -> None:
    runs, keys = [scored(dense, score) for score in (60.0, 62.0)], [dense.key, dense.key]
    assert score_summary(runs[:1]) == {
        "values": [60.0],
        "mean": 60.0,
        "std": None,
        "keys": keys[:1],
    }
    assert score_summary(runs) == {
        "values": [60.0, 62.0],
        "mean": 61.0,
        "std": 2**0.5,
        "keys": keys,
    }


# evaluation


@pytest.mark.parametrize("init", ["pretrained", "reinit", "shuffle"])
def test_a_given_mask_is_trained_like_the_one_that_was_found(
    init: str, store: Store, jobs: Finding, subject: Subject, tmp_path: Path
) -> None:
    mask = masks(jobs, store)[D("0.63")]
    job = given(subject, mask.digest(), D("0.63"))
    found = evaluation(subject, job, EvaluateSpec(seeds=(5,), init=init))
    place = Store(tmp_path / "store")
    keep_mask(place, job, mask)
    done(found.plan, place.folder)
    same = jobs.searches[5].trainings[D("0.63")] if init == "pretrained" else jobs.controls[init][0]
    ours, theirs = results(place, found.masked)[0], results(store, [same])[0]
    assert ours.facts["weights"] == theirs.facts["weights"]
    assert np.array_equal(read_predictions(place, ours.key), read_predictions(store, theirs.key))


# what is kept


def content(store: Store, plan: Plan) -> dict[str, Any]:
    """What each job left, but for times."""
    return {
        r.key: ({k: v for k, v in r.facts.items() if "seconds" not in k}, r.files)
        for r in results(store, plan.jobs)
    }


@pytest.fixture(scope="module")
def undisturbed(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    plan = searched(subject, SHORT, "0.6").plan
    return content(done(plan, tmp_path_factory.mktemp("search") / "undisturbed"), plan)


@pytest.mark.parametrize(("stop_at", "finished"), [(2, 0), (4, 1), (14, 4)])
def test_who_is_stopped_goes_on_to_the_same_bits(
    stop_at: int, finished: int, subject: Subject, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    plan = searched(subject, SHORT, "0.6").plan
    with pytest.raises(KeyboardInterrupt):
        done(plan, tmp_path / "store", Recorder(stop_at))
    torch.manual_seed(99)
    again = Recorder()
    place = done(plan, tmp_path / "store", again)
    assert len(again.kept) == finished
    assert len(again.trained) == 5 - finished
    assert content(place, plan) == undisturbed


def test_a_ticket_is_trained_from_the_weights_that_its_search_rewinds_to(
    subject: Subject, tiny: Path, tmp_path: Path
) -> None:
    texts = pa.table({"text": ["a bright and funny film", "the plot was dull"] * 64})
    for split in ("train", "test"):
        pq.write_table(texts, tmp_path / f"{split}-0.parquet")
    known, task = SubjectFactory(tmp_path), load_task("mlm")
    source = known.subject(str(tiny), task, RECIPE, scope="encoder", folder=str(tmp_path))
    search = FINDERS["imp"].search(source, ImpSpec(rounds=(D("0.5"),), rewind_step=1), 4)
    assert search.early is not None
    sources = {"mlm": {4: search.masks}}
    early = {("mlm", 4): search.early}
    cells = [
        transfer(sources, {"sentiment": subject}, [D("0.5")], [4], early=at)[0]
        for at in (None, early)
    ]
    store = done(Plan.of(cells), tmp_path / "store")
    plain, moved = results(store, [cell.training for cell in cells])
    assert moved.parents == {"mask": search.masks[D("0.5")].key, "body": search.early.key}
    assert moved.facts["weights"] != plain.facts["weights"]
    assert moved.facts["steps"] == plain.facts["steps"]
    assert not any(store.weights(job.key) for job in Plan.of(cells).jobs)


def test_what_is_finished_is_not_done_again(store: Store, jobs: Finding) -> None:
    again = Recorder()
    before = content(store, jobs.plan)
    done(jobs.plan, store.folder, again)
    assert again.trained == []
    assert len(again.kept) == 4 + len(EVERY)
    assert content(store, jobs.plan) == before


@pytest.mark.parametrize("name", ["result.json", "outcome.safetensors"])
def test_a_training_that_was_damaged_by_hand_is_done_again(
    name: str, subject: Subject, tmp_path: Path
) -> None:
    plan = Plan.of(
        [FINDERS["imp"].search(subject, ImpSpec(sparsity=D("0.3"), step=D("0.3")), 5).dense]
    )
    store = done(plan, tmp_path / "store")
    before = content(store, plan)
    store.file(plan.jobs[0].key, name).write_text("{")
    again = Recorder()
    done(plan, tmp_path / "store", again)
    assert len(again.trained) == 1
    assert content(store, plan) == before


def test_rebuilt_weights_must_be_those_that_were_recorded(subject: Subject, tmp_path: Path) -> None:
    short = FINDERS["imp"].search(subject, ImpSpec(sparsity=D("0.3"), step=D("0.3")), 5)
    store = done(Plan.of(short.trainings.values()), tmp_path / "store")
    kept = results(store, [short.trainings[D("0.3")]])[0]
    store.remove(kept.key)
    forged = dataclasses.replace(kept, facts={**kept.facts, "weights": "0" * 64})
    outcome = {"outcome.safetensors": b"no matter"}
    store.save(forged, outcome)
    longer = FINDERS["imp"].search(subject, ImpSpec(sparsity=D("0.6"), step=D("0.3")), 5)
    with pytest.raises(OutputError, match=r"come out as before, with weights 000000000000, got"):
        done(Plan.of(longer.trainings.values()), tmp_path / "store")


def test_runs_of_different_arithmetic_are_not_mixed(subject: Subject, tmp_path: Path) -> None:
    search = FINDERS["imp"].search(subject, ImpSpec(sparsity=D("0.3"), step=D("0.3")), 5)
    store = done(Plan.of([search.dense]), tmp_path / "store")
    with pytest.raises(
        SpecError, match=r"made with other numerics: .*threads.* Use the same --threads"
    ):
        run_plan(
            Plan.of(search.trainings.values()),
            LabSpec(store=str(store.folder), threads=3),
            RunCallback(),
        )


def test_a_network_that_has_changed_since_is_refused(subject: Subject, tmp_path: Path) -> None:
    other = replace(subject, fingerprint="9" * 64)
    search = FINDERS["imp"].search(other, ImpSpec(sparsity=D("0.3"), step=D("0.3")), 5)
    with pytest.raises(ModelError, match=r"it has changed\. Run the same command again"):
        done(Plan.of([search.dense]), tmp_path / "store")


def test_fingerprints_are_taken_once(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SubjectFactory(tmp_path)

    def again(known: SubjectFactory) -> Subject:
        where: dict[str, Any] = {"scope": subject.scope, "folder": subject.folder}
        return known.subject(subject.model, subject.task, subject.recipe, **where)

    assert again(known) == subject
    assert not list(tmp_path.iterdir())
    known.save()
    monkeypatch.setattr("tombola.lab.subjects._network", lambda model: 1 / 0)
    monkeypatch.setattr("tombola.lab.subjects._data", lambda task, folder: 1 / 0)
    assert again(SubjectFactory(tmp_path)) == subject
