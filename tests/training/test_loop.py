"""Pruned weights stay zero, trainings are bitwise reproducible, and scoring disturbs nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from small_network import half_mask
from tombola.base.errors import SpecError
from tombola.base.seeds import derive_seed
from tombola.base.specs import CourseSpec, TrainSpec
from tombola.kernel.packed import packed
from tombola.kernel.reads import Reads
from tombola.models.network import Network
from tombola.tasks.baselines import trivial_score
from tombola.tasks.data.batches import collate, training_batches
from tombola.tasks.data.encode import chosen, encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.examples import Examples
from tombola.tasks.kinds.mlm import mask_tokens
from tombola.tasks.metrics import METRICS
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask, Tensors
from tombola.training import distributed as ranks
from tombola.training.loop import FitResult, fit
from tombola.training.numerics import numerics
from tombola.training.predictions import predict

TASK = load_task("sentiment")
SPEC = TrainSpec(
    epochs=1, batch_size=16, learning_rate=1e-2, weight_decay=0.1, seed=3, kernel="packed-1"
)


@pytest.fixture(scope="module")
def network(tiny: Path) -> Network:
    return load_network(str(tiny), "classification")


@pytest.fixture(scope="module")
def examples(network: Network, reviews: Path) -> Examples:
    return encode_split(
        read_split(TASK, "train", reviews), TASK, network.tokenizer, TrainSpec(max_length=30)
    )


@pytest.fixture(scope="module")
def test(network: Network, reviews: Path) -> Examples:
    return encode_split(
        read_split(TASK, "test", reviews), TASK, network.tokenizer, TrainSpec(max_length=30)
    )


@pytest.fixture(scope="module")
def mask(network: Network) -> Mask:
    return half_mask(network)


def weights(network: Network) -> Tensors:
    return {name: p.detach().clone() for name, p in network.model.named_parameters()}


def same(a: Tensors, b: Tensors) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def trained(
    network: Network, examples: Examples, mask: Mask, spec: TrainSpec, **more: Any
) -> tuple[FitResult, Tensors]:
    network.rewind(spec.seed)
    done = fit(network, TASK, examples, mask, spec, scope="encoder", **more)
    return done, weights(network)


# pruned weights


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, precision="bf16", warmup=0.5)])
def test_pruned_weights_are_positive_zero_after_every_step(
    network: Network, examples: Examples, mask: Mask, spec: TrainSpec
) -> None:
    seen = []

    def look(done: int, steps: int, *_: object) -> None:
        seen.append((done, steps))
        for name, weight in network.scope("encoder").items():
            assert not weight.detach()[~mask[name]].view(torch.int32).any()
            assert weight.dtype == torch.float32

    done, after = trained(network, examples, mask, spec, on_step=look)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert done.steps == 3
    for name, alive in mask.items():
        moved = after[f"bert.{name}"] != network.pretrained[f"bert.{name}"]
        assert moved[alive].float().mean() > 0.99


def test_the_clip_norm_counts_kept_weights_only(
    network: Network, examples: Examples, mask: Mask, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = []
    clip = nn.utils.clip_grad_norm_

    def spy(*parameters: Any) -> Any:
        norms.append(float(clip(*parameters)))
        return norms[-1]

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", spy)
    trained(network, examples, mask, SPEC)
    assert len(norms) == 3
    whole, kept = first_gradient(network, examples, mask)
    assert norms[0] == pytest.approx(kept, rel=1e-5)
    assert whole > 1.02 * kept


def first_gradient(network: Network, examples: Examples, mask: Mask) -> tuple[float, float]:
    """Norm of the first step's gradient: of all weights, and without the pruned ones."""
    network.rewind(SPEC.seed)
    parameters = network.scope("encoder")
    mask.fill(parameters)
    torch.manual_seed(derive_seed(SPEC.seed, "dropout"))
    network.model.train()
    network.model.zero_grad()
    batch = next(training_batches(network, TASK, examples, SPEC, first=0, last=3))
    with packed(network.model, batch, Reads.FIRST) as inputs:
        network.model(**inputs).loss.backward()
    squares = [
        float(p.grad.square().sum()) for p in network.model.parameters() if p.grad is not None
    ]
    pruned = [
        float(parameter.grad[~mask[name]].square().sum())
        for name, parameter in parameters.items()
        if parameter.grad is not None
    ]
    network.model.zero_grad()
    return sum(squares) ** 0.5, (sum(squares) - sum(pruned)) ** 0.5


# bitwise identical results


