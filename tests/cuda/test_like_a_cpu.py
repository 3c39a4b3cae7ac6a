"""On a card a network loses, learns and is pruned as it is on a CPU."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from trainings import CASES, DEVICE, SPEC, WITHOUT_DROPOUT, case

from tombola.base.specs import CourseSpec
from tombola.finders.scores import magnitude, uniform
from tombola.ticket.fingerprint import weights_digest
from tombola.ticket.init import INITS
from tombola.ticket.mask import Mask
from tombola.ticket.prune import random_like
from tombola.ticket.structures import STRUCTURES
from tombola.training.loss import mean_loss

pytestmark = pytest.mark.cuda

HALF = Decimal("0.5")
Arrays = dict[str, NDArray[Any]]


def numbers(folder: Path, name: str, kind: str) -> Arrays:
    """Losses, and the gradients of the first step, on the device that is there."""
    one = case(folder / name, name, kind, **WITHOUT_DROPOUT[name])
    parameters = dict(one.network.model.to(DEVICE).named_parameters())
    gradients = {n: torch.zeros_like(p) for n, p in parameters.items()}
    hooks = [p.register_hook(keeping(gradients[n])) for n, p in parameters.items()]
    done, _ = one.train(replace(SPEC, batch_size=4), course=CourseSpec(last=1))
    for hook in hooks:
        hook.remove()
    one.network.rewind(SPEC.seed)
    scored = mean_loss(one.network, one.task, one.examples)
    losses = {"trained": np.array(done.loss), "untrained": np.array(scored)}
    return {n: gradient.cpu().numpy() for n, gradient in gradients.items()} | losses


def keeping(place: Tensor) -> Callable[[Tensor], None]:
    """A hook that keeps a gradient, without leaving the device."""

    def keep(gradient: Tensor) -> None:
        place.copy_(gradient)

    return keep


def of_every_case(folder: Path) -> dict[tuple[str, str], Arrays]:
    """Encoder and kind of task -> its numbers."""
    return {(name, kind): numbers(folder, name, kind) for name, kind in CASES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the networks are."""
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[tuple[str, str], Arrays]:
    """The numbers of every case, from a process that sees no card."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(of_every_case, (folder,))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_losses_and_gradients_are_those_of_a_cpu(
    name: str, kind: str, folder: Path, expected: dict[tuple[str, str], Arrays]
) -> None:
    found, wanted = numbers(folder, name, kind), expected[name, kind]
    assert found.keys() == wanted.keys()
    for loss in ("trained", "untrained"):
        assert float(found.pop(loss)) == pytest.approx(float(wanted[loss]), rel=1e-4)
    whole = np.sqrt(sum(np.square(wanted[parameter]).sum() for parameter in found))
    assert whole > 0
    for parameter, gradient in found.items():
        error = np.linalg.norm(gradient - wanted[parameter])
        assert error <= 1e-3 * np.linalg.norm(wanted[parameter]) + 1e-5 * whole, parameter


STRUCTURED = ["unstructured", "heads-and-neurons", "rows", "2:4"]


@pytest.mark.parametrize("structure", STRUCTURED)
def test_the_same_scores_make_the_same_mask(structure: str, folder: Path) -> None:
    """On a card as on a CPU, with ties."""
    one = case(folder / "bert", "bert", "classification", **WITHOUT_DROPOUT["bert"])
    one.network.rewind(0)
    weights = {n: w.detach().cpu().round(decimals=1) for n, w in one.under_mask().items()}
    there = {name: weight.to(DEVICE) for name, weight in weights.items()}
    full, prune = Mask.full(weights), STRUCTURES[structure]
    ours = prune(magnitude(weights), full, HALF, 2)
    theirs = prune(magnitude(there), full.to(DEVICE), HALF, 2)
    assert theirs.digest() == ours.digest()
    assert (theirs.pruned, theirs.size) == (ours.pruned, ours.size)
    if structure != "2:4":
        further = Decimal("0.75")
        assert prune(magnitude(there), theirs.to(DEVICE), further, 2) == prune(
            magnitude(weights), ours, further, 2
        )


def test_random_masks_are_the_same_on_both(folder: Path) -> None:
    one = case(folder / "bert", "bert", "classification", **WITHOUT_DROPOUT["bert"])
    weights = {n: w.detach().cpu() for n, w in one.under_mask().items()}
    there = {name: weight.to(DEVICE) for name, weight in weights.items()}
    ours, theirs = (uniform(one, torch.Generator().manual_seed(5)) for one in (weights, there))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    like, like_there = (
        random_like(mask, torch.Generator().manual_seed(5))
        for mask in (one.mask, one.mask.to(DEVICE))
    )
    assert like_there.digest() == like.digest()
    assert like.digest() != one.mask.digest()


@pytest.mark.parametrize("init", [*INITS])
def test_initialisations_are_the_same_on_both(init: str, folder: Path) -> None:
    one = case(folder / "bert", "bert", "classification", **WITHOUT_DROPOUT["bert"])
    one.network.rewind(0)
    weights = {n: w.detach().cpu().clone() for n, w in one.under_mask().items()}
    there = {name: weight.to(DEVICE) for name, weight in weights.items()}
    ours, theirs = (
        INITS[init](one, torch.Generator().manual_seed(5), std=0.02) for one in (weights, there)
    )
    assert all(tensor.device.type == DEVICE for tensor in theirs.values())
    assert weights_digest(theirs) == weights_digest(ours)


@pytest.mark.parametrize("init", [*INITS])
def test_a_network_on_the_device_rewinds_to_the_same_weights(init: str, folder: Path) -> None:
    one = case(folder / "bert", "bert", "mlm", **WITHOUT_DROPOUT["bert"])
    digests = []
    devices: tuple[Any, ...] = "cpu", DEVICE
    for device in devices:
        one.network.model.to(device)
        one.network.rewind(7, init=init)
        digests.append(weights_digest(one.network.weights()))
    assert digests[0] == digests[1]
