"""What tombola does, one function each; the command line is made of these."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tombola.errors import SpecError, TicketError
from tombola.lab.bench import Bench, Watch
from tombola.lab.options import evaluate_options, find_options
from tombola.lab.runs import Run, Runs
from tombola.lab.search import Search, overlap, summary, verdict
from tombola.lab.search import evaluate as run_evaluation
from tombola.lab.search import find as run_search
from tombola.ship import picture
from tombola.specs import FindSpec, exact, key, knobs
from tombola.task.embedded import model_path
from tombola.task.models import load_backbone
from tombola.ticket.folder import directory_size, write_file
from tombola.ticket.mask import Mask
from tombola.ticket.prune import keep_top
from tombola.ticket.scope import scope_parameters
from tombola.ticket.score import SCORERS, Evidence
from tombola.ticket.ticket import Ticket, fingerprint

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
        output: folder for everything; by default one under `runs/`, named by the experiment. The
            same experiment goes on where it was stopped.
        data: folder with the task's files, instead of the package's own.
        watch: told how it goes.
        **options: the fields of `FindSpec`, and those of `TrainSpec` that change the task's
            recipe, for example `epochs=1`.

    Raises: TombolaError, if an option, the model or the data are not usable.
    """
    spec, task, recipe = find_options(options)
    bench = Bench.open(spec.model, task, recipe, scope=spec.scope, folder=_folder(data))
    made_of = _made_of(
        bench, **{k: v for k, v in knobs(spec).items() if k not in ("model", "task")}
    )
    name = key("find", FIND_VERSION, **made_of)
    folder = Path(output) if output else Path("runs") / f"{task.name}-{spec.sparsity:f}-{name[:8]}"
    runs = Runs(folder, made_of)
    searches = run_search(bench, spec, runs, watch or Watch())
    found = _found(bench, spec, searches, folder=folder, name=name)
    picture.save(found.to_json(), folder)
    write_file(folder / "result.json", json.dumps(found.to_json(), indent=1) + "\n")
    return found


def _folder(data: str | Path | None) -> Path | None:
    return None if data is None else Path(data)


def _made_of(bench: Bench, **more: Any) -> dict[str, Any]:
    """Everything that makes a result what it is; no path, no device."""
    recipe = knobs(bench.spec)
    content = {
        "model": bench.network.fingerprint,
        "data": bench.data,
        "task": [bench.task.name, bench.task.version],
        "train": recipe,
        **more,
    }
    made_of: dict[str, Any] = json.loads(json.dumps(content))
    return made_of


def _ticket(bench: Bench, spec: FindSpec, search: Search, folder: Path) -> str:
    """Keep a seed's ticket."""
    run = search.rounds[spec.sparsity]
    ticket = Ticket(
        mask=search.masks[spec.sparsity],
        model=spec.model,
        fingerprint=bench.network.fingerprint,
        scope=spec.scope,
        sparsity=spec.sparsity,
        schedule=spec.schedule,
        step=spec.step,
        task=bench.task.name,
        seed=search.seed,
        scores="magnitude",
        provenance={
            "metric": bench.task.metric,
            "whole_model_sparsity": bench.whole_model_sparsity(search.masks[spec.sparsity]),
            "dense": search.dense.score,
            "ticket": run.score,
            "recipe": dataclasses.asdict(bench.spec),
            "numerics": run.facts["numerics"],
        },
    )
    place = folder / f"ticket-seed-{search.seed}"
    ticket.save(place)
    return str(place)