def test_the_same_spec_gives_the_same_bits_whatever_came_before(
    network: Network, examples: Examples, test: Examples, mask: Mask, tiny: Path
) -> None:
    torch.manual_seed(1)
    first, one = trained(network, examples, mask, SPEC)
    score = predict(network, TASK, test)
    trained(network, examples, mask, replace(SPEC, seed=9))
    torch.manual_seed(2)
    second, two = trained(network, examples, mask, SPEC)
    assert same(one, two)
    assert np.array_equal(predict(network, TASK, test), score)
    other = load_network(str(tiny), "classification")
    third, three = trained(other, examples, mask, SPEC)
    assert same(one, three)
    losses = {done.loss for done in (first, second, third)}
    assert len(losses) == 1


def test_gradients_left_by_an_interrupted_training_are_forgotten(
    network: Network, examples: Examples, mask: Mask
) -> None:
    _, one = trained(network, examples, mask, SPEC)
    for parameter in network.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    _, two = trained(network, examples, mask, SPEC)
    assert same(one, two)


def test_another_seed_gives_other_bits(network: Network, examples: Examples, mask: Mask) -> None:
    _, one = trained(network, examples, mask, SPEC)
    _, two = trained(network, examples, mask, replace(SPEC, seed=4))
    assert not same(one, two)


@pytest.mark.parametrize("seed", range(4))
def test_a_training_learns_what_there_is_to_learn(
    network: Network, examples: Examples, test: Examples, seed: int
) -> None:
    spec = replace(SPEC, epochs=16, batch_size=4, learning_rate=3e-3, weight_decay=0.0, seed=seed)
    done, _ = trained(network, examples, Mask.full(network.scope("encoder")), spec)
    assert done.loss < 0.5
    assert METRICS["accuracy"](predict(network, TASK, test)) > 75


# a part of a training


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_training_stopped_early_is_the_beginning_of_the_whole_one(
    network: Network, examples: Examples, mask: Mask, last: int
) -> None:
    along = {}

    def look(done: int, steps: int, *_: object) -> None:
        along[done] = weights(network)

    whole, _ = trained(network, examples, mask, SPEC, on_step=look)
    seen = []
    part, stopped = trained(
        *(network, examples, mask, SPEC),
        course=CourseSpec(last=last),
        on_step=lambda done, steps, *_: seen.append((done, steps)),
    )
    assert same(stopped, along[last])
    assert seen == [(step, last) for step in range(1, last + 1)]
    assert part.steps == last
    assert (part.tokens == whole.tokens) == (last == 3)


