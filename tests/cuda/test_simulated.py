"""What runs on a card alone, on a simulated one: no tensor of the processor meets one of the card.

See `simulated.card` for what is simulated, and what is not.
"""

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor
from trainings import SPEC, Case, case, found

from simulated.card import Card, MixedError, Unrecordable
from simulated.torch_on_card import simulated_card
from tombola.finders.finder import FINDERS
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.ticket.mask import Tensors
from tombola.training.checkpoint import Checkpoint
from tombola.training.loss import mean_loss
from tombola.training.predictions import predict

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Encoder and kind of task -> a case; networks are loaded where there is no card."""
    folder = tmp_path_factory.mktemp("encoders")
    kinds = [(name, kind) for name in ("bert", "modernbert") for kind in TASK_KINDS]
    return {f"{name} {kind}": case(folder / f"{name} {kind}", name, kind) for name, kind in kinds}


@pytest.fixture
def card() -> Iterator[Card]:
    """The card; before and after it, accelerate has seen none."""
    AcceleratorState._reset_state(reset_partial_state=True)
    with simulated_card() as simulated:
        yield simulated
    AcceleratorState._reset_state(reset_partial_state=True)


def same(one: Tensors, two: Tensors) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


# the simulation itself


def test_tensors_of_both_sides_are_refused_and_waits_are_counted(card: Card) -> None:
    here, there = torch.ones(3), torch.ones(3).to("cuda")
    assert (here.device.type, there.device.type) == ("cpu", "cuda")
    assert (there + 1).is_cuda
    assert torch.zeros_like(there).is_cuda
    assert torch.tensor([1.0], device="cuda").is_cuda
    every: list[Callable[[], Tensor]] = [
        lambda: here + there,
        lambda: torch.cat([here, there]),
        lambda: there @ here,
    ]
    for mixed in every:
        with pytest.raises(MixedError):
            mixed()
    with pytest.raises(MixedError):
        torch.rand(3, device="cuda", generator=torch.Generator())
    with pytest.raises(TypeError):
        there.numpy()
    card.waits.clear()
    assert float(there.sum() * torch.tensor(2.0)) == 6
    assert torch.equal(there.cpu(), here)
    assert card.waits == {"aten::_local_scalar_dense": 1, "copy from the card": 1}
    there.copy_(here.pin_memory(), non_blocking=True)
    assert card.waits.total() == 2


def test_a_graph_does_nothing_while_it_is_recorded(card: Card) -> None:
    x, total = torch.ones(2, device="cuda"), torch.zeros(2, device="cuda")
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        total += 2 * x
    assert total.tolist() == [0, 0]
    for value in (1.0, 5.0):
        x.fill_(value)
        graph.replay()
    assert total.tolist() == [12, 12]
    with pytest.raises(Unrecordable), torch.cuda.graph(torch.cuda.CUDAGraph()):
        float(x.sum())


# trainings


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", ["classification", "mlm"])
def test_no_step_waits_for_the_card_once_its_shapes_are_recorded(
    kind: str, precision: str, cases: dict[str, Case], card: Card
) -> None:
    one, waits = cases[f"bert {kind}"], []

    def step(done: int, *_: object) -> None:
        waits.append(dict(card.waits))
        card.waits.clear()

    done, after = one.train(replace(SPEC, precision=precision), on_step=step)
    assert done.diverged is None
    assert waits[4:] == [{}] * 4
    again, plainly = one.train(replace(SPEC, precision=precision), replay=False)
    assert again.loss == done.loss
    assert same(after, plainly)
    for name, kept in one.mask.items():
        assert not one.under_mask()[name].detach().cpu()[~kept].any()
    predict(one.network, one.task, one.examples)
    mean_loss(one.network, one.task, one.examples)


@pytest.mark.parametrize("more", [{}, {"precision": "fp16"}, {"accumulation": 2}], ids=str)
def test_a_training_goes_on_to_the_same_bits(
    more: dict[str, Any], cases: dict[str, Case], tmp_path: Path, card: Card
) -> None:
    one = cases["bert classification"]
    spec = replace(SPEC, **more)
    _, whole = one.train(spec)

    class StopError(Exception):
        pass

    def stop(done: int, *_: object) -> None:
        if done == 5:
            raise StopError

    with pytest.raises(StopError):
        one.train(spec, checkpoint=Checkpoint(tmp_path, 0.0), on_step=stop)
    done: list[int] = []
    kept = Checkpoint(tmp_path, 0.0)
    _, after = one.train(spec, checkpoint=kept, on_step=lambda step, *_: done.append(step))
    assert 1 < done[0] <= 6  # step 5 is saved before it is reported
    assert same(after, whole)


@pytest.mark.parametrize(("name", "kind"), [("modernbert", "regression"), ("bert", "span")])
def test_a_network_trains_without_graphs(
    name: str, kind: str, cases: dict[str, Case], card: Card
) -> None:
    one = cases[f"{name} {kind}"]
    done, _ = one.train(replace(SPEC, precision="bf16"))
    assert done.diverged is None
    predict(one.network, one.task, one.examples)


def test_a_network_is_freed_with_its_graphs(cases: dict[str, Case], card: Card) -> None:
    one = cases.pop("bert regression")
    one.train()
    model = weakref.ref(one.network.model)
    del one
    gc.collect()
    assert model() is None


def test_a_program_that_has_multiplied_before_trains_with_a_warning(
    cases: dict[str, Case], card: Card
) -> None:
    """torch looks at cuBLAS's setting when it is first used."""
    one = cases["bert classification"]
    _, before = one.train()
    card.cublas_is_set = False
    with pytest.warns(UserWarning, match="differ in their last bits"):
        _, after = one.train()
    assert same(before, after)
    assert not torch.are_deterministic_algorithms_enabled()


# finders


@pytest.mark.parametrize("name", FINDERS)
def test_a_finder_keeps_both_sides_apart(name: str, cases: dict[str, Case], card: Card) -> None:
    one = cases["bert classification"]
    assert next(one.network.model.parameters()).device.type == "cpu"
    mask = found(one, name)
    assert mask.pruned == mask.size // 2


def test_blocks_of_a_fisher_matrix_are_made_on_the_card(cases: dict[str, Case], card: Card) -> None:
    one = cases["bert classification"]
    assert found(one, "obs", block_size=4, damping=1e-3).sparsity == 0.5


@pytest.mark.parametrize("knobs", [{"structure": "2:4"}, {"allocation": "row"}], ids=str)
def test_masks_of_a_training_are_cut_by_scores_on_the_card(
    knobs: dict[str, Any], cases: dict[str, Case], card: Card
) -> None:
    one = cases["bert classification"]
    assert found(one, "movement", **knobs).sparsity == 0.5
