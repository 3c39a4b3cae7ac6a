"""Two data orders share everything else, and the line between them ends at their own scores."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from tombola.base.errors import SpecError
from tombola.base.keys import changed_knobs
from tombola.base.specs import LabSpec, TrainSpec
from tombola.finders.imp import ImpSpec
from tombola.lab.planfile.arm import ArmContext
from tombola.lab.planfile.arms import Dense, kind_of_arm
from tombola.lab.planfile.connectivity import Connectivity
from tombola.lab.run.cost_estimate import estimate_cost
from tombola.lab.run.engine import RunCallback, missing
from tombola.lab.run.payload import payload_for
from tombola.lab.run.perform import between
from tombola.lab.run.runner import run_plan
from tombola.lab.store.result_store import Store
from tombola.lab.subjects import SubjectFactory
from tombola.plan.cell import Cell
from tombola.plan.job import dense, reordered
from tombola.plan.job_spec import as_training
from tombola.plan.plan import Plan
from tombola.plan.subject import Subject
from tombola.report.figures import connectivity
from tombola.study.masks.barriers import barrier, connectivity_lines
from tombola.tasks.data.batches import evaluation_batches, training_batches
from tombola.tasks.data.encode import encode_split
from tombola.tasks.data.sources import read_split
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.training.loss import mean_loss

Imp: Any = kind_of_arm("imp")

D = Decimal
RECIPE = TrainSpec(epochs=1, batch_size=16, learning_rate=1e-2, max_length=30)
ROUNDS = ImpSpec(sparsity=D("0.5"), step=D("0.5"))


@pytest.fixture(scope="module")
def subject(tiny: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    known = SubjectFactory(tmp_path_factory.mktemp("known"))
    return known.subject(
        str(tiny), load_task("sentiment"), RECIPE, scope="encoder", folder=str(reviews)
    )


def cells(subject: Subject, **of: Connectivity) -> list[Cell]:
    """The cells of connectivity arms, next to a dense arm and a search."""
    context = ArmContext({"sentiment": subject}, (5,), found := {})
    found["dense"] = Dense().cells("dense", context)
    found["tickets"] = Imp(
        search=ROUNDS, sparsity=replace(Imp().sparsity, every=(D("0.5"),))
    ).cells("tickets", context)
    return [cell for name, arm in of.items() for cell in arm.cells(name, context)]


ARMS: dict[str, Any] = {
    "whole": Connectivity(of="dense", points=3),  # type: ignore[arg-type]
    "sparse": Connectivity(of="tickets", points=5),  # type: ignore[arg-type]
}


@pytest.fixture(scope="module")
def plan(subject: Subject) -> Plan:
    return Plan.of(cells(subject, **ARMS))


@pytest.fixture(scope="module")
def store(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store, summary = run_plan(
        plan, LabSpec(store=str(tmp_path_factory.mktemp("lines") / "store")), RunCallback()
    )
    assert summary.failed == []
    return store


def test_the_two_ends_differ_in_their_order_only(plan: Plan) -> None:
    for first, second in zip(plan.cells[::2], plan.cells[1::2], strict=True):
        specs = [as_training(cell.training.spec).recipe for cell in (first, second)]
        assert [spec.order_seed for spec in specs] == [100, 101]
        assert replace(specs[0], order_seed=101) == specs[1]
        assert first.training.parents == second.training.parents
        assert first.baseline.key == second.baseline.key
        assert first.line is second.line
        assert first.line is not None
        assert [*first.line.parents.values()] == [first.training, second.training]
        assert first.line.reads_weights == (first.training, second.training)
    assert [cell.label for cell in plan.cells[:2]] == ["dense, order 100", "dense, order 101"]
    assert plan.cells[2].training.parents["mask"] is plan.cells[2].ticket


def test_the_seed_as_order_is_the_training_that_is_there(subject: Subject) -> None:
    job = dense(subject, 5)
    assert reordered(job, 5).key == job.key
    assert changed_knobs(TrainSpec(seed=5, order_seed=5)) == {"seed": 5}
    assert reordered(job, 6).key != job.key
    assert TrainSpec(seed=5).noise_seed == 5
    assert TrainSpec(seed=5, order_seed=6).noise_seed == 6


def test_an_order_seed_draws_the_batches_of_that_seed(tiny: Path, reviews: Path) -> None:
    network, task = load_network(str(tiny), "classification"), load_task("sentiment")
    examples = encode_split(
        read_split(task, "train", reviews), task, network.tokenizer, TrainSpec(max_length=30)
    )

    def batches(spec: TrainSpec) -> list[torch.Tensor]:
        every = training_batches(network, task, examples, spec, first=0, last=3)
        return [batch["input_ids"] for batch in every]

    def same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
        return all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))

    mine = batches(replace(RECIPE, seed=5, order_seed=6))
    assert same(mine, batches(replace(RECIPE, seed=6)))
    assert not same(mine, batches(replace(RECIPE, seed=5)))


def test_the_line_ends_at_the_scores_of_its_runs(plan: Plan, store: Store) -> None:
    for cell in plan.cells[::2]:
        assert cell.line is not None
        line = store.read(cell.line.key)
        assert line is not None
        ends = [store.read(key) for key in line.parents.values()]
        scores = [end.facts["score"] for end in ends if end]
        assert [line.facts["scores"][0], line.facts["scores"][-1]] == scores
        digests = {end.facts["weights"] for end in ends if end}
        assert len(digests) == 2
        points = len(line.facts["positions"])
        assert line.facts["positions"][0] == 0
        assert line.facts["positions"][-1] == 1
        assert len(line.facts["scores"]) == len(line.facts["losses"]) == points
        assert all(loss > 0 for loss in line.facts["losses"])


def test_weights_go_when_the_line_is_drawn_and_nothing_is_done_twice(
    plan: Plan, store: Store
) -> None:
    assert missing(plan, store) == set()
    assert all(store.weights(job.key) is None for job in plan.jobs)


def test_dead_weights_stay_positive_zero_on_the_line() -> None:
    mask = Mask({"w": torch.tensor([True, False, True])})
    ends = [{"w": torch.tensor([1.0, -3.0, value])} for value in (2.0, float("inf"))]
    for end in ends:
        mask.fill(end)
    for position in (0.0, 0.25, 1.0):
        weight = between(ends[0], ends[1], position)["w"]
        assert weight[1].view(torch.int32) == 0
    assert between(ends[0], ends[1], 1.0)["w"][2] == float("inf")


def test_a_batch_in_which_nothing_is_masked_has_no_part_in_the_mean_loss(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, task = load_network(str(tiny), "mlm"), load_task("mlm")
    network.rewind(0)
    rows = [{"text": " ".join(["good"] * 12)}] * 4 + [{"text": "good"}]
    examples = encode_split(rows, task, network.tokenizer, TrainSpec(max_length=30))
    monkeypatch.setattr("tombola.tasks.data.batches.EVALUATION_TOKENS", 4 * 14)
    masked = [
        int((labels["labels"] >= 0).sum())
        for _, _, labels in evaluation_batches(network, task, examples)
    ]
    assert masked[0] > 0 == masked[1]
    assert 0 < mean_loss(network, task, examples) < 20


def test_the_mean_loss_is_the_training_loss_without_dropout(tiny: Path, reviews: Path) -> None:
    network, task = load_network(str(tiny), "classification"), load_task("sentiment")
    network.rewind(0)
    examples = encode_split(
        read_split(task, "test", reviews), task, network.tokenizer, TrainSpec(max_length=30)
    )
    found = mean_loss(network, task, examples)
    network.model.eval()
    every = []
    for number in range(len(examples)):
        [batch] = [
            network.tokenizer(row["sentence"], return_tensors="pt", max_length=30, truncation=True)
            for row in examples.rows[number : number + 1]
        ]
        labels = torch.tensor([examples.rows[number]["label"]])
        with torch.inference_mode():
            every.append(float(network.model(**batch, labels=labels).loss))
    assert found == pytest.approx(sum(every) / len(every), rel=1e-5)


def test_barriers_are_of_the_worst_network_against_the_mean_of_the_ends(
    plan: Plan, store: Store
) -> None:
    assert barrier([1.0, 5.0, 3.0]) == 3.0
    assert barrier([1.0, 2.0, 3.0]) == 1.0
    whole, sparse = connectivity_lines(plan, store)
    assert (whole.network, whole.sparsity, len(whole.positions)) == ("dense", None, 3)
    assert (sparse.network, sparse.sparsity, len(sparse.positions)) == ("imp", "0.5", 5)
    for line in (whole, sparse):
        scores = line.scores
        assert line.score_barrier == pytest.approx((scores[0] + scores[-1]) / 2 - min(scores))
        assert line.loss_barrier == barrier(line.losses)
        assert (line.orders, line.seed, line.done) == ((100, 101), 5, True)


def test_a_line_that_is_not_done_is_a_gap(plan: Plan, store: Store, tmp_path: Path) -> None:
    empty = connectivity_lines(plan, Store(tmp_path / "store"))
    assert [line.done for line in empty] == [False, False]
    assert {line.score_barrier for line in empty} == {None}
    with pytest.raises(SpecError, match="at least one line, and none is done"):
        connectivity.draw([line.to_json() for line in empty])
    done = [line.to_json() for line in connectivity_lines(plan, store)]
    drawn = connectivity.save([*done, empty[0].to_json()], tmp_path / "pictures")
    assert [path.name for path in drawn] == ["connectivity.svg", "connectivity.png"]
    text = drawn[0].read_text()
    for words in ("dense", "imp at 50 %", "sentiment: between two runs", "1 seed, test split"):
        assert words in text


def test_a_line_is_estimated_and_goes_through_a_pipe(plan: Plan, store: Store) -> None:
    found = estimate_cost(plan, store, workers=1, threads=torch.get_num_threads())
    assert found.kinds["lines between trainings"] == 2
    assert found.seconds == 0
    line = plan.cells[-1].line
    assert line is not None
    assert line.steps == 5
    payload = payload_for(line, keep_weights=False, threads=1, processes=2)
    assert type(payload).from_json(payload.to_json()) == payload
    assert payload.processes == 1


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"order_seeds": (1,)}, "order_seeds must be two, got 1"),
        ({"order_seeds": (1, 1)}, "seeds must be distinct integers"),
        ({"points": 2}, "points must be an integer of 3 or more, got 2"),
        ({"seeds": (-1,)}, "seeds must be distinct integers"),
    ],
)
def test_a_knob_that_makes_no_sense_is_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Connectivity(of="dense", **knobs)  # type: ignore[arg-type]


def test_what_an_arm_has_not_got_is_refused(subject: Subject) -> None:
    for more, message in (
        ({"seeds": (7,)}, "expected a seed of the arm 'dense', got 7"),
        (
            {"sparsity": replace(Imp().sparsity, every=(D("0.3"),))},
            "expected a sparsity of the arm",
        ),
    ):
        with pytest.raises(SpecError, match=message):
            cells(subject, x=Connectivity(of="dense", **more))  # type: ignore[arg-type]
