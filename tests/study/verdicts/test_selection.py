"""Networks are chosen by what they are, so that no finder's are taken for another's."""

import pytest

from plan_rows import network, search
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
