"""Trainings of one plan have one arithmetic, whoever is at it; and what has another can go."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_store import FILES, put, result

from command_line import Cli
from tombola.base.errors import OutputError, SpecError
from tombola.base.specs import LabSpec
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.lab.run.engine import RunCallback
from tombola.lab.run.runner import run_plan
from tombola.lab.store.damage import damage_in
from tombola.lab.store.numerics import environment, numerics_digest, refuse_mixed
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.job import Job
from tombola.plan.plan import Plan

PLAN = """\
version: 1
model: {model}
tasks: [sentiment]
seeds: [0, 1, 2]
train: {{epochs: 1, train_limit: 48, test_limit: 24, max_length: 16, batch_size: 16}}
arms:
  dense: {{kind: dense}}
"""


@pytest.fixture
def plan_file(tiny: Path, tmp_path: Path) -> Path:
    place = tmp_path / "small.yaml"
    place.write_text(PLAN.format(model=tiny))
    return place


@pytest.fixture
def plan(plan_file: Path) -> Plan:
    file, known = read_plan(str(plan_file)), SubjectFactory(plan_file.parent)
    return expand(
        file,
        lambda task, recipe: known.subject(file.model, task, recipe, scope=file.scope, folder=None),
    )


class Rival(RunCallback):
    """Saves the last training of a plan at a moment, as an engine with two threads would."""

    def __init__(self, plan: Plan, store: Store, moment: str) -> None:
        self.store, self.moment = store, moment
        self.last = plan.jobs[-1]

    def on_job_start(self, job: Job) -> None:
        self.act("start")

    def on_job_step(self, job: Job, done: int, steps: int, loss: float | None) -> None:
        self.act("step")

    def act(self, moment: str) -> None:
        if moment == self.moment and not self.store.has(self.last.key):
            keep(self.store, self.last)


def keep(store: Store, job: Job) -> None:
    store.save(replace(Result.of(job, {"score": 1.0}), numerics=TWO), {})


TWO = {"device": "cpu", "threads": 2, "processes": 1, "precision": "fp32"}


@pytest.mark.parametrize("moment", ["start", "step"])
def test_a_training_next_to_others_of_its_plan_in_another_arithmetic_is_not_kept(
    plan: Plan, tmp_path: Path, moment: str, cli: Cli, plan_file: Path
) -> None:
    folder = tmp_path / "store"
    store = Store(folder)
    with pytest.raises(OutputError, match=r"threads 2\b.*threads 1\b.*forget --numerics") as error:
        run_plan(plan, LabSpec(store=str(folder), threads=1), Rival(plan, store, moment))
    message = str(error.value)
    assert "\n" not in message
    first = plan.jobs[0].key
    assert not store.has(first)
    assert store.weights(first) is None
    digest = message.rsplit("--numerics ", 1)[1].split("`", 1)[0].split(maxsplit=1)[0]
    assert digest == numerics_digest(environment(TWO))
    where = ["--store", folder]
    status, listed, _ = cli("store", "forget", "--numerics", digest, "--dry-run", *where)
    assert status == 0
    assert plan.jobs[-1].key[:12] in listed
    assert store.has(plan.jobs[-1].key)
    assert cli("store", "forget", "--numerics", numerics_digest(TWO)[:8], *where)[0] == 0
    assert not store.has(plan.jobs[-1].key)
    _, summary = run_plan(plan, LabSpec(store=str(folder), threads=1), RunCallback())
    assert len(summary.done) == 3
    assert {one.numerics["threads"] for one in map(store.read, store.keys()) if one} == {1}


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Store, list[str]]:
    """A training, what was made from it, and what was made from that; and another training."""
    store = Store(tmp_path / "store")
    first = result(0)
    mask = result(0, kind="prune", parents={"trained": first.key})
    last = result(1, parents={"mask": mask.key})
    other = result(3)
    for one in (first, mask, last, other):
        store.save(replace(one, numerics={"threads": 2 if one is first else 1}), FILES)
    return store, [one.key for one in (first, mask, last, other)]


def test_forgetting_takes_results_weights_and_checkpoints_and_names_what_came_of_them(
    chain: tuple[Store, list[str]], cli: Cli
) -> None:
    store, keys = chain
    where = ["--store", store.folder]
    store.save_weights(keys[0], put(b"w"))
    store.partial(keys[0]).mkdir(parents=True)
    (store.partial(keys[0]) / "state.json").write_text("{}")
    status, printed, _ = cli("store", "forget", keys[0][:9], *where)
    assert status == 0
    lines = printed.splitlines()
    assert [line[:12] for line in lines[:3]] == [keys[0][:12], *(k[:12] for k in keys[1:3])]
    assert all("made from these, and kept" in line for line in lines[1:3])
    assert store.keys() == set(keys[1:])
    assert store.weights(keys[0]) is None
    assert not store.partial(keys[0]).exists()
    assert list(damage_in(store)) == []


def test_what_was_made_from_a_result_goes_with_it_on_request(
    chain: tuple[Store, list[str]], cli: Cli
) -> None:
    store, keys = chain
    where = ["--store", store.folder]
    assert cli("store", "forget", "--numerics", "", *where)[0] == 2
    digest = numerics_digest({"threads": 2})
    assert cli("store", "forget", "--numerics", digest, "--dependants", *where)[0] == 0
    assert store.keys() == {keys[3]}


def test_who_forgets_names_what_there_is(chain: tuple[Store, list[str]], cli: Cli) -> None:
    store, keys = chain
    where = ["--store", store.folder]
    wrong: list[tuple[list[str], str]] = [
        ([], "got neither"),
        ([keys[0], "--numerics", "00"], "got both"),
        (["zz"], "which fits 0 keys"),
        ([""], "got ''"),
        (["--numerics", "zz"], f"{numerics_digest({'threads': 2})} (1 results, threads 2)"),
    ]
    for arguments, said in wrong:
        status, _, printed = cli("store", "forget", *arguments, *where)
        assert status == 2
        assert said in printed
    with store.claim(keys[0]) or pytest.fail("free"):
        status, _, printed = cli("store", "forget", keys[0], keys[3], *where)
    assert status == 2
    assert "Wait until it has ended" in printed
    assert store.keys() == set(keys)


def test_links_and_files_of_others_survive_forgetting(
    chain: tuple[Store, list[str]], cli: Cli, tmp_path: Path
) -> None:
    store, keys = chain
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "weights.safetensors").write_text("mine")
    (store.file(keys[0], "x").parent / "thesis.tex").write_text("years of work")
    shelf = store.folder / "weights" / keys[0][:2]
    shelf.mkdir(parents=True)
    (shelf / keys[0]).symlink_to(mine)
    cli("store", "forget", keys[0], "--store", store.folder)
    assert (mine / "weights.safetensors").read_text() == "mine"
    [kept] = store.folder.glob("foreign/*/thesis.tex")
    assert kept.read_text() == "years of work"


def test_mixed_numerics_are_refused_with_both_values() -> None:
    record = {"threads": 4, "precision": "fp32"}
    refuse_mixed([])
    refuse_mixed([record, dict(record)])
    with pytest.raises(SpecError, match="threads is 4 in run 1 and 8 in run 3"):
        refuse_mixed([record, record, {"threads": 8, "precision": "fp32"}])
    with pytest.raises(SpecError, match="isa is not recorded in run 1 and avx2 in run 2"):
        refuse_mixed([record, {**record, "isa": "avx2"}])
