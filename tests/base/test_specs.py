"""A spec refuses nonsense in one line, and a result is named by what made it."""

import dataclasses
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import numpy as np
import pytest

from tombola.base.errors import SpecError
from tombola.base.keys import changed_knobs, exact_fraction, key
from tombola.base.specs import (
    DEFAULT_CONTROLS,
    INIT_NAMES,
    OPTIONAL_CONTROLS,
    BenchSpec,
    CourseSpec,
    EvaluateSpec,
    FindSpec,
    LabSpec,
    PruneSpec,
    Spec,
    TaskSpec,
    TrainSpec,
)
from tombola.finders.imp import ImpSpec

D = Decimal


@pytest.mark.parametrize("value", ["0.70", "0.7", 0.7, D("0.7"), D("0.70"), "7e-1", " 0.7 "])
def test_a_fraction_is_the_decimal_that_was_written(value: Any) -> None:
    assert exact_fraction(value) == D(7) / D(10)
    assert str(exact_fraction(value)) == "0.7"


def test_zero_has_no_sign() -> None:
    assert {str(exact_fraction(zero)) for zero in (0, 0.0, -0.0, "-0", "0.00")} == {"0"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (70, r"sparsity must be at least 0 and below 1, got 70. For 70 % write 0.7."),
        ("12.5", r"sparsity must be at least 0 and below 1, got 12.5. For 12.5 % write 0.125."),
        (1.0, "sparsity must be at least 0 and below 1, got 1.0."),
        (100, "sparsity must be at least 0 and below 1, got 100."),
        (-0.1, "sparsity must be at least 0 and below 1, got -0.1."),
        ("70%", "sparsity must be at least 0 and below 1, got '70%'."),
        ("nan", "sparsity must be at least 0 and below 1, got 'nan'."),
        ("sNaN", "sparsity must be at least 0 and below 1, got 'sNaN'."),
        ("inf", "sparsity must be at least 0 and below 1, got inf."),
        (None, "sparsity must be at least 0 and below 1, got None."),
    ],
)
def test_a_bad_fraction_is_refused_with_what_to_write(value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        exact_fraction(value)
    assert str(caught.value) == message


BAD: list[tuple[type, dict[str, Any], str]] = [
    *((TrainSpec, {name: 0}, f"{name} must be above 0") for name in ("epochs", "clip_norm")),
    *(
        (TrainSpec, {name: -1}, f"{name} must be 0 or more")
        for name in ("seed", "train_limit", "test_limit")
    ),
    (TrainSpec, {"order_seed": -2}, "order_seed must be 0 or more, or -1, got -2"),
    (TrainSpec, {"batch_size": 0}, "batch_size must be above 0, got 0"),
    (TrainSpec, {"max_length": -3}, "max_length must be above 0, got -3"),
    (TrainSpec, {"learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
    (TrainSpec, {"epochs": float("inf")}, "epochs must be above 0, got inf"),
    (TrainSpec, {"weight_decay": float("inf")}, "weight_decay must be 0 or more, got inf"),
    (TrainSpec, {"warmup": 1.5}, r"warmup must be between 0 and 1, got 1.5"),
    (TrainSpec, {"accumulation": 0}, "accumulation must be above 0, got 0"),
    (TrainSpec, {"precision": "fp8"}, "precision must be fp32, bf16, fp16 or auto, got 'fp8'"),
    (ImpSpec, {"sparsity": D(0)}, "sparsity must be above 0 in a search"),
    (ImpSpec, {"sparsity": D(70)}, "For 70 % write 0.7"),
    (ImpSpec, {"step": D(10)}, r"step must be .* For 10 % write 0\.1"),
    (FindSpec, {"controls": ("radnom",)}, "no control 'radnom'. Did you mean 'random'?"),
    (
        FindSpec,
        {"controls": ("small-dens",)},
        "no control 'small-dens'. Did you mean 'small-dense'?",
    ),
    *((spec, {"rewind_step": -1}, "rewind_step must be 0 or more, got -1") for spec in (ImpSpec,)),
    (FindSpec, {"scope": "encodr"}, "no scope 'encodr'. Did you mean 'encoder'?"),
    (LabSpec, {"engine": "rey"}, "no engine 'rey'. Did you mean 'ray'?"),
    *((LabSpec, {n: -1}, f"{n} must be 0 or more, got -1") for n in ("workers", "threads")),
    (LabSpec, {"processes": 0}, "processes must be 1 or more, got 0"),
    (ImpSpec, {"sparsity": D(0)}, "sparsity must be above 0 in a search"),
    (ImpSpec, {"rewind_fraction": D(5)}, r"rewind_fraction must be .* For 5 % write 0\.05"),
    (ImpSpec, {"rewind_step": 3, "rewind_fraction": D("0.1")}, "got 3 and 0.1. Leave one out"),
    *(
        (ImpSpec, {"no_rewind": True, **more}, f"{next(iter(more))} says what to rewind, got both")
        for more in ({"rewind_step": 1}, {"rewind_fraction": D("0.1")}, {"keep_head": True})
    ),
    (
        ImpSpec,
        {"rounds": ("0.5", "0.5")},
        r"rounds must be rising sparsities above 0, got 0\.5, 0\.5",
    ),
    (ImpSpec, {"rounds": (0, 0.5)}, r"rising sparsities above 0, got 0, 0\.5"),
    (ImpSpec, {"rounds": (0.5, 7)}, r"each of the rounds must be at least 0 and below 1, got 7"),
    (ImpSpec, {"rounds": (0.5,), "step": 0.2}, r"outright, got 0\.5 and step 0\.2. Leave one out"),
    (ImpSpec, {"rounds": (0.5,), "schedule": "geometric"}, "got 0.5 and schedule geometric"),
    (ImpSpec, {"rounds": (0.5,), "sparsity": 0.7}, r"got rounds 0\.5 and sparsity 0\.7. Leave"),
    *((CourseSpec, {n: -1}, f"{n} must be an integer of 0 or more") for n in ("first", "last")),
    (CourseSpec, {"horizon": 0}, "horizon must be an integer of 1 or more, got 0"),
    (CourseSpec, {"first": 4, "last": 4}, "last must be after first, got last 4 and first 4"),
    (FindSpec, {"seeds": ()}, "seeds must be distinct integers"),
    (FindSpec, {"seeds": (1, 1)}, "seeds must be distinct integers"),
    (
        FindSpec,
        {"controls": ("signs", "signs")},
        "controls must be different names, got 'signs' twice",
    ),
    (BenchSpec, {"runtimes": ("a", "b", "a")}, "runtimes must be different names, got 'a' twice"),
    (EvaluateSpec, {"seeds": (-1,)}, "seeds must be distinct integers"),
    (EvaluateSpec, {"init": "shufle"}, "no initialisation 'shufle'. Did you mean 'shuffle'?"),
]


@pytest.mark.parametrize(("spec", "options", "message"), BAD)
def test_a_spec_refuses_nonsense(spec: type, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        spec(**options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def test_the_last_round_is_the_final_sparsity() -> None:
    spec = ImpSpec(rounds=("0.30", 0.5))  # type: ignore[arg-type]
    assert (spec.rounds, spec.sparsity) == ((D("0.3"), D("0.5")), D("0.5"))
    assert ImpSpec(rounds=spec.rounds, sparsity=D("0.50")).sparsity == D("0.5")


def test_a_sparsity_that_nobody_asked_for_follows_the_knobs_that_are_replaced() -> None:
    patterned = dataclasses.replace(PruneSpec(), structure="2:4")
    assert patterned == PruneSpec(structure="2:4")
    assert dataclasses.replace(patterned, structure="1:4").sparsity == D("0.75")
    assert dataclasses.replace(patterned, structure="rows") == PruneSpec(structure="rows")
    assert changed_knobs(patterned) == {"sparsity": "0.5", "structure": "2:4"}
    stepped = dataclasses.replace(ImpSpec(), rounds=(D("0.3"), D("0.6")))
    assert dataclasses.replace(stepped, rounds=(D("0.5"),)).sparsity == D("0.5")
    assert dataclasses.replace(stepped, rounds=()) == ImpSpec()
    for asked in (
        PruneSpec(sparsity=D("0.7")),
        dataclasses.replace(PruneSpec(), sparsity=D("0.7")),
    ):
        with pytest.raises(SpecError, match=r"2:4 keeps 2 of each 4 weights, got sparsity 0\.7"):
            dataclasses.replace(asked, structure="2:4")
    with pytest.raises(SpecError, match=r"2:4 keeps 2 of each 4 weights, got sparsity 0\.6"):
        ImpSpec(structure="2:4", rounds=(D("0.6"),))


def test_only_changed_knobs_are_named() -> None:
    unchanged = (
        *(FindSpec(), TrainSpec(), EvaluateSpec(), ImpSpec(), CourseSpec()),
        *(ImpSpec(rewind_fraction=D("0.0")), ImpSpec(sparsity=D("0.70"))),
        FindSpec(controls=DEFAULT_CONTROLS),
    )
    assert [*map(changed_knobs, unchanged)] == [{}] * len(unchanged)
    assert changed_knobs(CourseSpec(last=7)) == {"last": 7}
    head = ImpSpec(keep_head=True, rewind_step=3)
    assert changed_knobs(head) == {"keep_head": True, "rewind_step": 3}
    changed = changed_knobs(ImpSpec(sparsity=D("0.50"), step=D("0.25")))
    assert changed == {"sparsity": "0.5", "step": "0.25"}
    assert changed_knobs(FindSpec(seeds=(0, 1), controls=())) == {"seeds": (0, 1), "controls": ()}
    rounds = changed_knobs(ImpSpec(rounds=(0.5, D("0.70"))))  # type: ignore[arg-type]
    assert rounds == {"rounds": ("0.5", "0.7")}
    assert changed_knobs(ImpSpec(step=D("0.0000001")))["step"] == "0.0000001"


@pytest.mark.parametrize(
    ("examples", "options", "steps"),
    [
        (64, {}, 6),
        (65, {}, 9),
        (65, {"train_limit": 64}, 6),
        (10, {"train_limit": 64}, 3),
        (64, {"epochs": 0.5}, 1),
        (64, {"epochs": 0.01}, 1),
        (1000, {"epochs": 2.5, "batch_size": 7}, 358),
    ],
)
def test_steps_are_whole_batches_of_what_is_used_and_never_none(
    examples: int, options: dict[str, Any], steps: int
) -> None:
    assert TrainSpec(**options).steps(examples) == steps


def test_controls_that_are_not_the_default_are_taken_by_name() -> None:
    assert FindSpec().controls == DEFAULT_CONTROLS
    assert not {*DEFAULT_CONTROLS} & {*OPTIONAL_CONTROLS}
    assert FindSpec(controls=OPTIONAL_CONTROLS).controls == OPTIONAL_CONTROLS
    assert {EvaluateSpec(init=init).init for init in INIT_NAMES} == {*INIT_NAMES}


def test_a_whole_number_and_its_float_are_one_knob() -> None:
    whole: Any = {"epochs": 4, "clip_norm": 2, "weight_decay": 1, "warmup": 1}
    floats: Any = {name: float(value) for name, value in whole.items()}
    assert repr(TrainSpec(**whole)) == repr(TrainSpec(**floats))
    assert key("find", 1, **changed_knobs(TrainSpec(**whole))) == key("find", 1, **floats)


def test_a_key_does_not_depend_on_the_order_of_its_parts() -> None:
    parts = {"model": "m", "train": {"epochs": 1.0, "batch_size": 8}, "seeds": [0, 1]}
    mixed = {"seeds": [0, 1], "train": {"batch_size": 8, "epochs": 1.0}, "model": "m"}
    assert key("find", 1, **parts) == key("find", 1, **mixed)


def test_every_part_of_a_key_counts() -> None:
    parts: dict[str, Any] = {"a": 1, "b": [0, 1]}
    keys = [
        key("find", 1, **parts),
        key("find", 2, **parts),
        key("evaluate", 1, **parts),
        key("find", 1, **{**parts, "a": "1"}),
        key("find", 1, **{**parts, "b": [1, 0]}),
        key("find", 1, **{**parts, "c": None}),
    ]
    assert len(set(keys)) == len(keys)


PINNED: dict[str, tuple[dict[str, Any], str]] = {
    "defaults": (
        {
            **changed_knobs(FindSpec()),
            **changed_knobs(ImpSpec()),
            **changed_knobs(TrainSpec()),
            **changed_knobs(EvaluateSpec()),
        },
        "dd4da93d624c2667f6a298d231e0c72517bababd63c2cd3cb2d11ce4df914210",
    ),
    "search": (
        {
            **changed_knobs(FindSpec(seeds=(0, 1), controls=())),
            **changed_knobs(ImpSpec(sparsity=D("0.50"), schedule="geometric")),
        },
        "e91d67b68c74c5199d388d3dba4bfb61b590c3700fec533ff94f9ae880161506",
    ),
    "recipe": (
        changed_knobs(TrainSpec(epochs=1, learning_rate=4e-4, max_length=96, precision="bf16")),
        "3e0c68a0d638f43f8d01cee2b719ef8c7ae40059367f8da9ee1e14929053746a",
    ),
    "test": (
        changed_knobs(EvaluateSpec(task="mlm", init="reinit", seeds=(7,))),
        "d12d966b30b6936f21566d9fbdffb978f62ed3e39ebbfc8e8639aafbe9156493",
    ),
}
"""Parts of a result's name, and the name: people have results of these names for ever."""


@pytest.mark.parametrize("name", PINNED)
def test_old_results_keep_their_names(name: str) -> None:
    parts, expected = PINNED[name]
    assert key("find", 1, **parts) == expected


DEFAULTS: list[tuple[type, dict[str, Any]]] = [
    (
        TrainSpec,
        {
            "seed": 0,
            "order_seed": -1,
            "epochs": 3.0,
            "batch_size": 32,
            "learning_rate": 2e-5,
            "warmup": 0.0,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
            "max_length": 128,
            "stride": 0,
            "query_length": 0,
            "blocks": False,
            "train_limit": 0,
            "test_limit": 0,
            "precision": "fp32",
        },
    ),
    (CourseSpec, {"first": 0, "last": 0, "horizon": 1}),
    (
        FindSpec,
        {
            "model": "mini",
            "task": "sentiment",
            "finder": "imp",
            "scope": "encoder",
            "seeds": (0,),
            "controls": ("random", "layer-random", "one-shot", "reinit", "shuffle"),
        },
    ),
    (
        ImpSpec,
        {
            "structure": "unstructured",
            "sparsity": D("0.7"),
            "schedule": "linear",
            "step": D("0.1"),
            "rewind_step": 0,
            "rewind_fraction": D(0),
            "no_rewind": False,
            "keep_head": False,
            "long_horizon": False,
            "prune_first": False,
        },
    ),
    (EvaluateSpec, {"task": "", "init": "pretrained", "seeds": (100,)}),
]


@pytest.mark.parametrize(("spec", "pinned"), DEFAULTS)
def test_no_default_changes_in_place(spec: type, pinned: dict[str, Any]) -> None:
    """A default is left out of a name, so another value under it would be another result."""
    made = spec()
    assert {name: getattr(made, name) for name in pinned} == pinned


# types


WRONG: dict[Any, tuple[Any, ...]] = {
    int: (1.5, "1", True, None, [1], D(1)),
    float: ("1", True, None, [1.0]),
    bool: ("no", 0, 1, None, []),
    str: (0, True, None, ["mini"], b"mini"),
    D: (True, None, [0.5], b"0.5"),
    tuple[int, ...]: (1, "12", None, [1.5], [True], ["1"], {1: 2}, {1, 2}, b"1"),
    tuple[str, ...]: ("random", 1, None, [1], [None], {"a": 1}),
    tuple[D, ...]: ("0.5", 0.5, None, [None], [True], [[0.5]]),
}
"""Type of a field -> what is not of it."""


def specs(of: Any = Spec) -> Iterator[Any]:
    for spec in of.__subclasses__():
        yield spec
        yield from specs(spec)


def test_every_field_of_every_spec_says_what_it_may_hold() -> None:
    checked = 0
    for spec in specs():
        for field in dataclasses.fields(spec):
            optional = isinstance(field.type, UnionType)
            kind: Any = get_args(field.type)[0] if optional else field.type
            for value in WRONG[kind]:
                if optional and value is None:
                    continue
                with pytest.raises(SpecError, match=f"^{field.name} must ") as refused:
                    spec(**{field.name: value})
                assert "\n" not in str(refused.value)
                checked += 1
    assert {spec.__name__ for spec in specs()} >= {
        *("TrainSpec", "TaskSpec", "CourseSpec", "ImpSpec", "FindSpec", "EvaluateSpec", "LabSpec"),
    }
    assert checked > 300


def test_numbers_and_arrays_of_numpy_are_taken_as_what_they_show() -> None:
    spec = FindSpec(seeds=np.arange(2), budget=np.int64(2))  # type: ignore[arg-type]
    assert (spec.seeds, spec.budget) == ((0, 1), 2.0)
    assert [type(seed) for seed in spec.seeds] == [int, int]
    assert FindSpec(seeds=[np.int64(3)]).seeds == (3,)  # type: ignore[arg-type]
    rate = TrainSpec(learning_rate=np.float32(1e-4)).learning_rate  # type: ignore[arg-type]
    assert (rate, type(rate)) == (1e-4, float)
    assert ImpSpec(sparsity=np.float32(0.7)).sparsity == D("0.7")  # type: ignore[arg-type]
    assert TaskSpec(labels=np.array(["a", "b"])).labels == ("a", "b")  # type: ignore[arg-type]
    for wrong in (np.bool_(True), np.array([[1]]), np.float64(1)):
        with pytest.raises(SpecError, match="seeds must be"):
            FindSpec(seeds=[wrong])  # type: ignore[arg-type]


def test_a_place_may_be_in_the_home_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert LabSpec(store="~/store", track_dir="~/logs").store == "/home/me/store"
    assert FindSpec(model="~/bert").model == "/home/me/bert"
    assert FindSpec(model="a~/b").model == "a~/b"


def test_none_stands_for_no_controls_and_stands_alone() -> None:
    assert FindSpec(controls=("none",)).controls == ()
    with pytest.raises(SpecError, match=r"names, or none alone, got \('random', 'none'\)"):
        FindSpec(controls=("random", "none"))


def test_what_comes_may_be_a_list_or_a_path_and_is_quoted_as_far_as_it_fits() -> None:
    made = FindSpec(seeds=[0, 1], controls=[])  # type: ignore[arg-type]
    assert (made.seeds, made.controls) == ((0, 1), ())
    rounds = ImpSpec(rounds=[0.5, "0.7"]).rounds  # type: ignore[arg-type]
    assert rounds == (D("0.5"), D("0.7"))
    assert FindSpec(seeds=range(2)).seeds == (0, 1)  # type: ignore[arg-type]
    assert LabSpec(store=Path("runs")).store == "runs"  # type: ignore[arg-type]
    assert TaskSpec(labels=["a", "b"]).labels == ("a", "b")  # type: ignore[arg-type]
    with pytest.raises(SpecError) as refused:
        FindSpec(model=["x" * 999])  # type: ignore[arg-type]
    assert len(str(refused.value)) < 120
    with pytest.raises(
        SpecError, match=r"seeds must be a list of whole numbers, got 5\. Write \[5\]\."
    ):
        FindSpec(seeds=5)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"Write \['random', 'shuffle'\]\."):
        FindSpec(controls="random, shuffle")  # type: ignore[arg-type]
