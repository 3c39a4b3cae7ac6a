"""What tombola does, one function each; the command line is made of these."""

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tombola.base.errors import DataError, OutputError, SpecError, TicketError
from tombola.base.files import write_file
from tombola.base.folders import directory_size
from tombola.base.json_text import json_text
from tombola.base.keys import exact, key, knobs
from tombola.base.specs import TUNE, FindSpec, LabSpec
from tombola.lab.options import evaluate_options, find_options
from tombola.lab.output_folder import Output
from tombola.lab.run.engine import RunCallback, RunSummary
from tombola.lab.run.runner import run_plan
from tombola.lab.store.artifacts import keep_mask, read_mask, results
from tombola.lab.store.result_store import Result, Store
from tombola.lab.subjects import Subjects
from tombola.lab.ticket_origin import Origin, origin_of, told
from tombola.lab.tuning import Tuned, tuning
from tombola.models.embedded import lasting_name, model_path
from tombola.plan import plan as plans
from tombola.plan.job import VERSIONS, job_version
from tombola.plan.plan import Job, Search, Subject
from tombola.plan.search import evaluation, finding
from tombola.study.results.findings import (
    Evaluated,
    Found,
    evaluated_in,
    found_in,
    whole_model_sparsity,
)
from tombola.study.verdicts.margins import TICKET, margin_of
from tombola.tasks.task import Task, load_task, on_hub, task_names
from tombola.ticket.mask import Mask
from tombola.ticket.schedule import shortest
from tombola.ticket.ticket import Ticket

__all__ = [
    "Evaluated",
    "Found",
    "Ticket",
    "evaluate",
    "find",
    "import_ticket",
    "inspect",
    "model_path",
    "one_shot",
]

POOLED = "encoder+pooler"
"""The scope that some heads leave a part of out."""

FIND_VERSION = 1
EVALUATE_VERSION = 1
"""Raised when the same knobs come to mean something else."""


def find(
    *,
    output: str | Path | None = None,
    data: str | Path | None = None,
    callback: RunCallback | None = None,
    **options: Any,
) -> Found:
    """Find a ticket: train, prune, rewind, again; then the controls and the verdict.

    Args:
        output: folder for the result and the tickets; by default one under `runs/`, named by the
            experiment.
        data: folder with the task's files, or `hub:OWNER/NAME`, instead of the task's own.
        callback: called as the jobs run.
        **options: the fields of `FindSpec`; those of `TaskSpec`, which describe the user's own
            data; those of `TrainSpec` that change the task's recipe, for example `epochs=1`; and
            those of `LabSpec`, which say where finished trainings are
            kept and who does the work. What is kept is never done again.

    Raises: TombolaError, if an option, the model or the data are not usable.
    """
    spec, task, recipe, lab = find_options(options)
    known, callback, tuned = Subjects(Path(lab.store)), callback or RunCallback(), None
    subject = known.subject(spec.model, task, recipe, scope=spec.scope, folder=_folder(data))
    if options.get("learning_rate") == TUNE:
        tuned = _tuned(known.with_dev(subject), spec, lab, callback)
        recipe = replace(subject.recipe, learning_rate=tuned.learning_rate)
        subject = replace(subject, recipe=recipe)
    made_of = _made_of(
        subject, **{k: v for k, v in knobs(spec).items() if k not in ("model", "task")}
    )
    name = key("find", _version(FIND_VERSION, made_of, spec.controls), **made_of)
    default = Path("runs") / f"{_slug(task)}-{spec.sparsity:f}-{name[:8]}"
    place = Output(Path(output) if output else default, made_of)
    jobs = finding(subject, spec)
    callback.subject(subject)
    store = _done(*run_plan(jobs.plan, lab, callback))
    known.save()
    margin = margin_of(task, _result(store, jobs.scoring), tried=jobs.scoring is not None)
    tuned_so = tuned.to_json() if tuned else None
    more = {**told(subject, margin=margin.points), **({"tuned": tuned_so} if tuned_so else {})}
    from tombola.report.figures import (
        score_curve as picture,  # altair is not needed before the first step
    )

    with _kept_in(store):
        folder = place.open()
        tickets = {
            str(seed): _ticket(store, subject, spec, search, folder=folder, more=more)
            for seed, search in jobs.searches.items()
            if store.has(search.trainings[spec.sparsity].key)
        }
        found = found_in(
            store,
            subject,
            spec,
            jobs,
            margin=margin,
            tuned=tuned_so,
            tickets=tickets,
            output=str(folder),
            key=name,
        )
        if any(value is not None for value in found.dense["values"]):
            picture.save(found.to_json(), place.folder)
        write_file(place.folder / "result.json", json_text(found.to_json()))
    return found


@contextmanager
def _kept_in(store: Store) -> Iterator[None]:
    """Say, if what came of the trainings can't be written, that they need not be done again."""
    try:
        yield
    except OutputError as error:
        raise OutputError(
            f"{error} Every training is kept in {str(store.folder)!r}: the same command, or one "
            "with another --output, trains nothing again."
        ) from None


