"""Plain data become typed records, or one line says what is wrong and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from msgspec import Meta

from tombola.base.errors import SpecError, TicketError
from tombola.base.records import RecordReader

Score = Annotated[float, Meta(ge=0, le=100, description="a number of points")]


@dataclass(frozen=True, kw_only=True)
class Inner:
    name: str
    scores: tuple[Score | None, ...] = ()

    def __post_init__(self) -> None:
        if self.name == "-":
            raise ValueError("a name of letters is expected")


class Verdict(TypedDict):
    status: Literal["matches", "undecided"]
    reason: NotRequired[str | None]


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int
    share: Decimal = Decimal(0)
    inner: Inner | None = None
    all: list[Inner] = field(default_factory=list)
    by_name: Mapping[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
    ready: bool = False


READER = RecordReader(where="x.json", remedy="Fix the file.", error=TicketError)


def test_nested_data_become_what_is_annotated() -> None:
    plain = {
        "count": 3,
        "share": "0.7",
        "inner": {"name": "a", "scores": [1, None]},
        "all": [{"name": "b"}],
        "by_name": {"x": 1.5},
        "verdict": {"status": "matches"},
        "more": 1,
    }
    assert READER.read(Outer, plain) == Outer(
        count=3,
        share=Decimal("0.7"),
        inner=Inner(name="a", scores=(1.0, None)),
        all=[Inner(name="b")],
        by_name={"x": 1.5},
        verdict={"status": "matches"},
    )


WRONG: dict[str, tuple[Any, str]] = {
    "missing": ({}, "expected a whole number as 'count' in x.json, got nothing. Fix the file."),
    "text for a number": ({"count": "3"}, "expected a whole number as 'count' in x.json, got '3'."),
    "true is no number": ({"count": True}, "a whole number as 'count' in x.json, got true."),
    "null": ({"count": None}, "expected a whole number as 'count' in x.json, got null."),
    "a list for an object": ([], r"expected an object in x.json, got \[\]."),
    "nested": (
        {"count": 1, "all": [{"name": "a"}, {"name": "b", "scores": [1, 101]}]},
        "expected a number of points or null as 'all.1.scores.1' in x.json, got 101.",
    ),
    "missing inside": ({"count": 1, "inner": {}}, "expected text as 'inner.name'"),
    "by name": ({"count": 1, "by_name": {"x": 1, "y z": "2"}}, "a number as 'by_name.y z'"),
    "none of several": (
        {"count": 1, "verdict": {"status": "won"}},
        "expected one of matches, undecided as 'verdict.status' in x.json, got 'won'.",
    ),
    "a field that may be absent": (
        {"count": 1, "verdict": {"status": "matches", "reason": 3}},
        "expected text or null as 'verdict.reason' in x.json, got 3.",
    ),
    "wrong by a record's own rule": ({"count": 1, "inner": {"name": "-"}}, "x.json: a name of"),
    "not finite": (
        {"count": 1, "inner": {"name": "a", "scores": [float("nan")]}},
        "a number of points or null as 'inner.scores.0' in x.json, got nan.",
    ),
    "too long to show": ({"count": "x" * 1000}, "got 'x{79}…"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_misfit_is_named_with_its_place_and_what_came(name: str) -> None:
    plain, message = WRONG[name]
    with pytest.raises(TicketError, match=message) as caught:
        READER.read(Outer, plain)
    assert "\n" not in str(caught.value)


def test_unknown_fields_get_the_nearest_name_where_they_are_refused() -> None:
    reader = RecordReader(where="x.yaml", remedy="Fix the file.")
    with pytest.raises(SpecError, match=r"x.yaml: there is no field of a plan 'cuont'.*'count'\?"):
        reader.read(Outer, {"cuont": 1}, what="a plan")
    with pytest.raises(SpecError, match="there is no field of inner 'nmae'"):
        reader.read(Outer, {"count": 1, "inner": {"nmae": "a"}}, what="a plan")


def test_a_person_is_shown_how_to_write_a_value_and_may_not_write_computed_ones() -> None:
    reader = RecordReader(where="x.yaml", remedy="Fix the file.", handwritten=True)
    for plain, remedy in (
        ({}, "got nothing. Add it."),
        ({"count": 1, "inner": {"name": 3}}, "got 3. Put it in quotes."),
        ({"count": 1, "all": "a"}, "got 'a'. Write [a]."),
        ({"count": "a"}, "got 'a'. Fix the file."),
    ):
        with pytest.raises(SpecError) as caught:
            reader.read(Outer, plain, what="a plan")
        assert str(caught.value).endswith(remedy)
    computed = {"ready": True}
    assert reader.read(Outer, {"count": 1}, what="a plan", computed=computed).ready
    with pytest.raises(SpecError, match="no field of a plan 'ready'"):
        reader.read(Outer, {"count": 1, "ready": False}, what="a plan", computed=computed)


@dataclass(frozen=True)
class Strict:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise SpecError(f"value must be 0 or more, got {self.value}.")


def test_a_record_s_own_refusal_gets_its_place() -> None:
    with pytest.raises(TicketError, match=r"x\.json: value must be 0 or more, got -1\."):
        READER.read(Strict, {"value": -1})
    with pytest.raises(TicketError, match="a whole number as 'value'"):
        READER.read(Strict, {"value": None})
