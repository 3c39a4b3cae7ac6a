"""Logits where they are read only, to the same predictions; a network's own errors in a line."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, save
from tombola.base.errors import ModelError
from tombola.base.specs import TrainSpec
from tombola.kernel import packed as packed_forward
from tombola.kernel.fused.extension import available
from tombola.kernel.packed import FUSED, packed
from tombola.kernel.reads import Reads
from tombola.tasks.data.batches import evaluation_batches
from tombola.tasks.data.encode import encode_split
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.networks import load_network
from tombola.tasks.task import load_task
from tombola.ticket.mask import Mask
from tombola.training.loop import fit
from tombola.training.predictions import predict

MLM = load_task("mlm")
TEXTS = [{"text": "a very good film and a bad plot of an actor " * n} for n in range(1, 5)]
MASKED = [name for name, made in ARCHITECTURES.items() if made.masked]


@pytest.mark.parametrize("name", MASKED)
def test_masked_tokens_are_scored_alone_as_they_are_among_all(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network(str(save(name, tmp_path / "model")), "mlm")
    network.rewind(0)
    examples = encode_split(TEXTS, MLM, network.tokenizer, TrainSpec(max_length=60))
    expected = np.zeros((len(examples), 2))
    network.model.eval()
    for numbers, batch, labels in evaluation_batches(network, MLM, examples):
        with torch.inference_mode(), packed(network.model, batch, Reads.LABELLED) as inputs:
            hits = network.model(**inputs).logits.argmax(-1) == labels["labels"]
        masked = labels["labels"] >= 0
        expected[numbers] = torch.stack([(hits & masked).sum(1), masked.sum(1)], dim=1)
    assert np.array_equal(predict(network, MLM, examples), expected)
    monkeypatch.setattr("tombola.training.predictions.LEAST_ROWS", 1)
    rows: list[int] = []
    layer: Any = network.model.get_output_embeddings()
    layer.register_forward_hook(lambda _, __, made: rows.append(made[..., 0].numel()))
    few = predict(network, MLM, examples)
    assert np.array_equal(few[:, 1], expected[:, 1])
    assert sum(rows) in (0, int(expected[:, 1].sum()))
    if name in ("bert", "roberta", "electra"):
        assert sum(rows) > 0


def failing(error: Exception) -> Any:
    """A forward pass whose code is not ours, as a file of transformers would be."""
    scope: dict[str, Any] = {"error": error}
    exec(compile("def forward(**inputs):\n    raise error", "/lib/modeling_x.py", "exec"), scope)
    return scope["forward"]


@pytest.mark.parametrize(
    "error", [ValueError("Wrong shape\nfor input_ids"), KeyError("x"), RuntimeError("no")]
)
def test_an_error_in_a_network_s_own_code_is_one_line_that_names_it(
    error: Exception, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_task("sentiment")
    network = load_network(str(tiny), task.kind)
    rows = [{"sentence": "good film " * n, "label": n % 2} for n in range(1, 5)]
    examples = encode_split(rows, task, network.tokenizer, TrainSpec(max_length=60))
    full = Mask.full(network.scope("encoder"))
    monkeypatch.setattr(network.model, "forward", failing(error))
    for work in (
        lambda: predict(network, task, examples),
        lambda: fit(network, task, examples, full, TrainSpec(), scope="encoder"),
    ):
        with pytest.raises(ModelError, match=r"tiny.*line 2 of modeling_x\.py") as caught:
            work()
        assert "\n" not in str(caught.value)
        assert type(error).__name__ in str(caught.value)


def test_an_error_in_our_own_code_keeps_its_traceback(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_task("sentiment")
    network = load_network(str(tiny), task.kind)
    rows = [{"sentence": "good film " * n, "label": 0} for n in (1, 2)]
    examples = encode_split(rows, task, network.tokenizer, TrainSpec(max_length=60))
    parts = packed_forward.PARTS

    def places(*tokens: Any) -> Any:
        every, some = parts.places(*tokens)
        return replace(every, padding=torch.zeros(3, 1, 5)), some

    wrong = replace(parts, places=places)
    monkeypatch.setattr(packed_forward, "PARTS", wrong)
    with pytest.raises(RuntimeError, match="expand"):
        predict(network, task, examples)


def test_windows_of_contexts_take_little_more_than_their_tokens(tiny: Path) -> None:
    task = load_task("gloss-span")
    network = load_network(str(tiny), task.kind)
    row = {
        "question": "film",
        "context": "the plot was long " * 20,
        "answers": {"text": ["plot"], "answer_start": [4]},
    }
    examples = encode_split([row], task, network.tokenizer, TrainSpec(max_length=100))
    assert examples.offsets[0].dtype == np.int32
    assert sys.getsizeof(examples.offsets[0].base or examples.offsets[0]) < 10 * 100


ROWS: dict[str, list[dict[str, Any]]] = {
    "sentiment": [{"sentence": "good film " * n, "label": n % 2} for n in range(1, 9)],
    "gloss-span": [
        {
            "question": "film",
            "context": "the plot was long " * n,
            "answers": {"text": ["plot"], "answer_start": [4]},
        }
        for n in range(1, 9)
    ],
    "supersense": [{"sentence": "the plot was long " * n, "label": n % 3} for n in range(1, 9)],
    "mlm": TEXTS * 2,
}


@pytest.mark.parametrize("name", ROWS)
def test_predictions_in_bf16_come_from_logits_in_float32(
    name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not available():
        pytest.skip("the C extension was not built")
    task = load_task(name)
    network = load_network(str(tiny), task.kind)
    network.rewind(0)
    recipe = TrainSpec(max_length=60, precision="bf16", kernel=FUSED)
    examples = encode_split(ROWS[name], task, network.tokenizer, recipe)
    read: dict[str, list[tuple[Tensor, ...]]] = {"fp32": [], "bf16": []}
    kind, logits = TASK_KINDS[task.kind], type(TASK_KINDS[task.kind]).logits
    for precision, seen in read.items():

        def keep(kind: Any, output: Any, batch: Any, seen: list[Any] = seen) -> Any:
            seen.append(logits(kind, output, batch))
            return seen[-1]

        monkeypatch.setattr(type(kind), "logits", keep)
        made = predict(network, task, examples, replace(recipe, precision=precision))
        assert np.isfinite(made).all()
    exact, rounded = ([each for tensors in seen for each in tensors] for seen in read.values())
    assert {each.dtype for each in rounded} == {torch.float32}
    assert not all(map(torch.equal, exact, rounded))
    for mine, theirs in zip(rounded, exact, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0.05, atol=0.05)


def test_blocks_with_another_activation_than_gelu_predict_in_bf16(tiny: Path) -> None:
    if not available():
        pytest.skip("the C extension was not built")
    task = load_task("valence")
    network = load_network(str(tiny), task.kind)
    network.rewind(0)
    model: Any = network.model
    for block in model.bert.encoder.layer:
        block.intermediate.intermediate_act_fn = torch.nn.ReLU()
    recipe = TrainSpec(max_length=60, precision="bf16", kernel=FUSED)
    rows = [{"sentence": "good film " * n, "label": n / 2} for n in range(1, 9)]
    examples = encode_split(rows, task, network.tokenizer, recipe)
    rounded = predict(network, task, examples, recipe)
    exact = predict(network, task, examples, replace(recipe, precision="fp32"))
    assert not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, rtol=0.05, atol=0.05)
