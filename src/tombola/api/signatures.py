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
@naming_keywords()
def find(
    *,
    # the search: iterative magnitude pruning, or another finder
    finder: str = "imp", model: StrPath = "mini", task: str = "sentiment", scope: str = "encoder",
    seeds: Sequence[int] = (0,), budget: float = 0.0,
    controls: Sequence[str] = ("random", "layer-random", "one-shot", "reinit", "shuffle"),
    sparsity: Fraction = Implied("0.7"), structure: str = "unstructured",
    allocation: str = "global", schedule: str = "linear", step: Fraction = 0.1,
    rounds: Sequence[Fraction] = (), rewind_step: int = 0, rewind_fraction: Fraction = 0,
    no_rewind: bool = False, keep_head: bool = False, long_horizon: bool = False,
    prune_first: bool = False, finder_knobs: Mapping[str, object] | None = None,
    # the task
    eval_split: str = "", kind: str = "", text_columns: Sequence[str] = (), label_column: str = "",
    labels: Sequence[str] = (), metric: str = "", drop_bad_rows: bool = False,
    margin: float | None = None,
    # the recipe; None is the task's
    epochs: float | None = None, min_steps: int | None = None, batch_size: int | None = None,
    learning_rate: float | Literal["tune"] | None = None, warmup: float | None = None,
    weight_decay: float | None = None, clip_norm: float | None = None,
    max_length: int | None = None, stride: int | None = None, query_length: int | None = None,
    blocks: bool | None = None, train_limit: int | None = None, test_limit: int | None = None,
    head: str | None = None, precision: str | None = None, accumulation: int | None = None,
    gradient_checkpointing: bool | None = None, compile: bool | None = None,
    kernel: str | None = None, distill: float | None = None,
    distill_temperature: float | None = None,
    # laboratory and files
    store: StrPath = "runs/store", engine: str = "local", workers: int = 0, threads: int = 0,
    processes: int = 1, ray_address: str = "", track: str = "",
    track_dir: StrPath = "runs/tracking", output: StrPath | None = None,
    data: StrPath | None = None, callback: RunCallback | None = None, keep_weights: bool = False,
    from_ticket: Ticket | StrPath | None = None,
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


@naming_keywords()
def evaluate(
    ticket: Ticket | StrPath,
    *,
    # the evaluation
    task: str = "", init: str = "pretrained", scope: str = "", seeds: Sequence[int] = (100,),
    # the task
    eval_split: str = "", kind: str = "", text_columns: Sequence[str] = (), label_column: str = "",
    labels: Sequence[str] = (), metric: str = "", drop_bad_rows: bool = False,
    margin: float | None = None,
    # the recipe; None is the task's
    epochs: float | None = None, min_steps: int | None = None, batch_size: int | None = None,
    learning_rate: float | None = None, warmup: float | None = None,
    weight_decay: float | None = None, clip_norm: float | None = None,
    max_length: int | None = None, stride: int | None = None, query_length: int | None = None,
    blocks: bool | None = None, train_limit: int | None = None, test_limit: int | None = None,
    head: str | None = None, precision: str | None = None, accumulation: int | None = None,
    gradient_checkpointing: bool | None = None, compile: bool | None = None,
    kernel: str | None = None, distill: float | None = None,
    distill_temperature: float | None = None,
    # laboratory and files
    store: StrPath = "runs/store", engine: str = "local", workers: int = 0, threads: int = 0,
    processes: int = 1, ray_address: str = "", track: str = "",
    track_dir: StrPath = "runs/tracking", model: StrPath | None = None,
    output: StrPath | None = None, data: StrPath | None = None,
    callback: RunCallback | None = None,
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


@naming_keywords()
def train(
    ticket: Ticket | StrPath,
    *,
    # the training
    task: str = "", init: str = "pretrained", scope: str = "", seed: int = 100,
    # the task
    eval_split: str = "", kind: str = "", text_columns: Sequence[str] = (), label_column: str = "",
    labels: Sequence[str] = (), metric: str = "", drop_bad_rows: bool = False,
    # the recipe; None is the task's
    epochs: float | None = None, min_steps: int | None = None, batch_size: int | None = None,
    learning_rate: float | None = None, warmup: float | None = None,
    weight_decay: float | None = None, clip_norm: float | None = None,
    max_length: int | None = None, stride: int | None = None, query_length: int | None = None,
    blocks: bool | None = None, train_limit: int | None = None, test_limit: int | None = None,
    head: str | None = None, precision: str | None = None, accumulation: int | None = None,
    gradient_checkpointing: bool | None = None, compile: bool | None = None,
    kernel: str | None = None, distill: float | None = None,
    distill_temperature: float | None = None,
    # laboratory and files
    store: StrPath = "runs/store", engine: str = "local", workers: int = 0, threads: int = 0,
    processes: int = 1, ray_address: str = "", track: str = "",
    track_dir: StrPath = "runs/tracking", model: StrPath | None = None,
    output: StrPath | None = None, data: StrPath | None = None,
    callback: RunCallback | None = None,
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


@naming_keywords()
def export(
    source: Ticket | StrPath,
    *,
    # the export
    output: StrPath, task: str = "", examples: int | None = 256,
    # the user's own data
    kind: str = "", text_columns: Sequence[str] = (), label_column: str = "",
    labels: Sequence[str] = (), metric: str = "",
    # files
    data: StrPath | None = None, model: StrPath | None = None,
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
# fmt: on
