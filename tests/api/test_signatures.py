"""The public names, and signatures with every knob of the specs."""

import dataclasses
import runpy
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest

import tombola
from tombola import api
from tombola.base.errors import SpecError
from tombola.base.specs import (
    SEEDS,
    EvaluateSpec,
    ExportSpec,
    FindSpec,
    LabSpec,
    TaskSpec,
    TrainSpec,
    TrainTicketSpec,
)
from tombola.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("call", [api.find, partial(api.evaluate, "t"), partial(api.train, "t")])
def test_a_mistyped_argument_is_python_s_own_error(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sparsty'"):
        call(sparsty=0.5)


def test_signatures_are_what_the_specs_make() -> None:
    build = runpy.run_path(str(ROOT / "tools" / "build_signatures.py"))
    kept = (ROOT / "src" / "tombola" / "api" / "signatures.py").read_text(encoding="utf-8")
    assert build["page"]() == kept, "run `python tools/build_signatures.py`"


@pytest.mark.parametrize(
    ("call", "spec", "without"),
    [
        (api.find, FindSpec, ()),
        (api.evaluate, EvaluateSpec, ()),
        (api.train, TrainTicketSpec, ("margin",)),
    ],
)
def test_every_knob_is_in_the_signature_with_its_default(
    call: Callable[..., Any], spec: type, without: tuple[str, ...]
) -> None:
    parameters = signature(call).parameters
    assert {one.kind for one in parameters.values()} <= {
        *(Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD),
    }
    assert not parameters.keys() & {*without}
    for each in (spec, TaskSpec, LabSpec):
        for field in dataclasses.fields(each):
            if field.name not in without:
                default, wanted = parameters[field.name].default, field.default
                assert default == wanted or Decimal(str(default)) == Decimal(str(wanted))
    drawn = {*SEEDS} - {field.name for field in dataclasses.fields(spec)}
    for field in dataclasses.fields(TrainSpec):
        assert (field.name in drawn) == (field.name not in parameters)
        assert field.name in SEEDS or parameters[field.name].default is None


def test_every_knob_of_an_export_is_in_its_signature() -> None:
    parameters = signature(api.export).parameters
    for field in (*dataclasses.fields(ExportSpec), *dataclasses.fields(TaskSpec)):
        if field.name not in ("eval_split", "margin", "drop_bad_rows"):
            assert parameters[field.name].default == field.default


def test_a_default_that_is_asked_for_may_contradict_another_knob() -> None:
    with pytest.raises(SpecError, match="the last of the rounds is the final sparsity"):
        api.find(rounds=(0.5, 0.6), sparsity=float("0.7"))


def test_the_package_has_its_public_names_and_no_others() -> None:
    assert tombola.find is api.find
    assert tombola.Ticket is Ticket
    assert tombola.model_path("mini").endswith("mini")
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = tombola.serach
