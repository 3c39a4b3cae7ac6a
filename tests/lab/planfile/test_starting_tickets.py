"""A search of a plan goes on from a ticket in a folder, or from that of another arm."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from plan_text import TICKETS, grown
from stand_in_subject import subject
from tombola import api
from tombola.base.errors import SpecError, TicketError, TombolaError
from tombola.base.specs import PruneSpec
from tombola.finders.finder import FINDERS
from tombola.finders.rewind import RewindSpec
from tombola.lab.planfile.plan_file import expand, read_plan
from tombola.lab.starting_ticket import StartingTickets, start_of
from tombola.lab.store.artifacts import read_mask
from tombola.lab.store.result_store import Store
from tombola.plan.cell import Cell
from tombola.plan.job import Job
from tombola.plan.job_spec import GivenMask, as_training
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.tasks.task import load_task

MLM = load_task("mlm")
HALF, MOST = Decimal("0.5"), Decimal("0.75")
FURTHER = f"{TICKETS}\nfurther: {{kind: imp, sparsity: 0.75, step: 0.25, from: {{arm: tickets}}"


def under_ticket(plain: Subject, folder: str) -> Subject:
    """A subject under a quarter of a mask, whichever the folder is."""
    spec = PruneSpec(sparsity=Decimal("0.25"))
    mask = GivenMask(prune=spec, digest="d" * 64, network=plain.network)
    return replace(plain, pruned=mask)


def planned(place: Path, arms: str) -> Plan:
    file = place / "mine.yaml"
    file.write_text(grown(arms), encoding="utf-8")
    return expand(read_plan(file), subject, under_ticket)


def of(plan: Plan, arm: str, **fields: Any) -> list[Cell]:
    """The cells of an arm on sentiment with the first seed, with those fields."""
    wanted = {"arm": arm, "target": "sentiment", "seed": 0, **fields}
    return [c for c in plan.cells if all(getattr(c, n) == value for n, value in wanted.items())]


def behind(job: Job | None) -> dict[str, Job]:
    assert job is not None
    return {each.key: each for each in Plan.of([job]).jobs}


@pytest.mark.parametrize("finder", ["imp", "movement", "one-shot"])
def test_an_arm_goes_on_from_the_masks_of_another(tmp_path: Path, finder: str) -> None:
    arms = f"{TICKETS}\nnext: {{kind: {finder}, sparsity: 0.75, from: {{arm: tickets}}}}"
    plan = planned(tmp_path, arms)
    firsts = [cell for cell in plan.cells if cell.arm == "tickets" and cell.sparsity == HALF]
    nexts = [cell for cell in plan.cells if cell.arm == "next" and cell.sparsity == MOST]
    assert len(nexts) == len(firsts) == 4
    for first, cell in zip(firsts, nexts, strict=True):
        assert first.mask in behind(cell.ticket)
        assert cell.source == first.source == cell.target == first.target
        assert (cell.seed, cell.dense) == (first.seed, first.dense)
        assert cell.variant.options == ("from-ticket",)
    assert not any(isinstance(job.spec, GivenMask) for job in plan.jobs)


def test_the_sparsity_of_its_ticket_can_be_named(tmp_path: Path) -> None:
    (ticket,) = of(planned(tmp_path, FURTHER + "}"), "tickets", sparsity=Decimal("0.25"))
    arm = FURTHER.replace("{arm: tickets}", "{arm: tickets, sparsity: {sentiment: 0.25}}")
    found = of(planned(tmp_path, arm + "}"), "further")
    assert [cell.sparsity for cell in found] == [HALF, MOST]
    trained = found[0].ticket.parents["trained"]  # type: ignore[union-attr]
    assert trained.parents["mask"].key == ticket.mask


def test_neither_budget_nor_rates_reach_the_search_before(tmp_path: Path) -> None:
    plain = planned(tmp_path, FURTHER + "}")
    swept = planned(tmp_path, FURTHER + ", budget: 3, learning_rates: [1.0e-4]}")
    before = behind(of(plain, "tickets", sparsity=HALF)[0].ticket)
    (cell,) = of(swept, "further")
    own = behind(cell.ticket).keys() - before.keys()
    assert before.keys() < behind(cell.ticket).keys()
    assert {job.label for job in swept.jobs} >= {job.label for job in before.values()}
    (trained,) = [job for job in swept.jobs if job.key in own and job.kind == "train"]
    assert as_training(trained.spec).recipe.learning_rate == 1e-4
    assert trained.steps == 3 * load_task("sentiment").recipe.steps(1000)


def test_a_ticket_in_a_folder_makes_the_jobs_that_find_makes(tmp_path: Path) -> None:
    plan = planned(tmp_path, "a: {kind: imp, sparsity: 0.75, step: 0.25, from: place/ticket}")
    task, finder = load_task("sentiment"), FINDERS["imp"]
    mine = under_ticket(subject(task, task.recipe), "")
    found = finder.search(mine, RewindSpec(sparsity=MOST, step=Decimal("0.25")), 0)
    assert [cell.key for cell in of(plan, "a")] == [job.key for job in found.trainings.values()]


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (FURTHER.replace("0.75", "0.5") + "}", "6: sparsity must be above 0.5, that of the ticket"),
        (FURTHER.replace("arm: tickets", "arm: tikets") + "}", "6: there is no arm 'tikets'. Did"),
        (FURTHER + ", seeds: [7]}", "6: expected a seed of the arm 'tickets', got 7."),
        ("a: {kind: imp, from: {arm: a}}", "5: arms refer to each other in a circle: a -> a."),
        (
            "a: {kind: imp, from: {arm: b}}\nb: {kind: dense}",
            "5: arm 'a' must refer to an arm of kind",
        ),
        ("a: {kind: imp, from: {sparsity: 0.5}}", "5: from needs `arm`, or must be a folder, got"),
        ("a: {kind: imp, from: {arm: a, seed: 1}}", "5: there is no field of from 'seed'."),
        ("a: {kind: imp, from: [a]}", "5: from must be a folder, got a list."),
        ("a: {kind: imp, from_ticket: a}", "5: there is no field of arm 'a' of kind imp 'from_t"),
        (
            f"{TICKETS}\na: {{kind: imp, from: tickets}}",
            "6: from must be a folder, or fields that name",
        ),
        (
            f"{TICKETS}\na: {{kind: imp, from: {{arm: tickets, sparsity: [0.25, 0.5]}}}}",
            "6: a search starts from a ticket of one sparsity, got 2. Keep one.",
        ),
        (
            f"{TICKETS}\na: {{kind: snip, structure: '1:4', from: {{arm: tickets}}}}",
            "6: 1:4 keeps 1 of each 4 weights, and masks of the structure unstructured may leave",
        ),
        ("a: {kind: imp, sparsity: 0.25, from: x}", "5: sparsity must be above"),
    ],
)
def test_what_no_search_can_go_on_from_is_refused(tmp_path: Path, arms: str, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        planned(tmp_path, arms)
    said = str(refused.value)
    assert said.removeprefix(f"{tmp_path / 'mine.yaml'}:").startswith(message)
    assert "\n" not in said


@pytest.fixture(scope="module")
def tiny_ticket(tiny: Path) -> api.Ticket:
    return api.one_shot(str(tiny), sparsity="0.5")


@pytest.fixture(scope="module")
def ticket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ticket of mini in a folder next to a plan."""
    place = tmp_path_factory.mktemp("ticket")
    api.one_shot("mini", sparsity="0.5").save(place / "ticket")
    return place