def _found(
    bench: Bench,
    spec: FindSpec,
    searches: Sequence[Search],
    *,
    folder: Path,
    name: str,
) -> Found:
    dense = [search.dense for search in searches]
    tickets = {str(search.seed): _ticket(bench, spec, search, folder) for search in searches}
    rounds = [
        {
            "sparsity": f"{sparsity:f}",
            **summary([search.rounds[sparsity] for search in searches]),
            "jaccard_one_shot": statistics.fmean(overlap(bench, searches, sparsity)),
        }
        for sparsity in searches[0].rounds
    ]
    last = [search.rounds[spec.sparsity] for search in searches]
    summed = dense[0].facts["summed_learning_rate"]
    return Found(
        task=bench.task.name,
        model=spec.model,
        metric=bench.task.metric,
        split=bench.task.test_split,
        dense=summary(dense),
        rounds=rounds,
        controls={c: summary([s.controls[c] for s in searches]) for c in spec.controls},
        trivial=bench.trivial,
        verdict=verdict(bench, dense, last, spec.sparsity, fixed=False).to_json(),
        ticket=next(iter(tickets.values())),
        tickets=tickets,
        seconds=_seconds([run for search in searches for run in search.all()]),
        summed_learning_rate=summed,
        whole_model_sparsity=bench.whole_model_sparsity(searches[0].masks[spec.sparsity]),
        notes=_notes(bench, dense, rounds[-1]["jaccard_one_shot"], summed),
        output=str(folder),
        key=name,
    )


def _notes(bench: Bench, dense: Sequence[Run], jaccard: float, summed: float) -> list[str]:
    notes = []
    worst = min(run.score for run in dense)
    if worst - bench.trivial < bench.task.margin:
        notes.append(
            f"the dense network scores {worst:.2f}, a trivial baseline {bench.trivial:.2f}: it has "
            "hardly learned the task, so the verdict says little. Train longer."
        )
    if jaccard >= SAME_MASK:
        notes.append(
            "IMP's mask can't be told from one-shot pruning's here: the learning rates sum to "
            f"{summed:.3g}, and the two masks' dead weights have a Jaccard index of {jaccard:.3f}. "
            "A longer or faster recipe would move the weights further."
        )
    return notes


def _seconds(runs: Sequence[Run]) -> float:
    return float(sum(run.facts["seconds"] for run in runs))


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
        **options: the fields of `EvaluateSpec`, and those of `TrainSpec` that change the recipe.

    Raises: TombolaError, if an option, the ticket, the model or the data are not usable.
    """
    loaded = Ticket.load(ticket)
    spec, task, recipe = evaluate_options(options, loaded.task or FindSpec.task)
    if loaded.seed in spec.seeds:
        raise SpecError(
            f"a ticket is evaluated on seeds other than that of its search, got {loaded.seed}. "
            "Name fresh --seeds."
        )
    place = model or loaded.model
    bench = Bench.open(place, task, recipe, scope=loaded.scope, folder=_folder(data))
    _belongs(loaded, bench)
    made_of = _made_of(bench, mask=loaded.mask.digest(), init=spec.init, seeds=spec.seeds)
    name = key("evaluate", EVALUATE_VERSION, **made_of)
    folder = Path(output) if output else Path("runs") / f"evaluate-{task.name}-{name[:8]}"
    dense, masked = run_evaluation(
        bench, loaded.mask, spec, Runs(folder, made_of), watch or Watch()
    )
    evaluated = Evaluated(
        task=task.name,
        model=place,
        metric=task.metric,
        split=task.test_split,
        init=spec.init,
        sparsity=f"{loaded.sparsity:f}",
        dense=summary(dense),
        scores=summary(masked),
        verdict=verdict(bench, dense, masked, loaded.sparsity, fixed=True).to_json(),
        ticket=str(ticket),
        seconds=_seconds([*dense, *masked]),
        output=str(folder),
        key=name,
    )
    write_file(folder / "result.json", json.dumps(evaluated.to_json(), indent=1) + "\n")
    return evaluated


def _belongs(ticket: Ticket, bench: Bench) -> None:
    """Refuse a network that the ticket was not found in."""
    ticket.mask.check(bench.network.scope(ticket.scope))
    if ticket.fingerprint != bench.network.fingerprint:
        raise TicketError(
            f"the ticket was found in a network with fingerprint {ticket.fingerprint[:12]} "
            f"({ticket.model}), got {bench.network.fingerprint[:12]} ({bench.network.name}). "
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
