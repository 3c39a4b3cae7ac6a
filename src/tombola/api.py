"""What tombola does, one function each; the command line is made of these."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tombola.errors import SpecError, TicketError
from tombola.lab import plan as plans
from tombola.lab.artefacts import keep_mask, read_mask, results
from tombola.lab.engine import Report, Watch
from tombola.lab.numerics import refuse_mixed
from tombola.lab.options import evaluate_options, find_options
from tombola.lab.output import Output
from tombola.lab.plan import Subject
from tombola.lab.run import run
from tombola.lab.search import Finding, evaluation, finding
from tombola.lab.store import Result, Store
from tombola.lab.subjects import Subjects
from tombola.ship import picture
from tombola.specs import FindSpec, exact, key, knobs
from tombola.study.evidence import overlap, summary, verdict
from tombola.task.embedded import model_path
from tombola.ticket.folder import directory_size, write_file
from tombola.ticket.mask import Mask
from tombola.ticket.ticket import Ticket

__all__ = ["Evaluated", "Found", "Ticket", "evaluate", "find", "inspect", "model_path", "one_shot"]

FIND_VERSION = 1
EVALUATE_VERSION = 1
"""Raised when the same knobs come to mean something else."""

SAME_MASK = 0.95
"""Jaccard index of dead weights from which IMP can't be told from one-shot pruning."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found; scores are in points of the metric, from the test split."""

    task: str
    model: str
    metric: str
    split: str
    dense: dict[str, Any]
    """values, mean, std of the dense network, one value a seed."""
    rounds: list[dict[str, Any]]
    """sparsity, values, mean, std, jaccard_one_shot after each round of pruning."""
    controls: dict[str, dict[str, Any]]
    """Control -> values, mean, std at the final sparsity."""
    trivial: float
    """Score of a baseline that learns nothing from the texts, such as the commonest class."""
    verdict: dict[str, Any]
    """status, sparsity, interval, margin, estimand, and a sentence that says it all."""
    ticket: str
    """Folder of the ticket: the first seed's, never the best."""
    tickets: dict[str, str]
    """Seed -> folder of its ticket."""
    seconds: float
    """Time of all trainings and evaluations, whenever they were done."""
    summed_learning_rate: float
    """Sum of the learning rate over the steps of one training."""
    whole_model_sparsity: float
    """Zero weights as a fraction of the backbone, embeddings included."""
    notes: list[str]
    """What a reader must know to read the scores rightly."""
    output: str
    """Folder with everything."""
    key: str
    """Name of this experiment, from all that made it."""

    def to_json(self) -> dict[str, Any]:
        """The fields, as `--json` writes them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """How one fixed ticket does on a task, with fresh seeds."""

    task: str
    model: str
    metric: str
    split: str
    init: str
    sparsity: str
    dense: dict[str, Any]
    scores: dict[str, Any]
    """values, mean, std of the masked network."""
    verdict: dict[str, Any]
    ticket: str
    seconds: float
    output: str
    key: str

    def to_json(self) -> dict[str, Any]:
        """The fields, as `--json` writes them."""
        return dataclasses.asdict(self)


def find(
    *,
    output: str | Path | None = None,
    data: str | Path | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Found:
    """Find a ticket: train, prune, rewind, again; then the controls and the verdict.

    Args:
        output: folder for the result and the tickets; by default one under `runs/`, named by the
            experiment.
        data: folder with the task's files, instead of the package's own.
        watch: told how it goes.
        **options: the fields of `FindSpec`; those of `TrainSpec` that change the task's recipe,
            for example `epochs=1`; and those of `LabSpec`, which say where finished trainings are
            kept and who does the work. What is kept is never done again.

    Raises: TombolaError, if an option, the model or the data are not usable.
    """
    spec, task, recipe, lab = find_options(options)
    known = Subjects(Path(lab.store))
    subject = known.subject(spec.model, task, recipe, scope=spec.scope, folder=_folder(data))
    made_of = _made_of(
        subject, **{k: v for k, v in knobs(spec).items() if k not in ("model", "task")}
    )
    name = key("find", FIND_VERSION, **made_of)
    default = Path("runs") / f"{task.name}-{spec.sparsity:f}-{name[:8]}"
    place = Output(Path(output) if output else default, made_of)
    jobs = finding(subject, spec)
    store = _done(*run(jobs.plan, lab, watch or Watch()))
    known.save()
    found = _Telling(store, subject, spec, jobs).found(place.open(), name)
    picture.save(found.to_json(), place.folder)
    write_file(place.folder / "result.json", json.dumps(found.to_json(), indent=1) + "\n")
    return found


def _folder(data: str | Path | None) -> str | None:
    return None if data is None else str(data)


def _done(store: Store, report: Report) -> Store:
    """The store, unless a job has failed."""
    for _, error in report.failed:
        raise error
    return store


def _made_of(subject: Subject, **more: Any) -> dict[str, Any]:
    """Everything that makes a result what it is; no path, no device."""
    content = {
        "model": subject.fingerprint,
        "data": subject.data,
        "task": [subject.task.name, subject.task.version],
        "train": knobs(subject.recipe),
        **more,
    }
    made_of: dict[str, Any] = json.loads(json.dumps(content))
    return made_of


@dataclass(frozen=True)
class _Telling:
    """Turns what the store holds of a search into what a user is told."""

    store: Store
    subject: Subject
    spec: FindSpec
    jobs: Finding

    def found(self, folder: Path, name: str) -> Found:
        """The result of the search; the tickets are written on the way."""
        task, last = self.subject.task, self.spec.sparsity
        searches = self.jobs.searches
        dense = results(self.store, [search.dense for search in searches.values()])
        trained = {s: self._trained(s) for s in self.jobs.one_shot}
        controls = {c: results(self.store, jobs) for c, jobs in self.jobs.controls.items()}
        runs = [*dense, *_joined(trained.values()), *_joined(controls.values())]
        refuse_mixed([one.numerics for one in runs])
        rounds = [
            {"sparsity": f"{s:f}", **summary(trained[s]), "jaccard_one_shot": self._overlap(s)}
            for s in trained
        ]
        tickets = {
            str(seed): self._ticket(seed, dense[n], trained[last][n], folder)
            for n, seed in enumerate(searches)
        }
        first = dense[0].facts
        return Found(
            task=task.name,
            model=self.spec.model,
            metric=task.metric,
            split=task.test_split,
            dense=summary(dense),
            rounds=rounds,
            controls={name: summary(runs) for name, runs in controls.items()},
            trivial=first["trivial"],
            verdict=verdict(self.store, task, dense, trained[last], last, fixed=False).to_json(),
            ticket=next(iter(tickets.values())),
            tickets=tickets,
            seconds=_seconds(runs),
            summed_learning_rate=first["summed_learning_rate"],
            whole_model_sparsity=_whole_model_sparsity(trained[last][0]),
            notes=self._notes(dense, rounds[-1]["jaccard_one_shot"]),
            output=str(folder),
            key=name,
        )

    def _trained(self, sparsity: Decimal) -> list[Result]:
        searches = self.jobs.searches.values()
        return results(self.store, [search.trainings[sparsity] for search in searches])

    def _overlap(self, sparsity: Decimal) -> float:
        masks = [search.masks[sparsity] for search in self.jobs.searches.values()]
        return overlap(self.store, masks, [self.jobs.one_shot[sparsity]] * len(masks))

    def _ticket(self, seed: int, dense: Result, run: Result, folder: Path) -> str:
        """Keep a seed's ticket."""
        spec, subject = self.spec, self.subject
        ticket = Ticket(
            mask=read_mask(self.store, self.jobs.searches[seed].masks[spec.sparsity].key),
            model=spec.model,
            fingerprint=subject.fingerprint,
            scope=spec.scope,
            sparsity=spec.sparsity,
            schedule=spec.schedule,
            step=spec.step,
            task=subject.task.name,
            seed=seed,
            scores="magnitude",
            provenance={
                "metric": subject.task.metric,
                "whole_model_sparsity": _whole_model_sparsity(run),
                "dense": dense.facts["score"],
                "ticket": run.facts["score"],
                "recipe": dataclasses.asdict(subject.recipe),
                "numerics": run.numerics,
                "key": run.key,
            },
        )
        place = folder / f"ticket-seed-{seed}"
        ticket.save(place)
        return str(place)

    def _notes(self, dense: Sequence[Result], jaccard: float) -> list[str]:
        notes, facts = [], dense[0].facts
        worst = min(run.facts["score"] for run in dense)
        if worst - facts["trivial"] < self.subject.task.margin:
            notes.append(
                f"the dense network scores {worst:.2f}, a trivial baseline {facts['trivial']:.2f}: "
                "it has hardly learned the task, so the verdict says little. Train longer."
            )
        if jaccard >= SAME_MASK:
            notes.append(
                "IMP's mask can't be told from one-shot pruning's here: the learning rates sum to "
                f"{facts['summed_learning_rate']:.3g}, and the two masks' dead weights have a "
                f"Jaccard index of {jaccard:.3f}. A longer or faster recipe would move the weights "
                "further."
            )
        return notes