def of_mini(place: Path, more: str = "") -> Path:
    """A plan of mini's that goes on from the ticket in a folder next to it."""
    file = place / "mine.yaml"
    arms = "arms:\n  a: {kind: one-shot, sparsity: 0.75, from: ticket}\n"
    file.write_text(f"version: 1\ntasks: [sentiment]\n{more}{arms}", encoding="utf-8")
    return file


def real(ticket: Path, **fields: Any) -> Subject:
    """A subject with the fingerprint of the ticket's network."""
    task = load_task("sentiment")
    fingerprint = api.Ticket.load(ticket / "ticket").fingerprint
    return replace(subject(task, task.recipe), fingerprint=fingerprint, **fields)


def test_the_mask_is_kept_for_the_jobs_that_read_it(ticket: Path, tmp_path: Path) -> None:
    starts, store = StartingTickets(), Store(tmp_path / "store")
    plan = expand(read_plan(of_mini(ticket)), lambda *_: real(ticket), starts)
    (given,) = [job for job in plan.jobs if isinstance(job.spec, GivenMask)]
    assert given.spec.prune.sparsity == HALF  # type: ignore[union-attr]
    starts.keep(store)
    assert read_mask(store, given.key) == api.Ticket.load(ticket / "ticket").mask


BEFORE = {"mask": "d" * 64, "sparsity": "0.25", "task": "supersense"}


