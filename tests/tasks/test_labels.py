"""One convention for labels: a number is a number, however and wherever it is written."""

import random
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from tombola.tasks.labels import class_name, class_of, classes_in, value_of

ONE = ["1", "+1", "01", "1.0", " 1 ", "1.", "1e0", 1, 1.0, Decimal("1.00")]


@pytest.mark.parametrize("label", ONE)
def test_every_spelling_of_a_number_is_one_class_and_one_value(label: Any) -> None:
    assert class_name(label) == "1"
    assert class_of(label, ("-1", "1")) == 1
    assert class_of(label, ("bad", "good")) == 1
    assert class_of(label, ("1", "2", "3")) == 0
    assert value_of(label) == 1.0


@pytest.mark.parametrize("label", ["", "  ", "nan", "NaN", "-inf", "Infinity", None, float("nan")])
def test_what_is_missing_or_not_finite_is_neither_class_nor_value(label: Any) -> None:
    assert class_name(label) is None
    assert class_of(label, ("a", "b")) is None
    assert value_of(label) is None


@pytest.mark.parametrize("label", [float("-inf"), Decimal("NaN"), [1], {"a": 1}, b"1"])
def test_what_is_no_label_is_none(label: Any) -> None:
    assert class_of(label, ("0", "1")) is None
    assert value_of(label) is None


@pytest.mark.parametrize(
    ("label", "names", "place"),
    [
        (True, ("no", "yes"), 1),
        (False, ("False", "True"), 0),
        (True, ("false", "true"), 1),
        ("nan", ("eng", "nan"), 1),
        ("007", ("007", "7"), 0),
        (7, ("007", "7"), 1),
        (-1, ("bad", "good"), None),
        (2, ("bad", "good"), None),
        (0.5, ("bad", "good"), None),
        (0, ("1", "2"), None),
        (10**400, ("0", "1"), None),
        ("1_0", ("0", "10"), None),
    ],
)
def test_a_name_comes_first_and_then_the_value(
    label: Any, names: tuple[str, ...], place: int | None
) -> None:
    assert class_of(label, names) == place


def test_classes_stand_in_one_order_whatever_hashes_and_rows_do() -> None:
    labels: list[Any] = ["10", "+2", "2.0", -1, "01", 1, "0.50"]
    for _ in range(20):
        random.Random(0).shuffle(labels)
        assert classes_in(labels) == ("-1", "0.5", "1", "2", "10")
    assert classes_in(["b", "a", "10", None, ""]) == ("10", "a", "b")
    code = "from tombola.tasks.labels import classes_in; print(classes_in(['1', '01', '0', 'x']))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "5")
    }
    assert len(said) == 1


def test_a_value_of_32_bits_and_its_text_are_one() -> None:
    for text in ("3.8", "0.2", "4.75", "-0.05", "5.000"):
        assert value_of(float(np.float32(text))) == value_of(text) == value_of(Decimal(text))
    assert str(value_of("-0")) == "0.0"
    assert value_of("1e39") is None
    assert value_of(10**400) is None
    assert value_of("3,5") is None
