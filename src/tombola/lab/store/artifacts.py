"""The files of results: masks, predictions and weights, written and read."""

import json
from collections.abc import Iterable
from typing import Any

from safetensors.numpy import load as load_content
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save
from safetensors.torch import load
from safetensors.torch import load_file as load_tensors

from tombola.base.errors import OutputError, TrainingDivergedError
from tombola.lab.store.result import Result
from tombola.lab.store.result_store import Store
from tombola.plan.job import Job
from tombola.tasks.examples import Predictions
from tombola.ticket.fingerprint import weights_digest
from tombola.ticket.mask import Mask, Shapes, Tensors, pack, unpack

__all__ = [
    "PREDICTIONS",
    "has_mask",
    "keep_mask",
    "mask_files",
    "prediction_files",
    "read_mask",
    "read_predictions",
    "read_weights",
    "result_of",
    "results",
    "trained_weights",
]

MASK, SHAPES, PREDICTIONS = "mask.safetensors", "shapes.json", "outcome.safetensors"


def mask_files(mask: Mask) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The facts and files of a mask, as the store keeps them."""
    bits = {name: packed.numpy() for name, packed in pack(mask).items()}
    shapes = {name: list(shape) for name, shape in mask.shapes.items()}
    facts = {"digest": mask.digest(), "dead": mask.pruned, "size": mask.size}
    return facts, {MASK: save(bits), SHAPES: json.dumps(shapes).encode()}


def keep_mask(store: Store, job: Job, mask: Mask) -> None:
    """Save a mask that exists already as the result of a job."""
    facts, files = mask_files(mask)
    store.save(Result.of(job, facts), files)


def has_mask(store: Store, key: str) -> bool:
    """Whether a prune job is done and its training, if it has one, didn't diverge."""
    made = store.read(key)
    return made is not None and made.diverged is None


def read_mask(store: Store, key: str) -> Mask:
    """The mask that a prune job made.

    Raises: OutputError, if the store has none, or not the one that was recorded;
        TrainingDivergedError, if its training diverged.
    """
    made = result_of(store, key)
    if made.diverged is not None:
        raise TrainingDivergedError(
            f"expected the mask {key[:12]} in the store, got none: its training {made.diverged}. "
            "Use a lower learning rate."
        )
    listed = json.loads(store.content(made, SHAPES))
    shapes: Shapes = {name: tuple(shape) for name, shape in listed.items()}
    mask = unpack(load(store.content(made, MASK)), shapes)
    if mask.digest() != made.facts["digest"]:
        forget = store.command("forget", key[:12])
        raise OutputError(
            f"expected the mask {made.facts['digest'][:12]} in {store.file(key, MASK)}, got "
            f"{mask.digest()[:12]}. Delete it with `{forget}` and run the same command again."
        )
    return mask


def read_predictions(store: Store, key: str) -> Predictions:
    """What a trained network predicted for each test example.

    Raises: OutputError, if the store has none, or not what was written.
    """
    content = store.content(result_of(store, key), PREDICTIONS)
    predictions: Predictions = load_content(content)["outcome"]
    return predictions


def read_weights(store: Store, key: str) -> dict[str, Any] | None:
    """The weights that a training ended with, as arrays by their names in the whole network; None
    if they are not kept."""
    path = store.weights(key)
    return load_arrays(path) if path else None


def trained_weights(store: Store, key: str) -> Tensors:
    """The weights that a training ended with, known to be the ones that were recorded.

    Raises: OutputError, if they are gone, or others than were recorded.
    """
    path, recorded = store.weights(key), result_of(store, key).facts["weights"]
    weights: Tensors = load_tensors(path) if path else {}
    if weights_digest(weights) != recorded:
        store.drop_weights(key)
        raise OutputError(
            f"expected the weights {recorded[:12]} of the training {key[:12]} in the store, got "
            f"{'others' if path else 'none'}. Run the same command again: it retrains them."
        )
    return weights


def result_of(store: Store, key: str) -> Result:
    """The result of a job.

    Raises: OutputError, if the store has none.
    """
    result = store.read(key)
    if result is None:
        raise OutputError(
            f"expected the result {key[:12]} in the store, got none. Run the same command again."
        )
    return result


def prediction_files(predictions: Predictions) -> dict[str, bytes]:
    """The files of what a network predicted for each test example."""
    return {PREDICTIONS: save({"outcome": predictions})}


def results(store: Store, jobs: Iterable[Job]) -> list[Result]:
    """The results of jobs, in the same order.

    Raises: OutputError, if the store lacks one.
    """
    return [result_of(store, job.key) for job in jobs]
