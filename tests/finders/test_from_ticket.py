"""A search starts from a ticket: what that prunes stays pruned, and its name is in every key."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from small_network import half_mask
from small_search import small_search
from stand_in_subject import subject as stand_in
from tombola import api
from tombola.base.errors import SpecError, TicketError
from tombola.base.specs import PruneSpec
from tombola.finders.finder import FINDERS
from tombola.finders.trained.ramp import Ramp, RampSpec
from tombola.plan.job_spec import GivenMask
from tombola.plan.plan import Plan, Search
from tombola.plan.subject import Subject
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.ticket import Ticket

HALF = Decimal("0.5")
NAMES = ("imp", "gradual", "movement", "one-shot", "snip", "synflow")


def begun(sparsity: str = "0.25", digest: str = "d" * 64) -> Subject:
    task = load_task("sentiment")
    plain = stand_in(task, task.recipe)
    spec = PruneSpec(sparsity=Decimal(sparsity))
    return replace(plain, pruned=GivenMask(prune=spec, digest=digest, network=plain.network))


def search(subject: Subject, finder: str, **knobs: Any) -> Search:
    found = FINDERS[finder]
    return found.search(subject, found.spec(sparsity=HALF, **knobs), 0)


def needed(found: Search) -> dict[str, Any]:
    """The masks given that a ticket depends on, by their digests."""
    jobs = Plan.of([found.masks[HALF]]).jobs
    return {job.spec.digest: job for job in jobs if isinstance(job.spec, GivenMask)}


@pytest.mark.parametrize("finder", NAMES)
def test_a_search_depends_on_the_digest_of_its_start(finder: str) -> None:
    whole = search(replace(begun(), pruned=None), finder)
    one, other = search(begun(), finder), search(begun(digest="e" * 64), finder)
    assert [*needed(one)] == ["d" * 64]
    assert [*needed(whole)] == []
    assert len({each.masks[HALF].key for each in (whole, one, other)}) == 3
    assert one.dense.key == whole.dense.key
    assert one.variants[HALF][0].options == ("from-ticket",)
    assert whole.variants[HALF][0].options == ()


@pytest.mark.parametrize(("finder", "trains"), [("one-shot", False), ("imp", True)])
def test_a_ticket_to_go_on_from_is_no_training(finder: str, trains: bool) -> None:
    for subject in (begun(), replace(begun(), pruned=None)):
        assert search(subject, finder).masks[HALF].follows_training == trains


def test_iterative_pruning_begins_under_the_ticket() -> None:
    found = search(begun(), "imp", step="0.1")
    assert [*map(str, found.masks)] == ["0.3", "0.4", "0.5"]
    (start,) = needed(found).values()
    first = found.masks[Decimal("0.3")].parents["trained"]
    assert first.parents["mask"].key == start.key
    assert first.key != found.dense.key
    rewound = search(begun(), "imp", step="0.1", rewind_step=3)
    assert rewound.early is not None
    assert rewound.early.parents["mask"].key == start.key


@pytest.mark.parametrize("finder", NAMES)
@pytest.mark.parametrize("start", ["0.5", "0.6"])
def test_a_ticket_that_is_as_sparse_is_refused(finder: str, start: str) -> None:
    with pytest.raises(SpecError, match=f"must be above {start}, that of the ticket .* got 0.5."):
        search(begun(start), finder)


def test_a_ramp_rises_from_what_is_pruned(tiny: Path) -> None:
    base = half_mask(load_network(str(tiny), "classification"))
    spec = RampSpec(sparsity=Decimal("0.9"), ramp_start=0.0, ramp_end=1.0)
    evidence: Any = None
    ramp, drawn = Ramp(spec, evidence, base), torch.Generator().manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ramp, "_cut", lambda self, scores, before, sparsity: sparsity)
        scores = {name: torch.rand(mask.shape, generator=drawn) for name, mask in base.items()}
        way = [ramp.mask(scores, base, done, 10) for done in range(11)]
    assert float(way[0]) == pytest.approx(base.sparsity, abs=1e-4)  # type: ignore[arg-type]
    assert way == sorted(way)  # type: ignore[type-var]
    assert way[-1] == Decimal("0.9")


@pytest.fixture(scope="module")
def made(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> api.SearchResult:
    """A search that learns which weights come back, from a ticket drawn at random."""
    place = tmp_path_factory.mktemp("from")
    start(tiny).save(place / "start")
    knobs: dict[str, Any] = {"finder": "movement", "finder_knobs": {"every": 1}}
    return small_search(
        *(place, tiny, reviews),
        **{**knobs, "sparsity": "0.75", "controls": (), "seeds": (0,)},
        from_ticket=place / "start",
    )


def start(tiny: Path) -> Ticket:
    mask = half_mask(load_network(str(tiny), "classification"))
    plain = api.one_shot(str(tiny), sparsity="0.5")
    return replace(plain, mask=mask, sparsity=Decimal(mask.pruned) / Decimal(mask.size))


def test_what_the_ticket_prunes_stays_pruned(made: api.SearchResult, tiny: Path) -> None:
    found, before = Ticket.load(Path(made.ticket)), start(tiny)
    assert found.mask.pruned > before.mask.pruned
    assert not any(bool((found.mask[n] & ~before.mask[n]).any()) for n in before.mask)


def test_a_ticket_says_what_it_goes_on_from(made: api.SearchResult, tiny: Path) -> None:
    said = Ticket.load(Path(made.ticket)).provenance["from"]
    assert said["mask"] == start(tiny).mask.digest()
    assert made.compute["trainings"] == 1


def test_a_ticket_of_another_network_is_refused(tiny: Path, reviews: Path, tmp_path: Path) -> None:
    other = replace(start(tiny), fingerprint="0" * 64)
    with pytest.raises(TicketError, match="the ticket was found in a network with fingerprint 0"):
        small_search(tmp_path, tiny, reviews, from_ticket=other, sparsity="0.75")


def test_an_empty_path_is_no_ticket_and_does_not_begin_a_search_without_one(
    tiny: Path, reviews: Path, tmp_path: Path
) -> None:
    with pytest.raises(TicketError, match=r"expected a ticket with ticket.json in \."):
        small_search(tmp_path, tiny, reviews, from_ticket="", sparsity="0.75")