@pytest.mark.parametrize("task_name", ["sentiment", "mlm"])
def test_a_step_has_the_same_batch_wherever_the_training_begins(tiny: Path, task_name: str) -> None:
    task = load_task(task_name)
    network = load_network(str(tiny), task.kind)
    examples = encode_split(ROWS[task_name] * 3, task, network.tokenizer, TrainSpec(max_length=60))
    spec = TrainSpec(epochs=3, batch_size=5, train_limit=11, seed=3)

    def steps(first: int, last: int) -> list[dict[str, torch.Tensor]]:
        every = training_batches(network, task, examples, spec, first=first, last=last)
        return list(every)

    whole = steps(0, 9)
    assert len(whole) == 9
    for first in (1, 3, 4, 8):
        part = steps(first, 9)
        assert len(part) == 9 - first
        for one, two in zip(part, whole[first:], strict=True):
            assert one.keys() == two.keys()
            assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_begun_later_counts_and_learns_as_the_whole_one_does_there(
    network: Network, examples: Examples, mask: Mask, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(SPEC, batch_size=8, warmup=0.4)
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def spy(self: torch.optim.AdamW, *more: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *more)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    whole, _ = trained(network, examples, mask, spec)
    along, rates = rates, []
    parts = [
        trained(network, examples, mask, spec, course=CourseSpec(**course))[0]
        for course in ({"last": 2}, {"first": 2, "last": 5}, {"first": 5})
    ]
    assert rates == along
    assert len(along) == 6
    assert [part.steps for part in parts] == [2, 3, 1]
    assert sum(part.tokens for part in parts) == whole.tokens
    sums = [part.summed_learning_rate for part in parts]
    assert sum(sums) == pytest.approx(whole.summed_learning_rate)
    assert sums[2] == along[5]


def test_moments_are_fresh_and_dropout_is_drawn_anew_where_a_training_begins_later(
    network: Network, examples: Examples, mask: Mask
) -> None:
    course = CourseSpec(first=1, last=2)
    spec = replace(SPEC, weight_decay=0.0, clip_norm=1e9)
    _, after = trained(network, examples, mask, spec, course=course)
    network.rewind(spec.seed)
    parameters = network.scope("encoder")
    mask.fill(parameters)
    before = weights(network)
    every = training_batches(network, TASK, examples, spec, first=1, last=2)
    torch.manual_seed(derive_seed(spec.seed, "dropout:1"))
    with packed(network.model, next(every), Reads.FIRST) as inputs:
        network.model.train()(**inputs).loss.backward()
    for name, parameter in network.model.named_parameters():
        # the first step of Adam moves each weight by the learning rate against its gradient
        gradient = parameter.grad
        assert gradient is not None
        alive = mask.get(name.removeprefix("bert."), torch.tensor(True))
        clear = (gradient.abs() > 1e-5) & alive
        moved = (before[name] - after[name])[clear]
        expected = spec.learning_rate * 2 / 3 * gradient[clear].sign()
        assert torch.allclose(moved, expected, rtol=1e-2)
    network.model.zero_grad()


@pytest.mark.parametrize(("horizon", "warmup"), [(1, 0.0), (10, 0.0), (2, 0.5)])
def test_the_learning_rate_decays_over_the_whole_horizon(
    network: Network, examples: Examples, mask: Mask, horizon: int, warmup: float
) -> None:
    spec = replace(SPEC, batch_size=8, warmup=warmup)
    done, _ = trained(network, examples, mask, spec, course=CourseSpec(horizon=horizon))
    rising, length = round(warmup * 6), 6 * horizon
    rates = [
        step / rising if step < rising else (length - step) / (length - rising) for step in range(6)
    ]
    assert done.summed_learning_rate == pytest.approx(spec.learning_rate * sum(rates))


@pytest.mark.parametrize("course", [{"first": 3}, {"last": 4}, {"first": 7, "last": 8}])
def test_a_course_beyond_the_training_is_refused(
    network: Network, examples: Examples, mask: Mask, course: dict[str, int]
) -> None:
    with pytest.raises(SpecError, match="within the 3 steps of the training"):
        trained(network, examples, mask, SPEC, course=CourseSpec(**course))


def test_a_batch_without_a_masked_token_changes_nothing(tiny: Path) -> None:
    task, network = load_task("mlm"), load_network(str(tiny), "mlm")
    examples = encode_split([{"text": ""}] * 4, task, network.tokenizer, TrainSpec(max_length=9))
    network.rewind(0)
    before = weights(network)
    spec = TrainSpec(epochs=1, batch_size=2, learning_rate=1.0)
    full = Mask.full(network.scope("encoder"))
    done = fit(network, task, examples, full, spec, scope="encoder")
    assert done.loss == 0
    assert same(weights(network), before)


# what a training did


@pytest.mark.parametrize(
    ("size", "options", "steps"),
    [
        (48, {"epochs": 1, "batch_size": 16}, 3),
        (49, {"epochs": 1, "batch_size": 16}, 4),
        (49, {"epochs": 0.5, "batch_size": 16}, 2),
        (49, {"epochs": 0.01, "batch_size": 16}, 1),
        (48, {"epochs": 3, "batch_size": 100}, 3),
        (48, {"epochs": 2, "batch_size": 16, "train_limit": 20}, 4),
        (48, {"epochs": 2, "batch_size": 16, "train_limit": 4800}, 6),
    ],
)
def test_steps_are_passes_times_batches(size: int, options: dict[str, Any], steps: int) -> None:
    assert TrainSpec(**options).steps(size) == steps


@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.9])
def test_the_summed_learning_rate_is_that_of_a_triangle(
    network: Network, examples: Examples, mask: Mask, warmup: float
) -> None:
    spec = replace(SPEC, batch_size=8, warmup=warmup)
    done, _ = trained(network, examples, mask, spec)
    assert done.steps == 6
    peak, rising = spec.learning_rate, round(warmup * 6)
    up = [peak * step / rising for step in range(rising)]
    down = [peak * (6 - step) / (6 - rising) for step in range(rising, 6)]
    assert done.summed_learning_rate == pytest.approx(sum(up + down), rel=1e-12)
    closed = peak * 6 / 2 if rising else peak * 7 / 2
    assert done.summed_learning_rate == pytest.approx(closed, rel=1e-12)


def test_tokens_are_counted_without_padding(
    network: Network, examples: Examples, mask: Mask
) -> None:
    done, _ = trained(network, examples, mask, SPEC)
    assert done.tokens == examples.lengths.sum()
    limited, _ = trained(network, examples, mask, replace(SPEC, train_limit=20))
    assert limited.tokens == examples.lengths[chosen(48, 20)].sum()
    assert limited.steps == 2


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu", "cuda"])
def test_numerics_name_the_device_that_is_trained_on(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "is_initialized", lambda: False)
    monkeypatch.setattr(ranks, "_device", lambda: None if device == "cpu" else device)
    told = numerics(TrainSpec(kernel="packed-1"))
    assert told["device"] == device
    assert told["kernel"] == {"cpu": "packed-1", "cuda": "varlen-1"}.get(device, "model")


