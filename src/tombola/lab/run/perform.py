"""A job and what its parents left in the store -> files in the store; the bridge to training."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tombola.base.errors import DataError, ModelError, OutputError, TrainingDivergedError
from tombola.base.specs import TrainSpec
from tombola.lab.run.evidence.masks import drawn_like, pruned
from tombola.lab.run.evidence.of_workspace import WorkspaceEvidence
from tombola.lab.run.memory import gpu_peak, peak_memory, return_memory, within_memory
from tombola.lab.run.payload import Payload, recipe_that_made
from tombola.lab.run.workspace import Workspace, WorkspaceCache, mask_of, teacher_of
from tombola.lab.store.artifacts import (
    mask_files,
    prediction_files,
    read_mask,
    result_of,
    trained_weights,
)
from tombola.lab.store.numerics import refuse_others
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import forget_fingerprints
from tombola.plan.job_spec import (
    InterpolateJobSpec,
    JobSpec,
    PruneJobSpec,
    ScoreJobSpec,
    TrainJobSpec,
    as_training,
)
from tombola.tasks.baselines import trivial_score
from tombola.tasks.examples import Predictions
from tombola.tasks.metrics import resolution, score_of
from tombola.tasks.task import on_hub
from tombola.ticket.fingerprint import weights_digest
from tombola.ticket.mask import Mask, Tensors
from tombola.ticket.scope import transposed
from tombola.training.checkpoint import Checkpoint
from tombola.training.distributed import accelerator, agree
from tombola.training.loop import fit
from tombola.training.loss import mean_loss
from tombola.training.numerics import numerics
from tombola.training.predictions import predict
from tombola.training.steps import Diverged, OnStep

__all__ = ["perform"]

Made = tuple[dict[str, Any], dict[str, bytes]]
"""What a job found out, and its files."""


def perform(
    payload: Payload,
    store: Store,
    workspaces: WorkspaceCache,
    step: OnStep,
    *,
    main: bool = True,
    sharers: int = 1,
) -> None:
    """Do a job and keep what came of it.

    Args:
        payload: what to do; its parents are in the store.
        store: where everything is kept.
        workspaces: the networks at hand.
        step: called after every optimizer step.
        main: whether this process keeps the result; the other ranks of a training do not.
        sharers: number of processes that share this one's GPU, itself included.

    Raises: TombolaError, if the model, the data or the disk can't be used, or memory is too small.
    """
    job = partial(_perform, payload, store, workspaces, step, main)
    within_memory(payload.label, sharers, job, workspaces.clear)


def _perform(
    payload: Payload, store: Store, workspaces: WorkspaceCache, step: OnStep, main: bool
) -> None:
    torch.set_num_threads(payload.threads)
    spec = payload.job_spec
    now = numerics(_recipe_of(spec, payload.kernel))
    refuse_others(store, payload, now)
    began = time.monotonic()
    with peak_memory() as memory:
        facts, files = KINDS[payload.kind](payload, store, workspaces.of(payload), step, main)
    if main:
        seconds = time.monotonic() - began + facts.get("earlier_seconds", 0.0)
        made = {"facts": facts, "numerics": now, "seconds": seconds, "peak_memory": memory[0]}
        _keep(payload, store, Result(**payload.named(), **made), files)
    del facts, files
    return_memory(memory[0])


def _recipe_of(spec: JobSpec, kernel: str) -> TrainSpec:
    """The recipe that a network is trained or differentiated by; by default one of no task."""
    if isinstance(spec, PruneJobSpec) and spec.data:
        return spec.data.recipe
    return spec.recipe if isinstance(spec, TrainJobSpec) else TrainSpec(kernel=kernel)


def _keep(payload: Payload, store: Store, result: Result, files: dict[str, bytes]) -> None:
    """Save a result, unless another engine has saved one of other numerics meanwhile; after that,
    look once more, in case it did so at the same moment."""
    before = store.has(payload.key)
    try:
        refuse_others(store, payload, result.numerics)
        store.save(result, files)
        refuse_others(store, payload, result.numerics)
    except OutputError:
        if not before:
            store.remove(payload.key)
            store.drop_weights(payload.key)
        raise


def _check(payload: Payload, store: Store, workspace: Workspace) -> None:
    """Refuse a network or data that have changed, and make the next run look at them afresh."""
    try:
        workspace.check(payload.job_spec)
    except (ModelError, DataError):
        forget_fingerprints(store.folder)
        raise


# --- the kinds ----------------------------------------------------------------


def _train(payload: Payload, store: Store, workspace: Workspace, step: OnStep, main: bool) -> Made:
    _check(payload, store, workspace)
    made_of = as_training(payload.job_spec)
    spec, network, scope = made_of.recipe, workspace.network, payload.scope
    mask = mask_of(payload, store, workspace)
    known = _known(payload, workspace, spec, mask)
    teacher = teacher_of(payload, store, workspace, spec)
    network.rewind(spec.seed, init=made_of.init, scope=scope)
    for role in ("start", "head"):
        if role in payload.parents:
            network.load(trained_weights(store, payload.parents[role]), only_head=role == "head")
    if "body" in payload.parents:
        network.load_body(trained_weights(store, payload.parents["body"]))
    done = fit(
        network,
        workspace.task,
        workspace.training(spec),
        mask,
        spec,
        scope=scope,
        course=made_of.course,
        checkpoint=_checkpoint(payload, store),
        on_step=step,
        teacher=teacher,
    )
    known |= {"teacher_tokens": done.tokens} if teacher else {}
    test = workspace.test(spec)
    predictions = None if done.diverged else predict(network, workspace.task, test, spec)
    if predictions is not None and np.isnan(predictions).any():
        done, predictions = replace(done, diverged=Diverged(done.steps, "logits")), None
    known |= {"gpu_memory": peak} if (peak := gpu_peak()) else {}
    if predictions is None:
        return {**known, "score": None, **asdict(done), "weights": None}, {}
    weights = network.weights()
    digest = weights_digest(weights)
    if main:
        _keep_weights(payload, store, weights, digest)
    scores = _scores(workspace, spec, predictions)
    return {**known, **scores, **asdict(done), "weights": digest}, prediction_files(predictions)


def _known(payload: Payload, workspace: Workspace, spec: TrainSpec, mask: Mask) -> dict[str, Any]:
    """Facts that are known before a training, so that an error in them costs no training."""
    workspace.also_scored(spec)  # encoded here, so that what they lack shows
    counts = {split: asdict(found) for split, found in workspace.counts(spec).items()}
    return {
        "task": workspace.task.name,
        "metric": workspace.task.metric,
        "seed": spec.seed,
        **({"data": payload.folder} if on_hub(payload.folder) else {}),
        "inputs": counts,
        "trivial": workspace.trivial(spec),
        "sparsity": mask.sparsity,
        "dead": mask.pruned,
        "scope_size": mask.size,
        "backbone_size": workspace.backbone_size,
    }


def _scores(workspace: Workspace, spec: TrainSpec, predictions: Predictions) -> dict[str, Any]:
    """The score, other metrics, and the metric on other rows, in points.

    What is not finite is NaN, which the store keeps as None.
    """
    task = workspace.task
    more = {name: score_of(predictions, name) for name in task.more}
    for name, examples in workspace.also_scored(spec).items():
        others = predict(workspace.network, task, examples, spec)
        more[f"{name} {task.metric}"] = score_of(others, task.metric)
    return {
        "score": score_of(predictions, task.metric),
        "resolution": resolution(task.metric, predictions),
        **({"more": more} if more else {}),
    }


def _score(payload: Payload, store: Store, workspace: Workspace, step: OnStep, main: bool) -> Made:
    made_of = payload.job_spec
    assert isinstance(made_of, ScoreJobSpec)
    trained = result_of(store, payload.parents["trained"])
    spec = recipe_that_made(trained)
    if trained.diverged is not None:
        raise TrainingDivergedError(
            f"{trained.label} {trained.diverged}. Use a lower learning rate."
        )
    _check(payload, store, workspace)
    network, task = workspace.network, workspace.task
    network.model.to(accelerator().device)
    network.load(trained_weights(store, trained.key))
    examples = workspace.split(made_of.split, spec)
    predictions = predict(network, task, examples, spec)
    facts = {
        "task": task.name,
        "metric": task.metric,
        "seed": spec.seed,
        "split": made_of.split,
        "score": score_of(predictions, task.metric),
        "trivial": trivial_score(network, task, examples),
    }
    return facts, {}


def _prune(payload: Payload, store: Store, workspace: Workspace, step: OnStep, main: bool) -> Made:
    spec, network = payload.job_spec, workspace.network
    assert isinstance(spec, PruneJobSpec)
    facts: Mapping[str, Any] = {}
    mask: Mask | None
    if "like" in payload.parents:
        like = read_mask(store, payload.parents["like"])
        mask = drawn_like(like, spec, transposed(network.model, network.scope(spec.scope)))
    elif "trained" in payload.parents:
        trained = result_of(store, payload.parents["trained"])
        under = trained.parents.get("mask")
        network.load(trained_weights(store, trained.key))
        base = read_mask(store, under) if under else workspace.full(spec.scope)
        mask, facts = pruned(WorkspaceEvidence(workspace, spec, step, base))
    else:
        _check(payload, store, workspace)
        random = spec.weights_from == "random-init"
        seed = spec.data.recipe.seed if spec.data else spec.seed
        network.rewind(seed, init="reinit" if random else "pretrained", scope=spec.scope)
        teacher = teacher_of(payload, store, workspace, spec.data.recipe) if spec.data else None
        base = mask_of(payload, store, workspace, "base")
        base.fill(network.scope(spec.scope))
        kept = partial(_checkpoint, payload, store)
        mask, facts = pruned(WorkspaceEvidence(workspace, spec, step, base, teacher, kept))
    if mask is None:
        return dict(facts), {}
    agree("mask", mask.digest())
    made, files = mask_files(mask)
    return {**facts, **made}, files


def _checkpoint(payload: Payload, store: Store, name: str = "") -> Checkpoint:
    """Where a training of a job is kept while it lasts; a job's only one needs no name."""
    return Checkpoint(store.partial(payload.key), identity=f"{payload.key} {name}".strip())


