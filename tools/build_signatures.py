"""Writes src/tombola/api/signatures.py: find(), evaluate(), train() and export(), every knob in the
signature.

Names, types and defaults are those of the specs. A knob of the recipe is None by default, because
the task decides its value.

    python tools/build_signatures.py
"""

import dataclasses
import textwrap
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from tombola.base.specs import (
    SEEDS,
    TUNE,
    EvaluateSpec,
    ExportSpec,
    FindSpec,
    LabSpec,
    TaskSpec,
    TrainSpec,
    TrainTicketSpec,
)
from tombola.base.specs.prune import Implied
from tombola.finders.imp import ImpSpec

PAGE = Path(__file__).parents[1] / "src" / "tombola" / "api" / "signatures.py"

TYPES: dict[Any, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    Decimal: "Fraction",
    tuple[int, ...]: "Sequence[int]",
    tuple[str, ...]: "Sequence[str]",
    tuple[Decimal, ...]: "Sequence[Fraction]",
    float | None: "float | None",
    int | None: "int | None",
}
"""Type of a field -> what may be given for it."""

PATHS = ("model", "store", "track_dir")
"""Fields of text that may be given as a path."""

HEAD = '''\
"""The public functions `find`, `evaluate`, `train` and `export`, each knob in its signature.

Written by tools/build_signatures.py; run it after changing a spec.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

from tombola.api.evaluation import evaluate_ticket
from tombola.api.given import given, place_of, text_of, with_finder_knobs
from tombola.api.onnx.exporting import ExportResult, export_network
from tombola.api.search import search
from tombola.api.training import train_ticket
from tombola.base.errors import naming_keywords
from tombola.base.fields import StrPath
from tombola.base.specs.prune import Implied
from tombola.lab.run.engine import RunCallback
from tombola.study.results.evaluation_result import EvaluationResult
from tombola.study.results.search_result import SearchResult
from tombola.study.results.training_result import TrainingResult
from tombola.ticket.ticket import Ticket

__all__ = ["Fraction", "evaluate", "export", "find", "train"]

Fraction: TypeAlias = float | str | Decimal
"""A fraction that is read as the decimal that was written: 0.7 is exactly 7/10."""

OF_FIND = ("finder_knobs", "keep_weights", "from_ticket")
"""Parameters of `find` that are not options of a search."""


# fmt: off
'''

FIND = '''\
) -> SearchResult:
    """Find a ticket; the knobs are fields of the specs, described by `tombola find --help`.

    Args:
        finder_knobs: knobs of another finder than imp, by name: `{"batches": 4}` of snip.
        output: folder for the result and the tickets; by default a new one under `runs/`.
        data: folder with the task's files, or `hub:OWNER/NAME`, instead of the task's own.
        callback: called as the jobs run, such as `ProgressBar()`; by default nothing is shown.
        keep_weights: save the trained network of each ticket next to it, as `train` does.
        from_ticket: the ticket that the search starts from, its folder, or what `find` returned.

    Raises: TombolaError, if a knob, the model or the data are not usable, or a training fails.
    """
    options = with_finder_knobs(given(find, locals(), leave_out=OF_FIND), finder_knobs)
    return search(
        options, output=place_of(output), data=text_of(data), callback=callback or RunCallback(),
        keep_weights=keep_weights, from_ticket=from_ticket,
    )
'''

EVALUATE = '''\
) -> EvaluationResult:
    """Train a ticket on a task with fresh seeds, next to the dense network.

    Every knob is a field of `EvaluateSpec`, `TaskSpec`, `TrainSpec` or `LabSpec`, with its
    description there and in `tombola evaluate --help`. Task, data, recipe and margin are those of
    the ticket's search unless they are given.

    Args:
        ticket: a ticket, its folder, or what `find` returned for one seed.
        model: where the ticket's network is, if not under the name that the ticket gives.
        output: folder for the result; by default one under `runs/`, named by the experiment.
        data: folder with the task's files, or `hub:OWNER/NAME`, instead of the ticket's.
        callback: called as the jobs run, such as `ProgressBar()`; by default nothing is shown.

    Raises: TombolaError, if a knob, the ticket, the model or the data are not usable;
        JobFailedError, if a training fails for another reason.
    """
    return evaluate_ticket(
        ticket, given(evaluate, locals(), leave_out=("ticket", "model")), model=text_of(model),
        output=place_of(output), data=text_of(data), callback=callback or RunCallback(),
    )
'''

TRAIN = '''\
) -> TrainingResult:
    """Train a ticket on a task, and keep the network as a folder that `from_pretrained` reads.

    Every knob is a field of `TrainTicketSpec`, `TaskSpec`, `TrainSpec` or `LabSpec`, with its
    description there and in `tombola train --help`. Task, data and recipe are those of the
    ticket's search unless they are given. The score is the one of `evaluate` for the same seed.

    Args:
        ticket: a ticket, its folder, or what `find` returned for one seed.
        model: where the ticket's network is, if not under the name that the ticket gives.
        output: new folder for the network; by default one under `runs/`, named by the training.
        data: folder with the task's files, or `hub:OWNER/NAME`, instead of the ticket's.
        callback: called as the job runs, such as `ProgressBar()`; by default nothing is shown.

    Raises: TombolaError, if a knob, the ticket, the model or the data are not usable;
        TrainingDivergedError, if the training diverges; JobFailedError, if it fails for another
        reason.
    """
    return train_ticket(
        ticket, given(train, locals(), leave_out=("ticket", "model")), model=text_of(model),
        output=place_of(output), data=text_of(data), callback=callback or RunCallback(),
    )
'''

