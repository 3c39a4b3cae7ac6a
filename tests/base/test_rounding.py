"""One form of a percentage, of points, of a mean with its spread, of an interval."""

from decimal import Decimal

import pytest

from tombola.base.rounding import decimals, interval, mean_sd, percent, points, unrounded


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (Decimal("0.7"), "70 %"),
        ("0.70", "70 %"),
        (0.0, "0 %"),
        (1, "100 %"),
        ("0.8926258176", "89.263 %"),
        (Decimal("0.999999"), "99.9999 %"),
    ],
)
def test_percent_shows_five_digits_and_calls_nothing_all_that_is_less(
    share: Decimal | float | str, text: str
) -> None:
    assert percent(share) == text


def test_percent_takes_a_number_of_decimals() -> None:
    assert (percent(0.3034, digits=1), percent(0, digits=2)) == ("30.3 %", "0.00 %")


def test_points_have_a_sign_where_asked_for_and_zero_has_no_minus() -> None:
    assert [points(-0.001), points(-0.001, signed=True)] == ["0.00", "+0.00"]
    assert [points(81.304), points(-1.26, signed=True, digits=1)] == ["81.30", "-1.3"]


def test_a_mean_stands_alone_without_a_spread() -> None:
    assert [mean_sd(81.3, 0.42), mean_sd(81.3, None)] == ["81.30 ± 0.42", "81.30"]
    assert mean_sd(81.3, 0.42, digits=1) == "81.3 ± 0.4"


def test_an_interval_has_both_signs() -> None:
    assert interval((-0.5, 0.3)) == "-0.50 to +0.30"


def test_decimals_grow_until_an_end_no_longer_looks_like_the_limit() -> None:
    assert decimals((-0.5, 0.3), 1.0) == 1
    assert decimals((-0.96, 0.3), 1.0) == 2
    assert decimals((-1.0, 0.3), 1.0) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "0.0001"),
        (3e-5, "3e-05"),
        (3.0, "3"),
        (0.5, "0.5"),
        (1.2345678e-4, "0.00012345678"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_what_is_not_rounded_is_as_short_as_it_can_be(value: float, text: str) -> None:
    assert unrounded(value) == text