def _joined(groups: Iterable[Sequence[Result]]) -> list[Result]:
    return [one for group in groups for one in group]


def _whole_model_sparsity(run: Result) -> float:
    """Dead weights as a fraction of the whole backbone, embeddings included."""
    dead: float = run.facts["dead"] / run.facts["backbone_size"]
    return dead


def _seconds(runs: Sequence[Result]) -> float:
    return float(sum(run.seconds for run in runs))


def evaluate(
    ticket: str | Path,
    *,
    model: str | None = None,
    output: str | Path | None = None,
    data: str | Path | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Evaluated:
    """Train a ticket on a task with fresh seeds, beside the dense network.

    Args:
        ticket: folder of the ticket.
        model: where the ticket's network is, if not under the name that the ticket gives.
        output: folder for everything; by default one under `runs/`, named by the experiment.
        data: folder with the task's files, instead of the package's own.
        watch: told how it goes.
        **options: the fields of `EvaluateSpec`, those of `TrainSpec` that change the recipe, and
            those of `LabSpec`.

    Raises: TombolaError, if an option, the ticket, the model or the data are not usable.
    """
    loaded = Ticket.load(ticket)
    spec, task, recipe, lab = evaluate_options(options, loaded.task or FindSpec.task)
    if loaded.seed in spec.seeds:
        raise SpecError(
            f"a ticket is evaluated on seeds other than that of its search, got {loaded.seed}. "
            "Name fresh --seeds."
        )
    place = model or loaded.model
    known = Subjects(Path(lab.store))
    subject = known.subject(place, task, recipe, scope=loaded.scope, folder=_folder(data))
    _belongs(loaded, subject)
    made_of = _made_of(subject, mask=loaded.mask.digest(), init=spec.init, seeds=spec.seeds)
    name = key("evaluate", EVALUATE_VERSION, **made_of)
    default = Path("runs") / f"evaluate-{task.name}-{name[:8]}"
    folder = Output(Path(output) if output else default, made_of)
    mask = plans.given(subject, loaded.mask.digest(), loaded.sparsity)
    keep_mask(Store(lab.store), mask, loaded.mask)
    jobs = evaluation(subject, mask, spec)
    store = _done(*run(jobs.plan, lab, watch or Watch()))
    known.save()
    dense, masked = results(store, jobs.dense), results(store, jobs.masked)
    refuse_mixed([one.numerics for one in (*dense, *masked)])
    evaluated = Evaluated(
        task=task.name,
        model=place,
        metric=task.metric,
        split=task.test_split,
        init=spec.init,
        sparsity=f"{loaded.sparsity:f}",
        dense=summary(dense),
        scores=summary(masked),
        verdict=verdict(store, task, dense, masked, loaded.sparsity, fixed=True).to_json(),
        ticket=str(ticket),
        seconds=_seconds([*dense, *masked]),
        output=str(folder.folder),
        key=name,
    )
    write_file(folder.open() / "result.json", json.dumps(evaluated.to_json(), indent=1) + "\n")
    return evaluated


def _belongs(ticket: Ticket, subject: Subject) -> None:
    """Refuse a network that the ticket was not found in."""
    if ticket.fingerprint == subject.fingerprint:
        return
    from tombola.task.models import load_backbone
    from tombola.ticket.scope import scope_parameters

    ticket.mask.check(scope_parameters(load_backbone(subject.model), ticket.scope))
    raise TicketError(
        f"the ticket was found in a network with fingerprint {ticket.fingerprint[:12]} "
        f"({ticket.model}), got {subject.fingerprint[:12]} ({subject.model}). "
        "Name the network it was found in as --model."
    )


def one_shot(model: str, *, sparsity: float | str | Decimal, scope: str = "encoder") -> Ticket:
    """The ticket of the largest pre-trained weights, found without training.

    Args:
        model: an embedded name, a folder that `save_pretrained()` wrote, or a hub id.
        sparsity: fraction of the scope that is zero, in [0, 1).
        scope: the weights that may be pruned.

    Raises: TombolaError, if the model or the sparsity is not usable.
    """
    from tombola.task.models import load_backbone
    from tombola.ticket.prune import keep_top
    from tombola.ticket.scope import scope_parameters
    from tombola.ticket.score import SCORERS, Evidence
    from tombola.ticket.ticket import fingerprint

    target = exact(sparsity)
    network = load_backbone(model)
    parameters = scope_parameters(network, scope)
    weights = {name: parameter.detach() for name, parameter in parameters.items()}
    scores = SCORERS["magnitude"](Evidence(weights=weights))
    return Ticket(
        mask=keep_top(scores, Mask.full(parameters), sparsity=target),
        model=model,
        fingerprint=fingerprint(network),
        scope=scope,
        sparsity=target,
        scores="magnitude",
    )


def inspect(ticket: str | Path) -> dict[str, Any]:
    """What a ticket is: provenance, size in bytes, and the sparsity of each matrix.

    Raises: TicketError, if it is missing or damaged.
    """
    loaded = Ticket.load(ticket)
    return {
        **loaded.describe(),
        "bytes": directory_size(ticket),
        "layers": loaded.mask.layer_sparsities(),
    }