def _tuned(subject: Subject, spec: FindSpec, lab: LabSpec, callback: RunCallback) -> Tuned:
    """The learning rate that does best on dev, by the dense network of the first seed."""
    jobs = tuning(subject, spec.seeds[0])
    store, summary = run_plan(jobs.plan, lab, callback)
    return jobs.chosen(store, summary)


def _result(store: Store, job: Job | None) -> Result | None:
    return store.read(job.key) if job else None


def _slug(task: Task) -> str:
    """A task's name as a part of a folder's."""
    return task.name.replace("/", "-")


def _folder(data: str | Path | None) -> str | None:
    return None if data is None else str(data)


def _done(store: Store, summary: RunSummary) -> Store:
    """The store, unless a job has failed."""
    for _, error in summary.failed:
        raise error
    return store


def _made_of(subject: Subject, **more: Any) -> dict[str, Any]:
    """Everything that makes a result what it is; no path, no device."""
    content = {
        **subject.network,
        "data": subject.data,
        "task": subject.task.identity,
        "train": knobs(subject.recipe),
        **_own_margin(subject.task),
        **more,
    }
    made_of: dict[str, Any] = json.loads(json.dumps(content))
    return made_of


def _version(own: int, made_of: dict[str, Any], controls: Iterable[str] = ()) -> int:
    """The version of an experiment: newer where its trainings or its controls are."""
    revised = sum(name in ("layer-random", "shuffle-layers") for name in controls)
    return own + job_version("train", made_of) - VERSIONS["train"] + revised


def _own_margin(task: Task) -> dict[str, float]:
    """The margin, where it is another than the catalog's or the rule's."""
    known = task.name in task_names() and task.margin == load_task(task.name).margin
    return {} if known or task.by_rule else {"margin": task.margin}


def _ticket(
    store: Store,
    subject: Subject,
    spec: FindSpec,
    search: Search,
    *,
    folder: Path,
    more: dict[str, Any],
) -> str:
    """Write the ticket of one seed's search, which tells `more` of it, too."""
    mask, training = search.masks[spec.sparsity], search.trainings[spec.sparsity]
    dense, run = results(store, [search.dense, training])
    ticket = Ticket(
        mask=read_mask(store, mask.key),
        model=lasting_name(spec.model),
        fingerprint=subject.fingerprint,
        scope=spec.scope,
        sparsity=spec.sparsity,
        schedule=None if spec.rounds else spec.schedule,
        step=None if spec.rounds else spec.step,
        task=subject.task.name,
        seed=run.facts["seed"],
        scores="magnitude",
        provenance={
            "metric": subject.task.metric,
            "whole_model_sparsity": whole_model_sparsity(run),
            "dense": dense.facts["score"],
            "ticket": run.facts["score"],
            "numerics": run.numerics,
            "key": run.key,
            **more,
            **({"rounds": [f"{each:f}" for each in spec.rounds]} if spec.rounds else {}),
        },
    )
    place = folder / f"ticket-seed-{ticket.seed}"
    ticket.save(place)
    return str(place)


def evaluate(
    ticket: str | Path,
    *,
    model: str | None = None,
    output: str | Path | None = None,
    data: str | Path | None = None,
    callback: RunCallback | None = None,
    **options: Any,
) -> Evaluated:
    """Train a ticket on a task with fresh seeds, beside the dense network.

    Args:
        ticket: folder of the ticket.
        model: where the ticket's network is, if not under the name that the ticket gives.
        output: folder for everything; by default one under `runs/`, named by the experiment.
        data: folder with the task's files, or `hub:OWNER/NAME`, instead of the task's own.
        callback: called as the jobs run.
        **options: the fields of `EvaluateSpec` and `TaskSpec`, those of `TrainSpec` that change
            the recipe, and those of `LabSpec`.

    Raises: TombolaError, if an option, the ticket, the model or the data are not usable.
    """
    loaded = Ticket.load(ticket)
    origin = origin_of(loaded.task, loaded.provenance)
    if loaded.task and not options.get("task") and origin.task is None:
        raise SpecError(
            f"{str(ticket)!r} was found on {loaded.task!r}, which is no task that comes with "
            "tombola. Name it with --task, as the search did."
        )
    place = model or loaded.model
    spec, task, recipe, lab = evaluate_options(options, origin, place)
    if not options.get("task"):
        data = data or _still_there(origin, str(ticket))
    from_search = task.by_rule and origin.is_of(task) and origin.margin is not None
    if from_search:
        task = replace(task, margin=float(origin.margin or 0), by_rule=False)
    if loaded.seed in spec.seeds:
        raise SpecError(
            f"a ticket is evaluated on seeds other than that of its search, got {loaded.seed}. "
            "Name fresh --seeds."
        )
    known = Subjects(Path(lab.store))
    ticket_mask, scope, notes = _usable(loaded, known.scopes(place, task, recipe), task)
    subject = known.subject(place, task, recipe, scope=scope, folder=_folder(data))
    subject = replace(subject, notes=(*subject.notes, *notes))
    _belongs(loaded, subject)
    sparsity = loaded.sparsity if not notes else shortest(ticket_mask.dead, ticket_mask.size)
    made_of = _made_of(subject, mask=ticket_mask.digest(), init=spec.init, seeds=spec.seeds)
    name = key("evaluate", _version(EVALUATE_VERSION, made_of), **made_of)
    default = Path("runs") / f"evaluate-{_slug(task)}-{name[:8]}"
    folder = Output(Path(output) if output else default, made_of)
    mask = plans.given(subject, ticket_mask.digest(), sparsity)
    keep_mask(Store(lab.store), mask, ticket_mask)
    jobs, callback = evaluation(subject, mask, spec), callback or RunCallback()
    callback.subject(subject)
    store = _done(*run_plan(jobs.plan, lab, callback))
    known.save()
    margin = margin_of(task, _result(store, jobs.scoring), tried=jobs.scoring is not None)
    if from_search:
        margin = replace(margin, origin=TICKET)
    evaluated = evaluated_in(
        store,
        subject,
        jobs,
        margin=margin,
        init=spec.init,
        sparsity=sparsity,
        ticket=str(ticket),
        output=str(folder.folder),
        key=name,
    )
    with _kept_in(store):
        write_file(folder.open() / "result.json", json_text(evaluated.to_json()))
    return evaluated