def _interpolate(
    payload: Payload, store: Store, workspace: Workspace, step: OnStep, main: bool
) -> Made:
    made_of = payload.job_spec
    assert isinstance(made_of, InterpolateJobSpec)
    spec = recipe_that_made(result_of(store, payload.parents["left"]))
    left, right = (trained_weights(store, payload.parents[end]) for end in ("left", "right"))
    network, examples, points = workspace.network, workspace.test(spec), made_of.points
    network.model.to(accelerator().device)
    positions = [number / (points - 1) for number in range(points)]
    scores, losses = [], []
    for number, position in enumerate(positions, start=1):
        network.load(between(left, right, position))
        scores.append(
            score_of(predict(network, workspace.task, examples, spec), workspace.task.metric)
        )
        losses.append(mean_loss(network, workspace.task, examples))
        step(number, points)
    facts = {
        "task": workspace.task.name,
        "metric": workspace.task.metric,
        "seed": spec.seed,
        "positions": positions,
        "scores": scores,
        "losses": losses,
    }
    return facts, {}


def between(left: Tensors, right: Tensors, position: float) -> Tensors:
    """The point of the line between two networks: exactly `left` at 0, `right` at 1."""
    if position in (0, 1):
        return right if position else left
    return {name: torch.lerp(weight, right[name], position) for name, weight in left.items()}


KINDS: Mapping[str, Callable[[Payload, Store, Workspace, OnStep, bool], Made]] = {
    "train": _train,
    "score": _score,
    "prune": _prune,
    "interpolate": _interpolate,
}


def _keep_weights(payload: Payload, store: Store, weights: Tensors, digest: str) -> None:
    """Write the weights if a later job reads them, once they are known to be the right ones."""
    before = store.read(payload.key)
    if before is not None and before.facts["weights"] != digest:
        raise OutputError(
            f"expected {payload.label} to come out as before, with weights "
            f"{(before.facts['weights'] or 'not finite')[:12]}, got {digest[:12]}. Train with the "
            f"threads and versions of the first time, {_changed(before, payload)}, or use another "
            "store."
        )
    if payload.keep_weights:
        store.save_weights(payload.key, lambda path: save_file(weights, path))


def _changed(before: Result, payload: Payload) -> str:
    """What the last digits depended on the first time, where it differs from now."""
    now = numerics(as_training(payload.job_spec).recipe)
    changed = {name: value for name, value in before.numerics.items() if now.get(name) != value}
    return ", ".join(f"{name} {value}" for name, value in changed.items()) or "which are the same"
