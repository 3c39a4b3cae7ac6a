"""Networks are chosen by what they are, so that no finder's are taken for another's."""

from typing import Any

import pytest

from plan_rows import network, search
from tombola.study.verdicts.comparison import Comparison
from tombola.study.verdicts.selection import NetworkFilter


@pytest.mark.parametrize(("finder", "admitted"), [("", True), ("imp", True), ("snip", False)])
def test_transfers_and_controls_are_those_of_imp_unless_another_is_named(
    finder: str, admitted: bool
) -> None:
    (moved, *_) = network("transfer", "b", 0.0, arm="moved", source="a", finder=finder)
    (control, *_) = network("reinit", "b", 0.0, arm="c", of="t", source="b", finder=finder)
    for row in (moved, control):
        assert NetworkFilter(kinds=(row.kind,)).admits(row) == admitted
    named = NetworkFilter(kinds=("transfer",), finder="snip")
    assert named.admits(moved) == (finder != "imp")
    assert str(named) == "transfer by snip"


def test_masks_are_of_single_weights_unless_a_structure_is_named() -> None:
    (pairs, *_) = search("a", 0.0, structure="2:4")
    assert not NetworkFilter(kinds=("imp",)).admits(pairs)
    named = NetworkFilter(kinds=("imp",), structure="2:4")
    assert named.admits(pairs)
    assert not named.admits(search("a", 0.0)[0])
    assert str(named) == "imp of structure 2:4"


def test_tickets_and_dense_are_chosen_by_their_kind() -> None:
    (ticket, *_) = search("a", 0.0, finder="imp")
    assert NetworkFilter(kinds=("imp",)).admits(ticket)
    assert not NetworkFilter(kinds=("snip",), finder="snip").admits(ticket)


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        ({"knobs": ("allocation=erk",)}, "imp with allocation=erk"),
        ({"budget": 3.0}, "imp with budget 3"),
        ({"distill": 0.5}, "imp with distill 0.5"),
        (
            {"distill": 0.5, "distill_temperature": 4.0},
            "imp with distill 0.5 and distill_temperature 4",
        ),
        ({"init": "signs"}, "imp with init signs"),
    ],
)
def test_tickets_on_other_terms_are_chosen_only_if_the_terms_are_named(
    terms: dict[str, Any], named: str
) -> None:
    plain, like = NetworkFilter(kinds=("imp",)), NetworkFilter(kinds=("imp",), **terms)
    rows = search("a", 0.0)[0], search("a", 0.0, **terms)[0]
    assert [[each.admits(row) for row in rows] for each in (plain, like)] == [
        [True, False],
        [False, True],
    ]
    assert plain.like(rows[1]) == like
    assert str(like) == named


def test_evaluated_tickets_start_from_the_pre_trained_weights_and_controls_from_their_own() -> None:
    plain = NetworkFilter(kinds=("evaluate", "reinit"))
    evaluated = network("evaluate", "a", 0.0, init="reinit")[0]
    control = network("reinit", "a", 0.0, init="reinit", of="tickets", source="a")[0]
    assert plain.admits(network("evaluate", "a", 0.0)[0])
    assert not plain.admits(evaluated)
    assert plain.admits(control)
    assert plain.like(control) == plain
    assert Comparison((evaluated,)).about() == "evaluate, init reinit - dense on a at 70 %"


def test_tickets_are_of_the_recipe_s_rate_and_controls_of_any() -> None:
    swept = search("a", 0.0, name="imp, learning rate 0.001")[0]
    name = "random, learning rate 0.001"
    control = network("random", "a", 0.0, name=name, arm="c", of="tickets", source="a")[0]
    assert not NetworkFilter(kinds=("imp",)).admits(swept)
    assert NetworkFilter(kinds=("imp",), swept=True).admits(swept)
    assert NetworkFilter(kinds=("random",)).admits(control)
