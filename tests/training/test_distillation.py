"""A network learns from labels and from a teacher, whatever the task, the kernel and the parts."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from small_network import half_mask
from tombola.base.errors import ModelError, SpecError
from tombola.base.specs import TrainSpec
from tombola.kernel.fused.extension import available
from tombola.kernel.packed import FUSED, KERNEL
from tombola.models.network import Network
from tombola.tasks.data.batches import training_batches
from tombola.tasks.data.encode import encode_split
from tombola.tasks.distillation import Teacher
from tombola.tasks.examples import Batch, Examples
from tombola.tasks.kinds.divergence import divergence
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Tensors
from tombola.training import gradient as module
from tombola.training.checkpoint import Checkpoint
from tombola.training.distributed import accelerator
from tombola.training.loop import fit
from tombola.training.numerics import kernel
from tombola.training.steps import OnStep

WORDS = "the a film plot actor scene with and of it was very long short story".split()
TEXTS = [" ".join(WORDS[n % 11 :]) for n in range(16)]
ANSWERS = [{"text": [text.split()[0]], "answer_start": [0]} for text in TEXTS]
ROWS: dict[str, list[dict[str, Any]]] = {
    "sentiment": [{"sentence": text, "label": n % 2} for n, text in enumerate(TEXTS)],
    "valence": [{"sentence": text, "label": n / 7} for n, text in enumerate(TEXTS)],
    "gloss-span": [
        {"question": text.split()[-1], "context": text, "answers": answer}
        for text, answer in zip(TEXTS, ANSWERS, strict=True)
    ],
    "mlm": [{"text": text} for text in TEXTS],
}
built = pytest.mark.skipif(not available(), reason="the C extension was not built")
SPEC = TrainSpec(epochs=2, batch_size=8, learning_rate=1e-2, seed=3, distill=0.25)


class Case:
    """A task, and a teacher of it with weights of its own."""

    def __init__(self, tiny: Path, name: str) -> None:
        self.tiny, self.task = tiny, load_task(name)
        self.network = self.new_network()
        tokenizer, cut = self.network.tokenizer, TrainSpec(max_length=30)
        self.examples: Examples = encode_split(ROWS[name], self.task, tokenizer, cut)
        self.network.rewind(7)
        drawn = torch.Generator().manual_seed(0)
        self.weights: Tensors = {
            name: weight + 0.1 * torch.randn(weight.shape, generator=drawn)
            for name, weight in self.network.weights().items()
        }

    def new_network(self) -> Network:
        return load_network(str(self.tiny), self.task.kind, len(self.task.labels))

    def teacher(self, spec: TrainSpec) -> Teacher:
        return Teacher.of(self.network, self.task, self.weights, spec)

    def batch(self) -> Batch:
        first = training_batches(self.network, self.task, self.examples, SPEC, first=0, last=1)
        return next(first)

    def gradient(self, spec: TrainSpec) -> tuple[Tensor, Tensors]:
        """Loss and gradient of the first batch, without dropout."""
        self.network.rewind(spec.seed)
        for part in self.network.model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        self.network.model.train().zero_grad()
        teacher = self.teacher(spec) if spec.distill else None
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        with module.differentiating(
            self.network, self.task, spec, accelerator(), teacher=teacher
        ) as arithmetic:
            loss, _ = arithmetic.backward(self.batch(), scaler, save=False)
        named = self.network.model.named_parameters()
        return loss, {n: p.grad.clone() for n, p in named if p.grad is not None}


@pytest.fixture(scope="module", params=ROWS)
def case(request: pytest.FixtureRequest, tiny: Path) -> Case:
    return Case(tiny, request.param)


def by_definition(case: Case, temperature: float) -> Tensor:
    """The distance of the first batch, from the plain networks' own outputs."""
    batch = case.batch()
    case.network.rewind(SPEC.seed)
    case.network.model.eval()
    teacher = case.teacher(SPEC).model
    with torch.no_grad():
        mine, wanted = case.network.model(**batch), teacher(**batch)
    if case.task.kind == "regression":
        return functional.mse_loss(mine.logits, wanted.logits)
    if case.task.kind == "span":
        names, used = ("start_logits", "end_logits"), batch["attention_mask"].bool()
        rows = [(mine[n][r][k], wanted[n][r][k]) for n in names for r, k in enumerate(used)]
    elif case.task.kind == "mlm":
        places = (batch["labels"] >= 0).nonzero().tolist()
        rows = [(mine.logits[r, c], wanted.logits[r, c]) for r, c in places]
    else:
        rows = [*zip(mine.logits, wanted.logits, strict=True)]
    return torch.stack([_divergence(*pair, temperature) for pair in rows]).mean()


