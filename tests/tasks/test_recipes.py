"""The recipe belongs to network and task: what nobody names goes by both, what is named holds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, DistilBertConfig, GPT2Config, PretrainedConfig

from tombola.base.errors import ModelError, SpecError
from tombola.base.keys import changed_knobs
from tombola.base.specs import TaskSpec, TrainSpec
from tombola.kernel import native_bf16
from tombola.lab.options import find_options
from tombola.tasks.own_task import named_task
from tombola.tasks.recipes import learning_rate_of, recipe_for
from tombola.tasks.task import Task, load_task, task_names

EMBEDDED = [name for name in task_names() if load_task(name).tuned_for == "mini"]
PAPER = [name for name in task_names() if load_task(name).tuned_for == "bert-base"]
OWN = "kind: classification\ntexts: [text]\nlabels: [bad, good]\nmetric: accuracy\n"


def network(folder: Path, config: PretrainedConfig, **more: Any) -> str:
    """A folder with nothing but a configuration."""
    folder.mkdir(exist_ok=True)
    place = folder / "config.json"
    place.write_text(json.dumps({**config.to_diff_dict(), **more}))
    return str(folder)


def wide(folder: Path, width: int, **more: Any) -> str:
    return network(folder, BertConfig(hidden_size=width), **more)


def own(folder: Path, recipe: str = "") -> Task:
    (folder / "mine.yaml").write_text(OWN + recipe)
    return named_task(str(folder / "mine.yaml"), TaskSpec())


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_task_has_its_own_recipe_on_mini(name: str) -> None:
    assert recipe_for(load_task(name), "mini", {}) == load_task(name).recipe


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("model", ["bert-base-uncased", "google-bert/bert-base-cased"])
def test_the_paper_s_tasks_have_its_recipes_on_bert_base(name: str, model: str) -> None:
    assert recipe_for(load_task(name), model, {}) == load_task(name).recipe


def test_another_network_takes_its_own_rate_and_a_task_keeps_its_share_of_it(
    tmp_path: Path,
) -> None:
    base = wide(tmp_path, 768)
    for model, task, rate in (
        (base, "sentiment", 2e-5),
        (base, "gloss-match", 6.7e-6),  # a third, as on mini
        (base, "squad", 3e-5),
        ("mini", "glue/rte", 3e-4),
        ("mini", "squad", 4.5e-4),
    ):
        recipe = load_task(task).recipe
        assert recipe_for(load_task(task), model, {}) == replace(recipe, learning_rate=rate)


@pytest.mark.parametrize(
    ("width", "rate"),
    [(32, 3e-4), (128, 3e-4), (256, 1.8e-4), (512, 4.5e-5), (768, 2e-5), (1024, 1.1e-5)],
)
def test_narrower_networks_learn_faster(tmp_path: Path, width: int, rate: float) -> None:
    assert recipe_for(own(tmp_path), wide(tmp_path, width), {}).learning_rate == rate


def test_a_width_is_found_under_every_name(tmp_path: Path) -> None:
    rates = {
        learning_rate_of(network(tmp_path, config))
        for config in (
            BertConfig(hidden_size=512),
            DistilBertConfig(dim=512),
            GPT2Config(n_embd=512),
        )
    }
    assert [float(f"{float(rate):.1e}") for rate in rates] == [4.5e-5]


def test_a_network_may_carry_its_rate(tmp_path: Path) -> None:
    model = wide(tmp_path, 768, fine_tuning_learning_rate=1e-4)
    assert recipe_for(own(tmp_path), model, {}).learning_rate == 1e-4
    for wrong in (0, -1, "fast", True, float("nan"), float("inf")):
        wide(tmp_path, 768, fine_tuning_learning_rate=wrong)
        with pytest.raises(ModelError, match="expected a positive number as fine_tuning_learning"):
            learning_rate_of(model)


def test_what_is_named_holds_on_every_network(tmp_path: Path) -> None:
    model = wide(tmp_path, 256)
    named = own(tmp_path, "recipe: {learning_rate: 2.0e-5, epochs: 3, warmup: 0}\n")
    assert recipe_for(named, model, {}) == TrainSpec()
    for task in (own(tmp_path), named, load_task("sentiment"), load_task("glue/cola")):
        assert recipe_for(task, model, {"learning_rate": 1e-3}).learning_rate == 1e-3


def test_a_task_without_a_tuned_recipe_gets_steps_enough_for_few_rows(tmp_path: Path) -> None:
    recipe = recipe_for(own(tmp_path), "mini", {})
    assert changed_knobs(recipe) == {"learning_rate": 3e-4, "warmup": 0.1, "min_steps": 300}
    assert [recipe.steps(rows) for rows in (8, 500, 5000, 50_000)] == [300, 300, 471, 4689]
    for named in ({"epochs": 1}, {"epochs": 3}, {"min_steps": 10}):
        assert recipe_for(own(tmp_path), "mini", named).min_steps == named.get("min_steps", 0)


def test_a_task_as_json_keeps_which_knobs_it_names(tmp_path: Path) -> None:
    for task in (own(tmp_path), own(tmp_path, "recipe: {learning_rate: 2.0e-5}\n")):
        again = Task.from_json(task.to_json())
        assert again == task
        assert recipe_for(again, "mini", {}) == recipe_for(task, "mini", {})


def test_a_recipe_for_a_network_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Did you mean 'bert-base'"):
        own(tmp_path, "tuned_for: bert-bass\n")
    with pytest.raises(SpecError, match="no field of a task 'named'"):
        own(tmp_path, "named: [epochs]\n")


def test_a_search_on_a_csv_folder_takes_the_network_s_rate(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\na good film,1\na bad film,0\n")
    options = {"task": f"csv:{tmp_path}", "text_columns": ("text",)}
    recipe = find_options(options).recipe
    assert (recipe.learning_rate, recipe.min_steps) == (3e-4, 300)


@pytest.mark.parametrize("flags", ["avx512_bf16", "avx2"])
def test_an_automatic_precision_is_the_one_that_the_machine_multiplies_fast(
    flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_bf16, "processor_flags", lambda: {flags})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    taken = "bf16" if flags == "avx512_bf16" else "fp32"
    assert find_options({"precision": "auto"}).recipe.precision == taken
    by_task = own(tmp_path, "recipe: {precision: auto}\n")
    assert recipe_for(by_task, "mini", {}).precision == taken
    assert recipe_for(by_task, "mini", {"precision": "fp16"}).precision == "fp16"
    assert find_options({}).recipe.precision == "fp32"


def test_a_kernel_for_another_precision_than_the_automatic_one_is_refused_by_what_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"precision": "auto", "kernel": "sparse-1"}
    monkeypatch.setattr(native_bf16, "fast_precision", lambda: "bf16")
    with pytest.raises(SpecError) as caught:
        find_options(options)
    assert str(caught.value) == (
        "kernel sparse-1 works with fp32 only, got precision auto, which is bf16 on this machine. "
        "Leave one out."
    )
    monkeypatch.setattr(native_bf16, "fast_precision", lambda: "fp32")
    assert find_options(options).recipe.precision == "fp32"