def test_numerics_name_everything_that_decides_the_bits() -> None:
    told = numerics(TrainSpec(precision="bf16"))
    libraries = {"torch", "transformers", "accelerate"}
    assert told.keys() == libraries | {
        *("device", "instruction_set", "threads", "processes", "precision", "kernel"),
    }
    assert told["precision"] == "bf16"
    assert told["threads"] == torch.get_num_threads()
    assert told["torch"] == torch.__version__


# scoring


def test_scoring_leaves_the_generator_and_the_weights_as_they_were(
    network: Network, test: Examples
) -> None:
    network.rewind(0)
    before = weights(network)
    network.model.train()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = predict(network, TASK, test)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert np.array_equal(predict(network, TASK, test), first)
    assert same(weights(network), before)
    assert all(parameter.grad is None for parameter in network.model.parameters())


def test_rows_are_in_the_order_of_the_examples(network: Network, test: Examples) -> None:
    network.rewind(1)
    predictions = predict(network, TASK, test)
    assert predictions.dtype == np.float64
    assert predictions[:, 1].tolist() == [row["label"] for row in test.rows]
    with torch.inference_mode():
        for number in range(len(test)):
            batch = collate(test, np.array([number]), TASK, network.pad)
            del batch["labels"]
            assert network.model(**batch).logits.argmax().item() == predictions[number, 0]


ROWS: dict[str, list[dict[str, Any]]] = {
    "valence": [{"sentence": "good film " * n, "label": n - 1.5} for n in range(1, 5)],
    "mlm": [{"text": "a very good film and a bad plot of an actor " * n} for n in range(1, 5)],
    "gloss-span": [
        {
            "question": "short story",
            "context": "the " * n + "plot was long",
            "answers": {"text": ["plot"], "answer_start": [4 * n]},
        }
        for n in range(1, 5)
    ],
    "sentiment": [{"sentence": "good film " * n, "label": n % 2} for n in range(1, 5)],
}


@pytest.fixture(params=ROWS)
def kind(request: pytest.FixtureRequest, tiny: Path) -> tuple[Any, Network, Examples]:
    """Each kind of task with its network and four examples."""
    task = load_task(request.param)
    network = load_network(str(tiny), task.kind, len(task.labels))
    return (
        task,
        network,
        encode_split(ROWS[request.param], task, network.tokenizer, TrainSpec(max_length=60)),
    )


def test_every_kind_of_task_is_trained_and_scored(kind: tuple[Any, Network, Examples]) -> None:
    task, network, examples = kind
    full = Mask.full(network.scope("encoder"))
    found = []
    for _ in range(2):
        network.rewind(0)
        before = predict(network, task, examples)
        spec = TrainSpec(epochs=2, batch_size=2, learning_rate=5e-3)
        done = fit(network, task, examples, full, spec, scope="encoder")
        assert done.steps == 4
        assert np.isfinite(done.loss)
        found.append(predict(network, task, examples))
        assert found[-1].shape == (4, 3 if task.kind == "span" else 2)
    assert np.array_equal(found[0], found[1])
    assert 0 <= abs(METRICS[task.metric](found[0])) <= 100
    if task.kind == "mlm":
        assert np.array_equal(before[:, 1], found[0][:, 1])
        assert before[:, 1].sum() > 0
    if task.kind == "regression":
        assert found[0][:, 1].tolist() == [-0.5, 0.5, 1.5, 2.5]


def test_the_trivial_baseline_is_the_best_answer_that_never_changes(
    kind: tuple[Any, Network, Examples],
) -> None:
    task, network, examples = kind
    expected = {"sentiment": 50.0, "valence": 0.0, "gloss-span": 100.0}  # all answers are the same
    score = trivial_score(network, task, examples)
    if task.name == "mlm":
        assert 0 <= score < 60
    else:
        assert score == expected[task.name]


def test_restored_tokens_are_those_that_were_masked(tiny: Path) -> None:
    task, network = load_task("mlm"), load_network(str(tiny), "mlm")
    examples = encode_split(ROWS["mlm"], task, network.tokenizer, TrainSpec(max_length=60))
    chance = torch.Generator().manual_seed(derive_seed(0, "evaluation"))
    order = np.argsort(-examples.lengths, kind="stable")
    batch = mask_tokens(collate(examples, order, task, 0), network.tokenizer, chance)
    labels = batch.pop("labels")
    network.rewind(0)
    with torch.inference_mode():
        hits = network.model.eval()(**batch).logits.argmax(-1) == labels
    predictions = predict(network, task, examples)
    assert predictions[order, 0].tolist() == hits.sum(1).tolist()
    assert predictions[order, 1].tolist() == (labels >= 0).sum(1).tolist()
