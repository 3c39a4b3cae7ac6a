"""The result of training one ticket whose network is kept, from its training in a store."""

import dataclasses
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tombola.base.errors import OutputError
from tombola.base.json_text import plain
from tombola.base.records import RecordReader
from tombola.base.rounding import percent, points
from tombola.base.specs import SEEDS
from tombola.base.text import html_table, printable
from tombola.lab.store.result import Result
from tombola.lab.ticket_origin import Origin, origin_fields, origin_of
from tombola.plan.subject import Subject
from tombola.study.results.notes import counts_by_split, input_notes
from tombola.study.results.result_file import read_object
from tombola.study.results.search_result import whole_model_sparsity

__all__ = ["TrainingResult", "build_training_result", "read_origin", "read_training_result"]

PLACES = ("ticket", "output")
"""Fields that are not written, because the folder may move."""

OF_OWN_DATA = ("definition", "data")
"""Fields about a task of a user, or data that don't come with the package."""


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingResult:
    """A network that was trained from a ticket; scores in points of the metric.

    Where the folder of a network is expected, such a result will do.
    """

    task: str
    model: str
    metric: str
    split: str
    """The split that scores come from."""
    init: str
    """What the kept weights started from."""
    seed: int
    sparsity: Decimal
    score: float
    more: dict[str, float | None]
    """Further metrics."""
    trivial: float
    """The best score without learning anything from the texts."""
    recipe: dict[str, Any]
    """Every knob of the training but the seeds."""
    numerics: dict[str, Any]
    """What the last digits depend on as well: device, threads, versions."""
    weights: str
    """Digest of the weights."""
    whole_model_sparsity: float
    """Zero weights as a fraction of the backbone, embeddings included."""
    seconds: float
    notes: list[str]
    """What a reader must know to read the score correctly."""
    counts: dict[str, dict[str, Any]]
    """Split -> rows used, rows dropped by reason, and what else was counted of it."""
    key: str
    """Name of the training, from all that made it."""
    definition: dict[str, Any] | None = None
    """The task's definition, if it doesn't come with the package."""
    data: str | None = None
    """Where its data were, a folder or `hub:OWNER/NAME`, if they are not the package's own."""
    files: dict[str, str] = field(default_factory=dict)
    """File of the folder -> its SHA-256; the cards are left out, so that they can be edited."""
    ticket: Path | None = None
    """Folder of the ticket that was trained; None for one that is in memory."""
    output: Path
    """Folder of the network, with the ticket in `ticket/`."""

    def __fspath__(self) -> str:
        """The folder of the network, so that the result stands for it."""
        return str(self.output)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._summary())
        return printable(f"<TrainingResult: {facts}>")

    def _repr_html_(self) -> str:
        """The summary as a table, for notebooks."""
        return html_table(self._summary(), caption="Trained network")

    def _summary(self) -> list[tuple[str, str]]:
        """What a reader wants to know first: name and value."""
        return [
            ("model", self.model),
            ("task", self.task),
            ("seed", str(self.seed)),
            ("sparsity", percent(self.sparsity)),
            (f"{self.metric} on {self.split}", points(self.score)),
            ("folder", str(self.output)),
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields, as `--json` writes them; of `OF_OWN_DATA` only those that say something."""
        fields = plain(dataclasses.asdict(self))
        fields["ticket"] = fields["ticket"] or ""
        return {n: each for n, each in fields.items() if each is not None or n not in OF_OWN_DATA}

    def to_file(self) -> dict[str, Any]:
        """What stands in the folder's result.json: the fields without places."""
        return {name: value for name, value in self.to_json().items() if name not in PLACES}


def build_training_result(
    subject: Subject, run: Result, *, init: str, sparsity: Decimal, output: Path
) -> TrainingResult:
    """The result of a training that did not diverge.

    Args:
        subject: network and task.
        run: its result in the store.
        init: what the kept weights started from.
        sparsity: the sparsity of the ticket.
        output: the folder for the network.
    """
    facts, counts = run.facts, counts_by_split(subject, run.facts)
    origin = origin_fields(subject, margin=subject.task.margin)
    return TrainingResult(
        task=subject.task.name,
        model=subject.model,
        metric=subject.task.metric,
        split=subject.task.test_split,
        init=init,
        seed=facts["seed"],
        sparsity=sparsity,
        score=facts["score"],
        more=dict(facts.get("more", {})),
        trivial=facts["trivial"],
        recipe=_recipe(subject),
        numerics=run.numerics,
        weights=facts["weights"],
        whole_model_sparsity=whole_model_sparsity(run),
        seconds=run.seconds,
        notes=[*subject.notes, *input_notes(counts)],
        counts=counts,
        key=run.key,
        definition=origin.get("task"),
        data=origin.get("data"),
        output=output,
    )


def _recipe(subject: Subject) -> dict[str, Any]:
    knobs = dataclasses.asdict(subject.recipe)
    return {name: value for name, value in knobs.items() if name not in SEEDS}


def read_origin(folder: Path) -> Origin:
    """The task of a network that `tombola train` wrote to a folder, and where its data were.

    Raises: OutputError, if there is no such network; TicketError, for a task that is not valid.
    """
    found = read_training_result(folder / "result.json")
    kept = {"task": found.definition, "split": found.split, "data": found.data}
    return origin_of(found.task, kept)


def read_training_result(place: Path) -> TrainingResult:
    """What `to_file` gave, from the result.json of a network's folder.

    Raises: OutputError, with the first field that is missing or not what it should be.
    """
    reader = RecordReader(where=repr(str(place)), remedy="Use another --output.", error=OutputError)
    trained: TrainingResult = reader.read(
        TrainingResult, read_object(place), computed={"output": place.parent}
    )
    return trained