def _divergence(mine: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    p, q = ((x / temperature).softmax(0) for x in (wanted, mine))
    return temperature**2 * (p * (p / q).log()).sum()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_a_mixture_of_labels_and_distance(case: Case, temperature: float) -> None:
    spec = replace(SPEC, distill_temperature=temperature)
    labels, _ = case.gradient(SPEC.without_teacher())
    mixed, _ = case.gradient(spec)
    distance = by_definition(case, temperature)
    assert distance > 1e-4
    torch.testing.assert_close(mixed, 0.75 * labels + 0.25 * distance, rtol=1e-4, atol=1e-6)


def test_a_batch_in_parts_has_the_gradient_of_the_batch(case: Case) -> None:
    _, whole = case.gradient(SPEC)
    _, parts = case.gradient(replace(SPEC, accumulation=3))
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("chosen", [KERNEL, pytest.param(FUSED, marks=built)])
def test_a_kernel_learns_the_same_as_the_model_s_own_forward_pass(
    case: Case, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(SPEC, kernel=chosen)
    assert kernel(spec) == chosen
    _, packed = case.gradient(spec)
    monkeypatch.setattr(module, "kernel", lambda spec: "")
    _, own = case.gradient(spec)
    for name, gradient in own.items():
        torch.testing.assert_close(packed[name], gradient, rtol=1e-3, atol=1e-5)


def test_a_teacher_learns_nothing_and_the_network_stays_as_it_is(case: Case) -> None:
    before = case.network.weights()
    teacher = case.teacher(SPEC)
    case.gradient(SPEC)
    for name, weight in teacher.model.named_parameters():
        assert torch.equal(weight, case.weights[name])
        assert weight.grad is None
    case.network.load(before)
    case.teacher(SPEC)
    assert all(torch.equal(w, before[n]) for n, w in case.network.weights().items())


def trained(case: Case, folder: Path, on_step: OnStep) -> Tensors:
    """Weights after a training under a mask, saved after each step."""
    network, checkpoint = case.new_network(), Checkpoint(folder, 0.0, identity="one")
    checkpoint.due = lambda: True  # type: ignore[method-assign]
    network.rewind(SPEC.seed)
    mask = half_mask(network)
    fit(
        *(network, case.task, case.examples, mask, SPEC),
        scope="encoder",
        checkpoint=checkpoint,
        on_step=on_step,
        teacher=Teacher.of(network, case.task, case.weights, SPEC),
    )
    for name, weight in network.scope("encoder").items():
        assert not weight.detach()[~mask[name]].view(torch.int32).any()
    return network.weights()


def test_an_interrupted_training_resumes_to_the_same_bits(case: Case, tmp_path: Path) -> None:
    whole = trained(case, tmp_path / "whole", lambda *_: None)

    def stop(done: int, steps: int, loss: float | None = None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(case, tmp_path / "stopped", stop)
    seen: list[int] = []
    resumed = trained(case, tmp_path / "stopped", lambda done, *_: seen.append(done))
    assert seen == [3, 4]
    assert all(torch.equal(weight, whole[name]) for name, weight in resumed.items())


def test_a_teacher_of_another_head_is_refused(tiny: Path) -> None:
    one, other = Case(tiny, "sentiment"), Case(tiny, "gloss-span")
    with pytest.raises(ModelError, match="Train the same network on the same kind of task"):
        Teacher.of(one.network, one.task, other.weights, SPEC)


def test_padding_has_no_part_in_the_distance_of_spans() -> None:
    kind, drawn = TASK_KINDS["span"], torch.Generator().manual_seed(0)
    scores = torch.randn((2, 2, 3, 5), generator=drawn)

    def distance(extra: int) -> Tensor:
        wide = functional.pad(scores, (0, extra), value=9.0)
        wide[0, ..., 5:] = -3.0
        mask = functional.pad(torch.ones(3, 5), (0, extra))
        outputs = [SimpleNamespace(start_logits=s, end_logits=e) for s, e in wide]
        return kind.distance(outputs[0], outputs[1], {"attention_mask": mask}, 2.0)

    torch.testing.assert_close(distance(4), distance(0))


def test_no_divergence_of_a_network_from_itself() -> None:
    logits = torch.randn((4, 7), generator=torch.Generator().manual_seed(0))
    assert divergence(logits, logits, 3.0) == 0


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"distill": 1.5}, r"distill must be between 0 and 1, got 1.5."),
        ({"distill": -0.1}, "got -0.1"),
        ({"distill": float("nan")}, "got nan"),
        ({"distill": 0.5, "distill_temperature": 0.0}, "distill_temperature must be above 0"),
        ({"distill_temperature": 4.0}, "is for a distillation, got 4 without distill. Set distill"),
    ],
)
def test_a_distillation_that_makes_no_sense_is_refused(
    knobs: dict[str, float], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        TrainSpec(**knobs)  # type: ignore[arg-type]
