"""Trainings whose arithmetic is in C: the same invariants, bits that repeat, a name of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small_network import half_mask
from tombola.base.errors import SpecError
from tombola.base.keys import changed_knobs
from tombola.base.specs import KERNELS, TrainSpec
from tombola.kernel.fused.extension import available
from tombola.kernel.fused.weights import HalfWeights
from tombola.kernel.packed import SPARSE, SPARSE_ALWAYS
from tombola.models.network import Network
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.examples import Examples
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask, Tensors
from tombola.training.checkpoint import Checkpoint
from tombola.training.loop import FitResult, fit
from tombola.training.numerics import kernel, numerics
from tombola.training.predictions import predict

TASK = load_task("sentiment")
PLAIN = TrainSpec(
    epochs=1, batch_size=16, learning_rate=1e-2, weight_decay=0.1, seed=3, kernel="packed-1"
)
SPEC = replace(PLAIN, kernel="packed-3")

built = pytest.mark.skipif(not available(), reason="the C extension was not built")


@pytest.fixture
def network(tiny: Path) -> Network:
    return load_network(str(tiny), "classification")


@pytest.fixture
def examples(network: Network, reviews: Path) -> Examples:
    rows = read_split(TASK, "train", reviews)
    return encode_split(rows, TASK, network.tokenizer, TrainSpec(max_length=30))


def trained(
    network: Network, examples: Examples, spec: TrainSpec, mask: Mask | None = None, **more: Any
) -> tuple[FitResult, Tensors]:
    """A training, and the weights after it; every pruned one was +0.0 after every step."""
    mask = half_mask(network) if mask is None else mask

    def look(done: int, steps: int, *_: object) -> None:
        for name, weight in network.scope("encoder").items():
            assert not weight.detach()[~mask[name]].view(torch.int32).any()

    network.rewind(spec.seed)
    done = fit(network, TASK, examples, mask, spec, scope="encoder", **{"on_step": look, **more})
    return done, network.weights()


def same(one: Tensors, two: Tensors) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@built
@pytest.mark.parametrize(
    "more",
    [
        *({}, {"accumulation": 3}, {"precision": "bf16"}, {"precision": "bf16", "accumulation": 2}),
        *({"kernel": SPARSE_ALWAYS}, {"kernel": SPARSE_ALWAYS, "accumulation": 3}),
    ],
    ids=str,
)
def test_pruned_weights_stay_pruned_and_bits_repeat(
    network: Network, examples: Examples, more: dict[str, Any]
) -> None:
    spec = replace(SPEC, **more)
    (done, one), (_, two) = (trained(network, examples, spec) for _ in range(2))
    assert done.steps == spec.steps(len(examples))
    assert same(one, two)


@built
def test_words_predicted_from_their_embeddings_give_bits_that_repeat(tiny: Path) -> None:
    task = load_task("mlm")
    network = load_network(str(tiny), task.kind)
    rows = [{"text": "the film has a plot and it was long"[: 9 + n % 20]} for n in range(24)]
    examples = encode_split(rows, task, network.tokenizer, TrainSpec(max_length=30))
    made = []
    for _ in range(2):
        network.rewind(SPEC.seed)
        fit(network, task, examples, half_mask(network), SPEC, scope="encoder")
        made.append(network.weights())
    assert same(*made)
    assert all(weight.isfinite().all() for weight in made[0].values())


@built
def test_without_dropout_it_differs_from_torch_by_rounding(
    network: Network, examples: Examples
) -> None:
    for part in network.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    (plain, one), (fused, two) = (trained(network, examples, spec) for spec in (PLAIN, SPEC))
    assert fused.loss == pytest.approx(plain.loss, rel=1e-3)
    apart = torch.cat([(two[name] - one[name]).flatten() for name in one])
    assert 0 < float(apart.abs().mean()) < 1e-4


@built
@pytest.mark.parametrize("kernel", ["packed-3", SPARSE_ALWAYS])
def test_a_training_goes_on_to_the_same_bits(
    kernel: str,
    network: Network,
    examples: Examples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = replace(SPEC, kernel=kernel)
    whole = trained(network, examples, spec)[1]

    class StopError(Exception):
        pass

    def stop(done: int, steps: int, *_: object) -> None:
        if done == 2:
            raise StopError

    def checkpoint() -> Checkpoint:
        return Checkpoint(tmp_path, every=0.0, identity="kernel")

    monkeypatch.setattr("tombola.training.checkpoint.PATIENCE", 0)
    with pytest.raises(StopError):
        trained(network, examples, spec, on_step=stop, checkpoint=checkpoint())
    assert list(tmp_path.iterdir())
    taken: list[int] = []

    def count(done: int, steps: int, *_: object) -> None:
        taken.append(done)

    resumed = trained(network, examples, spec, on_step=count, checkpoint=checkpoint())[1]
    assert taken[0] > 1
    assert same(resumed, whole)


@built
def test_a_training_of_the_other_kernel_is_not_gone_on_with(
    network: Network, examples: Examples, tmp_path: Path
) -> None:
    plain = trained(network, examples, PLAIN)[1]
    trained(network, examples, SPEC, checkpoint=Checkpoint(tmp_path, every=0.0))
    after = trained(network, examples, PLAIN, checkpoint=Checkpoint(tmp_path, every=0.0))[1]
    assert same(plain, after)


@built
@pytest.mark.parametrize("kernel", ["packed-3", SPARSE_ALWAYS])
def test_who_reads_gradients_sees_those_of_the_kept_weights(
    kernel: str, network: Network, examples: Examples
) -> None:
    mask, seen = half_mask(network), []

    def look() -> None:
        for name, weight in network.scope("encoder").items():
            assert weight.grad is not None
            assert not weight.grad[~mask[name]].any()
        words: Any = network.model.get_input_embeddings()
        seen.append(words.weight.grad)

    trained(network, examples, replace(SPEC, kernel=kernel), mask, on_gradient=look)
    assert len(seen) == SPEC.steps(len(examples))
    assert all(gradient.layout == torch.strided for gradient in seen)


@built
def test_weights_in_bf16_follow_the_weights_after_every_step() -> None:
    weight, others = torch.randn(4, 3), [torch.randn(2, 3) for _ in range(3)]
    half = HalfWeights()
    for _ in range(2):
        assert torch.equal(half.of(weight), weight.bfloat16())
        (joined,) = half.stacked(others, shared=True)
        assert torch.equal(joined, torch.cat(others).bfloat16())
        first, rest = half.stacked(others, shared=False)
        assert torch.equal(torch.cat([first, rest]), joined)
        for each in (weight, *others):
            each.mul_(3)
        assert not torch.equal(half.of(weight), weight.bfloat16())  # once a step
        half.invalidate()


@built
def test_bf16_trains_float32_weights_near_those_of_fp32(
    network: Network, examples: Examples
) -> None:
    for part in network.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    (whole, one), (half, two) = (
        trained(network, examples, replace(SPEC, precision=name)) for name in ("fp32", "bf16")
    )
    assert half.loss == pytest.approx(whole.loss, rel=0.05)
    assert all(weight.dtype == torch.float32 for weight in two.values())
    assert not same(one, two)
    recipe = replace(SPEC, precision="bf16")
    scores = [predict(network, TASK, examples, each) for each in (recipe, recipe, SPEC)]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] == scores[2]).mean() > 0.9


@built
def test_numbers_that_are_not_finite_end_the_training(network: Network, examples: Examples) -> None:
    done, _ = trained(network, examples, replace(SPEC, learning_rate=1e30), on_step=lambda *_: None)
    assert done.diverged is not None


def test_the_kernel_is_in_the_numerics_of_a_result_and_not_in_its_name() -> None:
    specs = [replace(PLAIN, kernel=name) for name in KERNELS]
    assert all(changed_knobs(spec) == changed_knobs(PLAIN) for spec in specs)
    assert "kernel" not in changed_knobs(PLAIN)
    if not torch.cuda.is_available():
        assert [numerics(spec)["kernel"] for spec in specs[1:]] == [
            *("packed-1", "packed-3", "sparse-1", "sparse-always-1")
        ]


def test_numerics_say_what_decides_which_products_are_sparse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tombola.kernel.sparse.products.instruction_set", lambda: "avx9")
    monkeypatch.setattr("tombola.kernel.sparse.crossovers.table_digest", lambda: "1234abcd")
    found = {kernel: numerics(TrainSpec(kernel=kernel)) for kernel in KERNELS}
    if torch.cuda.is_available():
        assert not any("sparse_products" in each for each in found.values())
        return
    assert {name for name in found if "sparse_products" in found[name]} == {SPARSE, SPARSE_ALWAYS}
    assert found[SPARSE]["sparse_products"] == "avx9, crossovers 1234abcd"
    assert found[SPARSE_ALWAYS]["sparse_products"] == "avx9"


@built
def test_sparse_products_change_a_training_by_rounding_only(
    network: Network, examples: Examples
) -> None:
    """Masks change between trainings, as they do from round to round."""
    for seed in range(2):
        mask = half_mask(network, seed)
        dense, always = (
            trained(network, examples, replace(SPEC, kernel=kernel), mask)
            for kernel in ("packed-3", SPARSE_ALWAYS)
        )
        assert always[0].loss == pytest.approx(dense[0].loss, rel=1e-3)
        assert not same(always[1], dense[1])
        apart = torch.cat([(always[1][name] - one).flatten() for name, one in dense[1].items()])
        assert float(apart.abs().mean()) < 1e-4


@built
def test_the_table_that_never_pays_leaves_every_bit(
    network: Network, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.kernel.sparse.masked.pays", lambda *_, **__: False)
    dense, table = (
        trained(network, examples, replace(SPEC, kernel=kernel))[1]
        for kernel in ("packed-3", SPARSE)
    )
    assert same(dense, table)


@pytest.mark.parametrize("is_built", [True, False])
def test_auto_is_the_faster_kernel_where_it_was_built(
    is_built: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    monkeypatch.setattr("tombola.training.numerics.available", lambda: is_built)
    assert kernel(TrainSpec()) == ("packed-3" if is_built else "packed-1")
    assert kernel(TrainSpec(gradient_checkpointing=True)) == "model"
    assert kernel(TrainSpec(compile=True)) == "compiled"


def test_without_the_extension_only_the_other_kernel_is_refused(
    network: Network, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.training.numerics.available", lambda: False)
    with pytest.raises(
        SpecError, match=r"C extension.*Install a C compiler.*or use kernel packed-1"
    ):
        trained(network, examples, SPEC)
    trained(network, examples, PLAIN)


def test_without_the_extension_for_products_the_kernels_that_need_it_are_refused(
    network: Network, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.kernel.sparse.products.available", lambda: False)
    with pytest.raises(SpecError, match=r"kernel sparse-1 needs .* C extension.*Install"):
        trained(network, examples, replace(SPEC, kernel=SPARSE))


@pytest.mark.parametrize("kernel", [SPARSE, SPARSE_ALWAYS])
def test_sparse_products_take_fp32_alone(kernel: str) -> None:
    for more, named in (({"precision": "bf16"}, "precision bf16"), ({"compile": True}, "compile")):
        with pytest.raises(SpecError, match=f"kernel {kernel} works with fp32 only, got {named}"):
            replace(SPEC, kernel=kernel, **more)
    assert not TrainSpec(precision="bf16").takes(kernel)
    assert TrainSpec().takes(kernel)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"precision": "fp16"}, "precision fp16"),
        ({"compile": True}, "compile"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing"),
    ],
)
def test_what_it_cannot_do_is_refused(more: dict[str, Any], named: str) -> None:
    with pytest.raises(
        SpecError, match=f"kernel packed-3 works with fp32 or bf16 only, got {named}"
    ):
        replace(SPEC, **more)


def test_a_kernel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"auto, packed-1, packed-3, sparse-1 or sparse-always-1, got 'pac"
    ):
        replace(PLAIN, kernel="packed-2")
