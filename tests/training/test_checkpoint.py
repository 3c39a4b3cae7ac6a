"""An interrupted training resumes bitwise identically, and a copy is whole or not used."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_network import half_mask
from tombola.base.errors import OutputError
from tombola.base.specs import CourseSpec, TrainSpec
from tombola.kernel.fused.extension import available
from tombola.kernel.packed import FUSED
from tombola.models.network import Network
from tombola.tasks.data.encode import encode_split
from tombola.tasks.examples import Examples, Predictions
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask, Tensors
from tombola.training import checkpoint as module
from tombola.training.checkpoint import Checkpoint, Training
from tombola.training.loop import FitResult, fit
from tombola.training.predictions import predict

SPEC = TrainSpec(epochs=2, batch_size=8, learning_rate=1e-2, weight_decay=0.1, warmup=0.2, seed=3)
STEPS = 8
WORDS = "the a film plot actor scene with and of it was very long short story".split()
ROWS: dict[str, list[dict[str, Any]]] = {
    "sentiment": [{"sentence": " ".join(WORDS[n % 11 :]), "label": n % 2} for n in range(30)],
    "mlm": [{"text": " ".join(WORDS[n % 7 :] + WORDS[: n % 5])} for n in range(30)],
}
Done = tuple[FitResult, Tensors, Predictions]


class Case:
    """A kind of task, masked or not, to be trained any number of times."""

    def __init__(self, tiny: Path, task: str, masked: bool) -> None:
        self.tiny, self.task = tiny, load_task(task)
        network = self.network()
        self.examples: Examples = encode_split(
            ROWS[task], self.task, network.tokenizer, TrainSpec(max_length=30)
        )
        self.mask = half_mask(network) if masked else Mask.full(network.scope("encoder"))

    def network(self) -> Network:
        """A new one, as after a restart."""
        return load_network(str(self.tiny), self.task.kind, len(self.task.labels))

    def train(self, checkpoint: Checkpoint | None = None, **more: Any) -> Done:
        """Train a new network."""
        network = self.network()
        spec, mask = more.pop("spec", SPEC), more.pop("mask", self.mask)
        network.rewind(spec.seed)
        torch.manual_seed(torch.seed())
        more = {"on_step": lambda *_: None, **more}
        done = fit(
            *(network, self.task, self.examples, mask, spec),
            scope="encoder",
            checkpoint=checkpoint,
            **more,
        )
        return done, network.weights(), predict(network, self.task, self.examples)

    def interrupt(self, checkpoint: Checkpoint, step: int, **more: Any) -> None:
        """Train until that step and no further."""

        def stop(done: int, steps: int, *_: object) -> None:
            if done == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.train(checkpoint, on_step=stop, **more)


CASES = {f"{task}-{masked}": (task, masked) for task in ROWS for masked in (False, True)}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tiny: Path) -> Case:
    return Case(tiny, *CASES[request.param])


@pytest.fixture(scope="module")
def one(tiny: Path) -> Case:
    return Case(tiny, "sentiment", True)


@pytest.fixture(scope="module")
def undisturbed() -> Callable[..., Done]:
    """What a case comes to when nothing interrupts it, trained once."""
    known: dict[tuple[int, str], Done] = {}

    def train(case: Case, **more: Any) -> Done:
        name = id(case), repr(more)
        if name not in known:
            known[name] = case.train(**more)
        return known[name]

    return train


NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def one_loss() -> deque[torch.Tensor]:
    return deque([torch.tensor(0.0)], maxlen=1)


def same(one: Done, two: Done) -> bool:
    fits = [replace(done[0], training_seconds=0.0, earlier_seconds=0.0) for done in (one, two)]
    weights = all(torch.equal(bits(one[1][n]), bits(two[1][n])) for n in {*one[1], *two[1]})
    return fits[0] == fits[1] and weights and np.array_equal(one[2], two[2])


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.int32)


class At(Checkpoint):
    """Saves after the given steps."""

    def __init__(self, folder: Path, *steps: int, identity: str = "a training") -> None:
        super().__init__(folder, 0.0, identity=identity)
        self.steps, self.resumed = steps, -1

    def due(self) -> bool:
        return True

    def resume(self, training: Training, facts: Any) -> None:
        super().resume(training, facts)
        self.resumed = training.steps

    def save(self, training: Training, facts: Any) -> None:
        if training.steps in self.steps:
            super().save(training, facts)


# bitwise identical results


@pytest.mark.parametrize(("saved", "stopped"), [(1, 1), (2, 5), (STEPS, STEPS)])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    case: Case, undisturbed: Callable[..., Done], tmp_path: Path, saved: int, stopped: int
) -> None:
    assert case.network().model.config.hidden_dropout_prob > 0
    case.interrupt(At(tmp_path / "x" / "y", saved), stopped)
    again = At(tmp_path / "x" / "y", saved)
    assert same(case.train(again), undisturbed(case))
    assert again.resumed == saved


def test_a_training_may_be_interrupted_again_and_again(
    case: Case, undisturbed: Callable[..., Done], tmp_path: Path
) -> None:
    every = range(STEPS)
    for step in (2, 3, 7):
        case.interrupt(At(tmp_path, *every), step)
    last = At(tmp_path, *every)
    assert same(case.train(last), undisturbed(case))
    assert last.resumed == 7


def test_saving_changes_no_bit(
    case: Case, undisturbed: Callable[..., Done], tmp_path: Path
) -> None:
    assert same(case.train(At(tmp_path, *range(STEPS + 1))), undisturbed(case))


@pytest.mark.parametrize("course", [{"first": 2}, {"last": 6}, {"first": 1, "horizon": 3}])
def test_a_course_goes_on_to_the_same_bits(
    one: Case, undisturbed: Callable[..., Done], tmp_path: Path, course: dict[str, int]
) -> None:
    more = {"course": CourseSpec(**course)}
    one.interrupt(At(tmp_path, 3), 4, **more)
    again = At(tmp_path)
    assert same(one.train(again, **more), undisturbed(one, **more))
    assert again.resumed == 3


@pytest.mark.skipif(not available(), reason="the C extension was not built")
@pytest.mark.parametrize("more", [{"accumulation": 2}, {"precision": "bf16"}])
def test_a_copy_of_the_version_before_with_moments_of_all_weights_is_resumed(
    one: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    sparse = Mask({n: torch.rand(kept.shape) < 0.1 for n, kept in one.mask.items()})
    with_it: dict[str, Any] = {"spec": replace(SPEC, kernel=FUSED, **more), "mask": sparse}
    with monkeypatch.context() as before:
        before.setattr(module, "VERSION", 2)
        before.setattr("tombola.kernel.fused.adamw.FEW", -1.0)
        whole = one.train(**with_it)
        one.interrupt(At(tmp_path / "earlier", 3), 4, **with_it)
    one.interrupt(At(tmp_path / "now", 3), 4, **with_it)
    sizes = []
    for name in ("earlier", "now"):
        sizes.append((tmp_path / name / "step-3" / "state.safetensors").stat().st_size)
        again = At(tmp_path / name)
        assert same(one.train(again, **with_it), whole)
        assert again.resumed == 3
    assert sizes[0] - sizes[1] > 2 * 4 * 0.8 * sparse.size


def test_pruned_weights_are_positive_zero_from_the_first_step_after_a_break(
    one: Case, tmp_path: Path
) -> None:
    one.interrupt(At(tmp_path, 3), 3)
    network = one.network()
    network.rewind(SPEC.seed)
    seen = []

    def look(done: int, steps: int, *_: object) -> None:
        seen.append(done)
        for name, weight in network.scope("encoder").items():
            assert not bits(weight.detach())[~one.mask[name]].any()

    args = (network, one.task, one.examples, one.mask, SPEC)
    done = fit(*args, scope="encoder", checkpoint=At(tmp_path), on_step=look)
    assert seen == [4, 5, 6, 7, 8]
    assert done.steps == STEPS


def test_seconds_before_the_break_are_counted(one: Case, tmp_path: Path) -> None:
    one.interrupt(At(tmp_path, 3), 3)
    done, _, _ = one.train(At(tmp_path))
    spent = json.loads((tmp_path / "step-3" / "state.json").read_text())["counters"]["seconds"]
    assert done.training_seconds > spent > 0
    assert done.earlier_seconds == spent


# whose copy it is


OTHERS: dict[str, dict[str, Any]] = {
    "another identity": {"identity": "another training"},
    "another seed": {"spec": replace(SPEC, seed=4)},
    "another recipe": {"spec": replace(SPEC, weight_decay=0.0)},
    "another stretch": {"course": CourseSpec(last=7)},
    "another mask": {"mask": None},
    "another number of threads": {"threads": 3},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_copy_of_another_training_is_removed_and_the_training_starts_anew(
    one: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    one.interrupt(At(tmp_path, 3), 3)
    more = dict(OTHERS[other])
    if "mask" in more:
        more["mask"] = Mask({name: ~alive for name, alive in one.mask.items()})
    if threads := more.pop("threads", 0):
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    again = At(tmp_path, identity=more.pop("identity", "a training"))
    one.interrupt(again, 1, **more)
    assert again.resumed == 0
    assert not [*tmp_path.iterdir()]


def test_a_copy_of_another_network_is_not_used(one: Case, tiny: Path, tmp_path: Path) -> None:
    one.interrupt(At(tmp_path, 3), 3)
    network = one.network()
    training = Training(
        network.model.base_model, torch.optim.AdamW([torch.ones(1)]), NO_SCALER, one_loss()
    )
    facts = json.loads((tmp_path / "step-3" / "state.json").read_text())["facts"]
    At(tmp_path).resume(training, facts)
    assert training.steps == 0
    assert not [*tmp_path.iterdir()]


# damage


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit": lambda place: flip(place / "state.safetensors"),
    "the end": lambda place: (place / "state.safetensors").write_bytes(b"\x00" * 7),
    "no state": lambda place: (place / "state.safetensors").unlink(),
    "no document": lambda place: (place / "state.json").unlink(),
    "no JSON": lambda place: (place / "state.json").write_text("{"),
    "a list": lambda place: (place / "state.json").write_text("[]"),
    "a counter": lambda place: change(place / "state.json", '"tokens": ', '"tokens": 1'),
    "a newer version": lambda place: change(place / "state.json", '"version": 3', '"version": 4'),
}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_copy_is_removed_and_the_training_starts_anew(
    one: Case, undisturbed: Callable[..., Done], tmp_path: Path, damage: str
) -> None:
    one.interrupt(At(tmp_path, 3), 3)
    DAMAGE[damage](tmp_path / "step-3")
    again = At(tmp_path)
    assert same(one.train(again), undisturbed(one))
    assert again.resumed == 0
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "what", ["training.checkpoint.save_file", "base.folders.sync", "training.checkpoint._sha256"]
)
def test_a_process_killed_while_saving_leaves_the_older_copy(
    one: Case,
    undisturbed: Callable[..., Done],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    one.interrupt(At(tmp_path, 2), 2)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    class Dying(At):
        def save(self, training: Training, facts: Any) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(f"tombola.{what}", killed)
                patch.setattr("shutil.rmtree", lambda *_, **__: None)
                super().save(training, facts)

    with pytest.raises(KeyboardInterrupt):
        one.train(Dying(tmp_path, 4))
    found = sorted(path.name for path in tmp_path.iterdir())
    assert [name[: len(".step-4")] for name in found] == [".step-4", "step-2"]
    again = At(tmp_path)
    assert same(one.train(again), undisturbed(one))
    assert again.resumed == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


def test_the_newest_whole_copy_is_used(
    one: Case, undisturbed: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "_remove_all_but", lambda *_: None)  # killed before that
    one.interrupt(At(tmp_path, 2, 3, 5), 5)
    assert {path.name for path in tmp_path.iterdir()} == {"step-2", "step-3", "step-5"}
    monkeypatch.undo()
    flip(tmp_path / "step-5" / "state.safetensors")
    again = At(tmp_path)
    assert same(one.train(again), undisturbed(one))
    assert again.resumed == 3
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_only_the_last_copy_is_kept_and_nothing_else_is_touched(one: Case, tmp_path: Path) -> None:
    (tmp_path / "step-by-step.txt").write_text("mine")
    one.train(At(tmp_path, 1, 4, 6))
    assert {path.name for path in tmp_path.iterdir()} == {"step-6", "step-by-step.txt"}
    one.interrupt(At(tmp_path, identity="another"), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-by-step.txt"]


def test_a_disk_that_refuses_is_reported_in_one_line(one: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected to keep the state of a training") as refused:
        one.train(At(tmp_path / "file", 2))
    assert "\n" not in str(refused.value)


# when


def test_a_short_training_leaves_no_copy(one: Case, tmp_path: Path) -> None:
    one.train(Checkpoint(tmp_path / "x"))
    assert not [*tmp_path.iterdir()]


def test_the_seconds_of_a_training_are_of_one_clock(
    one: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    network = one.network()
    optimizer = torch.optim.AdamW(network.model.parameters())
    training = Training(network.model, optimizer, NO_SCALER, one_loss())
    now += 5
    assert training.seconds == 5.0


def test_a_copy_is_due_every_minute_and_takes_a_twentieth_of_the_time_at_most(
    one: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    network = one.network()
    optimizer = torch.optim.AdamW(network.model.parameters())
    training, checkpoint = (
        Training(network.model, optimizer, NO_SCALER, one_loss()),
        Checkpoint(tmp_path),
    )
    now += 100
    checkpoint.resume(training, {})
    now += 59
    assert not checkpoint.due()
    now += 1
    assert checkpoint.due()

    def slow(*_: Any) -> None:
        nonlocal now
        now += 10

    monkeypatch.setattr(module, "save_file", slow)
    monkeypatch.setattr(module, "_sha256", lambda *_: "")
    monkeypatch.setattr("tombola.base.folders.sync", lambda _: None)
    checkpoint.save(training, {})
    now += 199
    assert not checkpoint.due()
    now += 1
    assert checkpoint.due()
