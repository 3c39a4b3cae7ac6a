"""One ticket from several: whose weights are kept, what decides ties, and what is remembered."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

import tombola
from quick_find import RECIPE, other_model
from tombola import api
from tombola.base.errors import SpecError, TicketError
from tombola.ship.sources import merged_in
from tombola.ticket.mask import Mask
from tombola.ticket.schedule import pruned_count, shortest_sparsity
from tombola.ticket.scope import scope_parameters
from tombola.ticket.ticket import Ticket

Vote = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def seeds(tiny: Path) -> list[Ticket]:
    """Three tickets of `tiny` that keep different halves, as three searches leave them."""
    base = tombola.one_shot(str(tiny), sparsity="0.5")
    found = []
    for seed in range(3):
        drawn = torch.Generator().manual_seed(seed)
        mask = Mask({n: torch.rand(k.shape, generator=drawn) < 0.5 for n, k in base.mask.items()})
        found.append(
            replace(
                base,
                mask=mask,
                sparsity=shortest_sparsity(mask.pruned, mask.size),
                task="sentiment",
                seed=seed,
                provenance={"recipe": {"epochs": 1}, "split": "test", "dense": 80.0 + seed},
            )
        )
    return found


def votes(tickets: list[Ticket]) -> dict[str, torch.Tensor]:
    """Name -> how many tickets keep each weight."""
    return {name: torch.stack([t.mask[name] for t in tickets]).sum(0) for name in tickets[0].mask}


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("union", lambda v: v >= 1),
        ("intersection", lambda v: v == 3),
        ("majority", lambda v: v >= 2),
    ],
)
def test_a_rule_keeps_what_any_all_or_most_tickets_keep(
    rule: str, kept: Vote, seeds: list[Ticket], tmp_path: Path
) -> None:
    merged = tombola.merge(seeds, rule=rule)
    assert merged.mask == Mask({name: kept(count) for name, count in votes(seeds).items()})
    assert merged.fingerprint == seeds[0].fingerprint
    assert tombola.merge(seeds[::-1], rule=rule).mask == merged.mask
    places = [t.save(tmp_path / str(t.seed)) for t in seeds]
    assert tombola.merge(places, rule=rule) == merged
    assert Ticket.load(merged.save(tmp_path / "merged")) == merged


def test_half_of_the_tickets_are_no_majority(seeds: list[Ticket]) -> None:
    two = seeds[:2]
    assert tombola.merge(two, rule="majority").mask == tombola.merge(two, rule="intersection").mask


@pytest.mark.parametrize("sparsity", ["0.3", "0.5", "0.8", "0.95"])
def test_a_majority_cut_to_a_sparsity_is_ranked_by_votes_then_by_pretrained_magnitude(
    sparsity: str, seeds: list[Ticket], tiny: Path
) -> None:
    merged = tombola.merge(seeds, rule="majority", sparsity=sparsity)
    assert merged.sparsity == Decimal(sparsity)
    weights = scope_parameters(AutoModel.from_pretrained(tiny), "encoder")
    count = votes(seeds)
    ranked = sorted(
        (int(vote), float(abs(weight)), -at, name)
        for name in merged.mask
        for at, (vote, weight) in enumerate(
            zip(count[name].flatten(), weights[name].detach().flatten(), strict=True)
        )
    )
    pruned = pruned_count(Decimal(sparsity), merged.mask.size)
    assert len({rank[1] for rank in ranked}) > pruned  # magnitudes decide, not positions
    expected = {(name, -at) for _, _, at, name in ranked[pruned:]}
    kept = {
        (name, at)
        for name, mask in merged.mask.items()
        for at in mask.flatten().nonzero().flatten().tolist()
    }
    assert kept == expected


def test_equal_votes_and_magnitudes_are_pruned_by_name_then_position(
    seeds: list[Ticket], tiny: Path
) -> None:
    network = AutoModel.from_pretrained(tiny)
    for weight in scope_parameters(network, "encoder").values():
        weight.data.fill_(0.5)
    base = tombola.one_shot(network, sparsity=0)
    both = [base, replace(base, seed=1)]
    merged = tombola.merge(both, rule="majority", sparsity="0.5", model=network)
    flat = torch.cat([merged.mask[name].flatten() for name in sorted(merged.mask)])
    pruned = merged.mask.pruned
    assert not flat[:pruned].any()
    assert flat[pruned:].all()


def test_a_merged_ticket_says_what_its_sources_agree_on_and_remembers_each(
    seeds: list[Ticket],
) -> None:
    merged = tombola.merge(seeds, rule="majority", sparsity="0.6")
    assert (merged.task, merged.seed, merged.scores) == ("sentiment", None, "magnitude")
    kept = merged.provenance
    assert kept["recipe"] == {"epochs": 1}
    assert "dense" not in kept
    assert kept["merged"]["rule"] == "majority"
    for record, source in zip(kept["merged"]["sources"], seeds, strict=True):
        shared = {"format", "version", "fingerprint", "scope", "size", "shapes"}
        assert record == {n: v for n, v in source.to_json().items() if n not in shared}
    other = replace(seeds[1], task="valence", provenance={"recipe": {"epochs": 2}, "split": "test"})
    mixed = tombola.merge([seeds[0], other], rule="union")
    assert mixed.task is None
    assert "recipe" not in mixed.provenance
    assert mixed.provenance["split"] == "test"


def test_tasks_of_one_name_and_different_definitions_are_different(seeds: list[Ticket]) -> None:
    own: list[dict[str, Any]] = [{"name": "sentiment", "about": about} for about in "ab"]
    two = [replace(t, provenance={"task": task}) for t, task in zip(seeds, own, strict=False)]
    merged = tombola.merge(two, rule="union")
    assert merged.task is None
    assert "task" not in merged.provenance
    same = [replace(t, provenance={"task": own[0]}) for t in seeds]
    assert tombola.merge(same, rule="union").provenance["task"] == own[0]


def test_a_merged_ticket_is_not_evaluated_on_a_seed_of_its_sources(
    seeds: list[Ticket], reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    merged = tombola.merge(seeds[:2], rule="union")
    again = tombola.merge([merged, seeds[2]], rule="intersection")
    for seed in (0, 1, 2):
        with pytest.raises(SpecError, match=rf"other than that of its search, got {seed}\."):
            api.evaluate(again, seeds=[9, seed], data=reviews)
    assert api.evaluate(again, seeds=[9], data=reviews, **RECIPE).scores["values"]


@pytest.mark.parametrize(
    "kept",
    [
        *({}, {"merged": None}, {"merged": {"rule": "union"}}, {"merged": {"sources": "all"}}),
        {"merged": {"sources": {"seed": 1}}},
    ],
)
def test_a_provenance_that_names_no_sources_has_none(kept: dict[str, Any]) -> None:
    assert merged_in(kept) is None


def test_whatever_sources_say_is_read_as_text() -> None:
    odd = {"digest": ["x"], "sparsity": 0.5, "task": True, "seed": "\x1b[2J", "scores": None}
    merged = merged_in({"merged": {"rule": 3, "sources": [odd, 7, {"seed": 4}]}})
    assert merged is not None
    assert (merged.rule, len(merged.sources), set(merged.seeds)) == ("3", 2, {4})
    first = merged.sources[0]
    assert (first.digest, first.sparsity, first.task, first.seed) == ("", "", "", "\x1b[2J")


def test_tickets_that_cannot_be_merged_are_refused_in_one_line(
    seeds: list[Ticket], tiny: Path, tmp_path: Path
) -> None:
    first = seeds[0]
    pooled = tombola.one_shot(str(tiny), sparsity="0.5", scope="encoder+pooler")
    other = tombola.one_shot(other_model(tmp_path / "other", tiny), sparsity="0.5")
    for tickets, message in (
        ([first, other], r"of one network, got ticket 1 of .* and ticket 2 of .*other"),
        ([first, pooled], r"of one scope, got ticket 1 of 'encoder' and ticket 2 of 'encoder\+"),
    ):
        with pytest.raises(TicketError, match=message):
            tombola.merge(tickets, rule="union")
    with pytest.raises(SpecError, match="two or more tickets, got one"):
        tombola.merge([first], rule="union")
    few: list[tuple[Any, str]] = [([], "none"), (None, "NoneType"), (first, "one")]
    for wrong, what in few:
        with pytest.raises(SpecError, match=f"two or more tickets, got {what}"):
            tombola.merge(wrong)
    with pytest.raises(SpecError, match="different tickets, got a ticket twice"):
        tombola.merge([first, seeds[1], first], rule="union")
    with pytest.raises(SpecError, match=r"no rule 'unoin'. Did you mean 'union'\?"):
        tombola.merge(seeds, rule="unoin")
    with pytest.raises(SpecError, match="a sparsity is for the rule majority, got one for union"):
        tombola.merge(seeds, rule="union", sparsity=0.5)
    with pytest.raises(SpecError, match=r"a sparsity of at least 0\.1.* got 0\.1\."):
        tombola.merge(seeds, rule="majority", sparsity=0.1)
    moved = [replace(ticket, model="mini") for ticket in seeds]
    with pytest.raises(TicketError, match=r"with fingerprint .* \(mini\).* as `model`"):
        tombola.merge(moved, rule="majority", sparsity=0.5)
    assert tombola.merge(moved, rule="majority", sparsity=0.5, model=tiny).model == "mini"


def test_an_intersection_that_keeps_nothing_is_refused(seeds: list[Ticket]) -> None:
    first = seeds[0]
    inverse = Mask({name: ~kept for name, kept in first.mask.items()})
    other = replace(first, mask=inverse, sparsity=shortest_sparsity(inverse.pruned, inverse.size))
    with pytest.raises(SpecError, match="the intersection of 2 tickets keeps, got none"):
        tombola.merge([first, other], rule="intersection")
    assert tombola.merge([first, other], rule="union").sparsity == 0
