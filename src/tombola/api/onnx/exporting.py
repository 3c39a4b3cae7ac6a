"""A trained network as an ONNX file, compared with itself on examples of its task."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tombola.api.given import load_source_ticket, ticket_or_path
from tombola.api.onnx.comparison import difference_of, sample_of, zeros_of
from tombola.api.onnx.files import place_files, same_folder
from tombola.base.errors import ModelError, OutputError, SpecError
from tombola.base.fields import StrPath, path_text
from tombola.base.files import check_file
from tombola.base.specs import ExportSpec, TaskSpec
from tombola.lab.task_examples import read_examples
from tombola.lab.ticket_origin import Origin, check_network, origin_of
from tombola.models.embedded import model_path
from tombola.models.network import Network, NoHeadError
from tombola.ship.onnx_file import OnnxNetwork, check_onnx, write_onnx
from tombola.study.results.training_result import read_origin
from tombola.tasks.examples import Examples
from tombola.tasks.networks import load_network
from tombola.tasks.own_task import changed_task, named_task
from tombola.tasks.task import Task
from tombola.ticket.scope import backbone
from tombola.ticket.ticket import Ticket

__all__ = ["ExportResult", "export_network"]

SUFFIX = ".onnx"


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written, and how it compares with the network that it was made of."""

    file: Path
    """The ONNX file; the tokenizer's files and config.json are next to it."""
    bytes: int
    examples: int
    """Examples of the task that both networks were given."""
    split: str
    """The split they are from."""
    difference: float
    """The largest difference of an output."""
    zeros: int
    """Zeros in the matrices of the encoder, in the network and in the file."""
    weights: int
    """Weights in those matrices."""

    def to_json(self) -> dict[str, Any]:
        """These facts as JSON has them."""
        return {**vars(self), "file": str(self.file)}


def export_network(
    source: Ticket | StrPath,
    options: Mapping[str, Any],
    *,
    output: StrPath,
    data: str | None,
    model: str | None,
) -> ExportResult:
    """Write a network with the head of a task as an ONNX file.

    Args:
        source: folder of a trained network; or a ticket or its folder.
        options: fields of `ExportSpec` and `TaskSpec` that were given.
        output: the file to write.
        data: where the task's files are, if not where the task or the ticket says.
        model: where a ticket's network is, if not under the name that the ticket gives.

    Raises: TombolaError, if one of them can't be used, or the file is not the network: an output
        differs by more than 1e-4, or a zero is lost.
    """
    knobs = {field.name for field in fields(ExportSpec)}
    spec = ExportSpec(**{name: value for name, value in options.items() if name in knobs})
    columns = TaskSpec(**{name: value for name, value in options.items() if name not in knobs})
    source = ticket_or_path(source, "a ticket, its folder, or that of a trained network")
    place = Path(path_text(output, "the file to write"))
    check_onnx()
    _check_name(place)
    ticket = load_source_ticket(source, model)
    if ticket is None:
        model_path(str(source))  # refused before the question of which task it is of
    task, place_of_data = _task(spec, source, ticket, columns)
    network = _network(str(source) if ticket is None else model or ticket.model, task, ticket)
    split, examples = read_examples(network, task, spec.examples, data or place_of_data)
    return _written(network, task, examples, split, place)


def _written(
    network: Network, task: Task, examples: Examples, split: str, place: Path
) -> ExportResult:
    """The file of a network, compared with it before it gets its name."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / place.name
        write_onnx(network.model, sample_of(network, task, examples), file)
        made = OnnxNetwork(file)
        difference = difference_of(network, made, task, examples)
        zeros, weights = zeros_of(network, made)
        place_files(network, file, place, keep=same_folder(network.name, place.parent))
    return ExportResult(
        file=place,
        bytes=place.stat().st_size,
        examples=len(examples),
        split=split,
        difference=difference,
        zeros=zeros,
        weights=weights,
    )


def _check_name(place: Path) -> None:
    """Refuse a name that a file of the network or of its tokenizer could have.

    Raises: SpecError; OutputError, if nothing can be written there.
    """
    if place.suffix.lower() != SUFFIX:
        raise SpecError(
            f"expected the name of a file that ends in {SUFFIX}, got {str(place)!r}. Pass one, "
            f"such as model{SUFFIX}."
        )
    check_file(place)


# --- what is exported ----------------------------------------------------------


def _task(
    spec: ExportSpec, source: str | Ticket, ticket: Ticket | None, columns: TaskSpec
) -> tuple[Task, str | None]:
    """The task that was named, or else that of the ticket or of `tombola train`; and the place of
    its data, if it is known and not the package."""
    if spec.task:
        return named_task(spec.task, columns), None
    origin = origin_of(ticket.task, ticket.provenance) if ticket else _origin(source)
    if origin.task is None:
        what = "ticket" if ticket else "network"
        raise SpecError(
            f"expected a {what} that records its task, got one that doesn't. Pass --task."
        )
    return changed_task(origin.task, columns), origin.place


def _origin(source: object) -> Origin:
    """What the result says that `tombola train` writes next to a network."""
    with suppress(OutputError):
        return read_origin(Path(str(source)))
    return Origin()


def _network(name: str, task: Task, ticket: Ticket | None) -> Network:
    """The network with the head in its files, and the ticket's weights at zero."""
    lacking: str | None
    try:
        network = load_network(name, task.kind, len(task.labels), head="checkpoint")
        lacking = min(network.fresh, default=None)
    except NoHeadError:
        lacking = "its head"
    if lacking:
        raise ModelError(
            f"expected a network trained on {task.name!r} in {name!r}, and its files lack "
            f"{lacking}, or have another. Pass the task of that network, or train one and save it "
            "with save_pretrained()."
        )
    if ticket is not None:
        _apply(ticket, network)
    return network


def _apply(ticket: Ticket, network: Network) -> None:
    """Zero the pruned weights; a pooler that the head has no use for is left out."""
    body = dict(backbone(network.model).named_parameters())
    ticket.apply(network.model, scope=None if ticket.mask.keys() <= body.keys() else "encoder")
    check_network(ticket, network.fingerprint, network.name)