@pytest.mark.parametrize(
    ("task", "provenance", "source"),
    [
        ("mlm", {}, "mlm"),
        ("mlm", {"finder": "snip", "from": BEFORE}, "mlm"),
        ("mlm", {"finder": "one-shot"}, ""),
        ("mlm", {"finder": "one-shot", "from": BEFORE}, "supersense"),
        (None, {}, ""),
    ],
)
def test_a_ticket_is_of_the_task_that_its_mask_depends_on(
    tiny_ticket: api.Ticket, task: str | None, provenance: dict[str, Any], source: str
) -> None:
    found = replace(tiny_ticket, task=task, provenance=provenance)
    about = replace(subject(MLM, MLM.recipe), fingerprint=found.fingerprint)
    assert start_of(found, about).subject.pruned_on == source


def test_a_pattern_that_a_ticket_has_lost_is_refused_before_any_training(
    tiny_ticket: api.Ticket,
) -> None:
    about = replace(subject(MLM, MLM.recipe), fingerprint=tiny_ticket.fingerprint)
    begun = start_of(tiny_ticket, about).under(about)
    for finder in ("one-shot", "sparsegpt", "gradual"):
        with pytest.raises(SpecError, match=r"1:4 keeps 1 of each 4 weights, got .* Prune to it"):
            FINDERS[finder].search(begun, FINDERS[finder].spec(structure="1:4"), 0)
    FINDERS["one-shot"].search(about, PruneSpec(structure="1:4"), 0)


@pytest.mark.parametrize(("finder", "source"), [("one-shot", "mlm"), ("snip", "sentiment")])
def test_a_mask_that_needs_no_data_has_the_source_of_its_ticket(
    tmp_path: Path, finder: str, source: str
) -> None:
    file = of_mini(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace("one-shot", finder), encoding="utf-8")

    def from_mlm(plain: Subject, folder: str) -> Subject:
        return replace(under_ticket(plain, folder), pruned_on="mlm")

    assert {c.source for c in expand(read_plan(file), subject, from_mlm).cells} == {source}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fingerprint": "0" * 64}, "found in a network with fingerprint .* found in as model"),
        ({"scope": "encoder+pooler"}, "encoder"),
    ],
)
def test_a_ticket_of_other_weights_is_refused_with_its_line(
    ticket: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(TicketError, match=rf"mine\.yaml:4: .*{message}") as refused:
        expand(read_plan(of_mini(ticket)), lambda *_: replace(real(ticket), **changed))
    assert "\n" not in str(refused.value)


def test_a_missing_ticket_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match=r"mine\.yaml:4: a ticket is a folder, got nothing at"):
        expand(read_plan(of_mini(tmp_path)), subject)