EXPORT = '''\
) -> ExportResult:
    """Write a network with the head of a task as an ONNX file, with inputs of any batch and length.

    The file is run in ONNX Runtime on examples of the task's dev split before it gets its name.
    Every knob is a field of `ExportSpec` or `TaskSpec`, with its description there and in
    `tombola export --help`.

    Args:
        source: folder of a trained network, or what `tombola.train` returned; or a ticket, its
            folder, or what `find` returned for one seed, of which the pre-trained network is
            exported with its pruned weights at zero, for a head that its files hold.
        output: the file to write, such as model.onnx; the ending is required.
        data: where the task's files are, if not in the package.
        model: where a ticket's network is, if not under the name that the ticket gives.

    Raises: TombolaError, if one of them can't be used, or the file is not the network: an output
        differs by more than 1e-4, or a zero is lost.
    """
    return export_network(
        source, given(export, locals(), leave_out=("source", "model")), output=output,
        data=text_of(data), model=text_of(model),
    )
'''

PLACES = (
    "output: StrPath | None = None",
    "data: StrPath | None = None",
    "callback: RunCallback | None = None",
)

OF_SCORES = ("eval_split", "margin", "drop_bad_rows")
"""Fields of `TaskSpec` that mean nothing for an export."""

OTHERS = "finder_knobs: Mapping[str, object] | None = None"
OF_FIND = ("keep_weights: bool = False", "from_ticket: Ticket | StrPath | None = None")


def page() -> str:
    """The whole module."""
    find = [
        *_group(
            "the search: iterative magnitude pruning, or another finder",
            (*_knobs(FindSpec), *_knobs(ImpSpec), OTHERS),
        ),
        *_shared(TUNE, (*PLACES, *OF_FIND)),
    ]
    model = ("model: StrPath | None = None", *PLACES)
    evaluate = [*_group("the evaluation", _knobs(EvaluateSpec)), *_shared("", model)]
    of_training = _group("the training", _knobs(TrainTicketSpec))
    train = [*of_training, *_shared("", model, leave_out=("margin",))]
    columns = [name for name in _names(TaskSpec) if name not in OF_SCORES]
    export = [
        *_group("the export", ("output: StrPath", *_knobs(ExportSpec))),
        *_group("the user's own data", _knobs(TaskSpec, columns)),
        *_group("files", ("data: StrPath | None = None", "model: StrPath | None = None")),
    ]
    return (
        HEAD
        + "".join(["@naming_keywords()\ndef find(\n    *,\n", *find, FIND])
        + "\n\n"
        + "@naming_keywords()\ndef evaluate(\n    ticket: Ticket | StrPath,\n    *,\n"
        + "".join([*evaluate, EVALUATE])
        + "\n\n"
        + "@naming_keywords()\ndef train(\n    ticket: Ticket | StrPath,\n    *,\n"
        + "".join([*train, TRAIN])
        + "\n\n"
        + "@naming_keywords()\ndef export(\n    source: Ticket | StrPath,\n    *,\n"
        + "".join([*export, EXPORT])
        + "# fmt: on\n"
    )


def _shared(tune: str, files: Iterable[str], leave_out: Collection[str] = ()) -> Iterator[str]:
    """The groups that all functions have.

    Args:
        tune: a word that may stand for a learning rate; empty for none.
        files: parameters that are no knobs.
        leave_out: fields of `TaskSpec` that mean nothing for the function.
    """
    names = [name for name in _names(TrainSpec) if name not in SEEDS]
    recipe = _knobs(TrainSpec, names, optional=True)
    if tune:
        rate = "learning_rate: float"
        recipe = [each.replace(rate, f'{rate} | Literal["{tune}"]') for each in recipe]
    about = [name for name in _names(TaskSpec) if name not in leave_out]
    yield from _group("the task", _knobs(TaskSpec, about))
    yield from _group("the recipe; None is the task's", recipe)
    yield from _group("laboratory and files", (*_knobs(LabSpec), *files))


def _names(spec: type) -> list[str]:
    return [field.name for field in dataclasses.fields(spec)]


def _knobs(spec: type, names: Iterable[str] | None = None, *, optional: bool = False) -> list[str]:
    """The parameters of some fields of a spec, or of all."""
    fields = {field.name: field for field in dataclasses.fields(spec)}
    return [_parameter(fields[name], optional) for name in names or fields]


def _parameter(field: dataclasses.Field[Any], optional: bool) -> str:
    kind = "StrPath" if field.name in PATHS else TYPES[field.type]
    if optional:
        return f"{field.name}: {kind} | None = None"
    return f"{field.name}: {kind} = {_shown(field.default)}"


def _shown(default: Any) -> str:
    """A default as Python writes it, with double quotes."""
    if isinstance(default, tuple):
        inner = ", ".join(map(_shown, default))
        return f"({inner},)" if len(default) == 1 else f"({inner})"
    if isinstance(default, str):
        return f'"{default}"'
    if isinstance(default, Implied):
        return f'Implied("{default}")'
    return f"{default:f}" if isinstance(default, Decimal) else repr(default)


def _group(about: str, parameters: Iterable[str]) -> Iterator[str]:
    """A comment and the parameters under it, as many in a line as fit."""
    yield f"    # {about}\n"
    glued = " ".join(f"{each},".replace(" ", "\0") for each in parameters)
    lines = textwrap.wrap(glued, 95, break_long_words=False, break_on_hyphens=False)
    yield from (f"    {line}\n".replace("\0", " ") for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
