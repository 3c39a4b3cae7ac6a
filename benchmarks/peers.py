"""Two scripts that find a ticket as people would write them today, without tombola.

`padded` is the usual research script: texts padded to 128, an AdamW that is not fused,
`torch.nn.utils.prune`. `trainer` is what a competent user of transformers writes: its `Trainer`
with batches of like length, padded to the longest, and fused AdamW, around the same pruning.
Both take the score of the dense network from the first round.
"""

import copy
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

from protocol import Protocol
from tombola.models.embedded import model_path
from tombola.tasks.data.encode import chosen
from tombola.tasks.data.sources import read_split
from tombola.tasks.task import load_task

__all__ = ["SETTINGS", "padded", "trainer", "training_arguments"]

SETTINGS = {
    "padded": "max_length 128 by padding, AdamW(foreach=False, fused=False), global_unstructured",
    "trainer": "Trainer, train_sampling_strategy='group_by_length', DataCollatorWithPadding, "
    "optim='adamw_torch_fused', global_unstructured",
}

Rows = list[dict[str, Any]]
Found = dict[str, Any]


def padded(protocol: Protocol) -> Found:
    """The research script."""

    def train(model: Any, rows: Rows, tokenizer: Any, seed: int) -> None:
        torch.manual_seed(seed)
        batches = DataLoader(
            _padded(rows, tokenizer), batch_size=protocol.batch_size, shuffle=True, drop_last=False
        )
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=protocol.learning_rate, weight_decay=0.0, foreach=False
        )
        steps = len(batches) * protocol.epochs
        schedule = get_linear_schedule_with_warmup(optimizer, round(protocol.warmup * steps), steps)
        model.train()
        for _ in range(protocol.epochs):
            for batch in batches:
                with _precision(protocol):
                    loss = model(**batch).loss
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), protocol.clip_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()

    def score(model: Any, rows: Rows, tokenizer: Any) -> float:
        model.eval()
        hits = 0
        with torch.no_grad():
            for batch in DataLoader(_padded(rows, tokenizer), batch_size=protocol.batch_size):
                labels = batch.pop("labels")
                hits += int((model(**batch).logits.argmax(-1) == labels).sum())
        return 100 * hits / len(rows)

    return _search(protocol, train, score)


def trainer(protocol: Protocol) -> Found:
    """The script of a competent user."""

    def made(model: Any, rows: Rows, tokenizer: Any, seed: int, folder: str) -> Trainer:
        arguments = training_arguments(protocol, folder, seed)
        examples = [
            {**tokenizer(row["sentence"], truncation=True, max_length=protocol.max_length), **row}
            for row in rows
        ]
        for example in examples:
            del example["sentence"]
        collator = DataCollatorWithPadding(tokenizer)
        one = Trainer(model, arguments, data_collator=collator, train_dataset=examples)
        one.remove_callback(PrinterCallback)
        return one

    def train(model: Any, rows: Rows, tokenizer: Any, seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            made(model, rows, tokenizer, seed, folder).train()

    def score(model: Any, rows: Rows, tokenizer: Any) -> float:
        with tempfile.TemporaryDirectory() as folder:
            one: Any = made(model, rows, tokenizer, 0, folder)
            said: Any = one.predict(one.train_dataset)
        return 100 * float((said.predictions.argmax(-1) == said.label_ids).mean())

    return _search(protocol, train, score)


def training_arguments(
    protocol: Protocol, folder: str, seed: int, **more: Any
) -> TrainingArguments:
    """What a competent user gives to `Trainer`; it neither logs, evaluates nor saves."""
    on_cpu = not torch.cuda.is_available()
    return TrainingArguments(
        folder,
        per_device_train_batch_size=protocol.batch_size,
        per_device_eval_batch_size=2 * protocol.batch_size,
        num_train_epochs=protocol.epochs,
        learning_rate=protocol.learning_rate,
        warmup_steps=protocol.warmup,
        weight_decay=0.0,
        max_grad_norm=protocol.clip_norm,
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length",
        bf16=protocol.precision == "bf16",
        seed=seed,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **more,
    )


def _padded(rows: Rows, tokenizer: Any) -> Any:
    """Examples of 128 tokens each."""
    texts = [row["sentence"] for row in rows]
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=128)
    return [
        {
            **{name: torch.tensor(values[n]) for name, values in encoded.items()},
            "labels": torch.tensor(row["label"]),
        }
        for n, row in enumerate(rows)
    ]


def _precision(protocol: Protocol) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=protocol.precision == "bf16")


def _search(
    protocol: Protocol,
    train: Callable[[Any, Rows, Any, int], None],
    score: Callable[[Any, Rows, Any], float],
) -> Found:
    """Train, score, prune, rewind; and so on, for each seed."""
    torch.set_num_threads(protocol.threads)
    task, place = load_task(protocol.task), model_path(protocol.model)
    began = time.perf_counter()
    every, test = read_split(task, "train"), read_split(task, task.test_split)
    rows = [every[number] for number in chosen(len(every), protocol.examples)]
    test = test[: protocol.test_examples]
    tokenizer = AutoTokenizer.from_pretrained(place)
    dense, tickets, training, tokens = [], [], 0.0, 0
    for seed in protocol.seeds:
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(place, num_labels=2)
        start = copy.deepcopy(model.state_dict())
        scope = [
            (module, "weight")
            for module in model.base_model.encoder.modules()
            if isinstance(module, nn.Linear)
        ]
        size = sum(module.weight.numel() for module, _ in scope)
        scores = []
        for done in range(protocol.rounds + 1):
            before = time.perf_counter()
            train(model, rows, tokenizer, seed)
            training += time.perf_counter() - before
            scores.append(score(model, test, tokenizer))
            if done < protocol.rounds:
                _prune(scope, round(size / 10))
                _rewind(model, start)
        dense.append(scores[0])
        tickets.append(scores[-1])
    seconds = time.perf_counter() - began
    lengths = tokenizer([row["sentence"] for row in rows], truncation=True, max_length=128)
    tokens = sum(map(len, lengths["input_ids"])) * protocol.epochs * protocol.trainings
    return {
        "seconds": seconds,
        "training_seconds": training,
        "tokens": tokens,
        "scope_size": size,
        "trainings": protocol.trainings,
        "dense": dense,
        "ticket": tickets,
    }


def _prune(scope: list[tuple[nn.Linear, str]], amount: int) -> None:
    prune.global_unstructured(scope, pruning_method=prune.L1Unstructured, amount=amount)


@torch.no_grad()
def _rewind(model: nn.Module, start: dict[str, torch.Tensor]) -> None:
    """Back to the pre-trained weights and the head drawn first, under the mask."""
    for name, parameter in model.named_parameters():
        parameter.copy_(start[name.removesuffix("_orig")])