def _still_there(origin: Origin, ticket: str) -> str | None:
    """Where the data of a ticket's search are, if not in the package.

    Raises: DataError, if there is no such folder any more.
    """
    place = origin.place
    if place is not None and not on_hub(place) and not Path(place).exists():
        raise DataError(
            f"expected the data that {ticket!r} was found on in {place!r}, got nothing there. "
            "Name it with --data."
        )
    return place


def _usable(ticket: Ticket, scopes: Collection[str], task: Task) -> tuple[Mask, str, list[str]]:
    """The part of a ticket's mask that the network of a task has weights for, its scope, notes.

    A head that reads every token leaves the pooler out; the mask of the encoder fits all the same.
    """
    if ticket.scope in scopes or ticket.scope != POOLED:
        return ticket.mask, ticket.scope, []
    mask = Mask({n: alive for n, alive in ticket.mask.items() if not n.startswith("pooler.")})
    note = (
        f"The ticket covers the pooler, which the network has no use for on {task.name}: what is "
        f"trained has the encoder's part of the mask, {mask.dead:,} dead of {mask.size:,}."
    )
    return mask, "encoder", [note]


def _belongs(ticket: Ticket, subject: Subject) -> None:
    """Refuse a network that the ticket was not found in."""
    if ticket.fingerprint == subject.fingerprint:
        return
    from tombola.models.network import load_backbone
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
    from tombola.finders.scores import SCORERS, Evidence
    from tombola.models.network import load_backbone
    from tombola.ticket.prune import keep_top
    from tombola.ticket.scope import scope_parameters
    from tombola.ticket.ticket import fingerprint

    target = exact(sparsity)
    network = load_backbone(model)
    parameters = scope_parameters(network, scope)
    weights = {name: parameter.detach() for name, parameter in parameters.items()}
    scores = SCORERS["magnitude"](Evidence(weights=weights))
    return Ticket(
        mask=keep_top(scores, Mask.full(parameters), sparsity=target),
        model=lasting_name(model),
        fingerprint=fingerprint(network),
        scope=scope,
        sparsity=target,
        scores="magnitude",
    )


def import_ticket(source: str | Path, *, model: str, scope: str | None = None) -> Ticket:
    """A ticket from masks that others have made, or from the zeros of a checkpoint.

    Args:
        source: what `torch.save()` wrote of masks or of a state dict after torch's pruning; or
            weights, as a safetensors file or a folder that `save_pretrained()` wrote.
        model: the pre-trained network that the masks are of.
        scope: the weights that could be pruned; by default the encoder's, and the pooler's where
            that is masked or pruned.

    Raises: TombolaError, if source or model are not usable or don't belong together.
    """
    from tombola.models.network import load_backbone
    from tombola.ticket.imported import read_foreign
    from tombola.ticket.scope import scope_parameters
    from tombola.ticket.ticket import fingerprint

    foreign = read_foreign(Path(source))
    network = load_backbone(model)
    chosen = scope or foreign.scope
    mask = foreign.mask(scope_parameters(network, chosen))
    ignored = {} if scope else foreign.ignored
    return Ticket(
        mask=mask,
        model=lasting_name(model),
        fingerprint=fingerprint(network),
        scope=chosen,
        sparsity=shortest(mask.dead, mask.size),
        provenance={
            "imported": "masks" if foreign.masks else "zeros of weights",
            **({"ignored_zeros": ignored} if ignored else {}),
        },
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
