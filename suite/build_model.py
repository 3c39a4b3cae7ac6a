"""Build the embedded model `mini`: `python suite/build_model.py` (about an hour on two cores).

MiniLM's six layers with a vocabulary of 17,000 tokens and a masked-language-modelling head of its
own. A killed run goes on from its last checkpoint in `suite/.build/mini/`. The embeddings, which
the decoder shares, and the three lowest layers stay the parent's; the other three learn gently,
the head faster. Needs the tasks of `build_tasks.py`, whose dev and test texts are kept out of the
corpus.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

import build_tasks
import sources
from splitting import shuffled

MINI = Path(__file__).parents[1] / "src/tombola/suite/mini"
WORK = sources.BUILD / "mini"
VOCABULARY = 17_000
TASK_WEIGHT = 10
"""How often a training text of the tasks counts when the tokens to keep are chosen."""
BLOCK, BATCH, STEPS = 64, 64, 2_500
"""64 x 64 tokens a step: 10.2 million in all."""
RATES = {"encoder": 1e-4, "head": 1e-3}
FROZEN = ("bert.embeddings.", *(f"bert.encoder.layer.{n}." for n in range(3)))
SEED = 0


# --- corpus ------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Lower-case words of a text, for comparing texts."""
    return re.findall(r"\w+", text.lower())


def shingles(text: str) -> set[tuple[str, ...]]:
    """The runs of eight words of a text; all of it, if it is shorter."""
    mine = words(text)
    return {tuple(mine[i : i + 8]) for i in range(max(1, len(mine) - 7))}


def task_texts(*splits: str) -> Iterator[str]:
    """Every text of those splits of every task, contexts cut into their sentences."""
    for path in sorted(build_tasks.DATA.glob("*/*.parquet")):
        if path.name.startswith(splits):
            for row in pq.read_table(path).to_pylist():
                yield from build_tasks.texts(row)
                yield from row.get("context", "").split(". ")


def held_out() -> set[tuple[str, ...]]:
    """The runs of eight words of every dev and test text of every task."""
    return set().union(*(shingles(text) for text in task_texts("dev", "test")))


def candidates() -> Iterator[str]:
    """Every text of a training split, before the last check against the held-out texts."""
    documents = build_tasks.split_brown()
    for document, paragraphs in sources.brown().items():
        if documents[document] == "train":
            yield from paragraphs
    synsets = sources.wordnet()
    split = build_tasks.split_synsets(synsets)
    yield from (build_tasks.entry(synset) for synset in synsets if split[synset.id] == "train")
    yield from sources.articles()
    for kind in ("movie", "amazon"):
        yield from (text for _, _, text, name in build_tasks.split_reviews(kind) if name == "train")


def corpus() -> list[str]:
    """The training texts in a fixed shuffled order; kept in a file, since it takes minutes."""
    path = WORK / "corpus.json"
    if not path.exists():
        banned = held_out()
        kept = [text for text in candidates() if not shingles(text) & banned]
        path.write_text(json.dumps(shuffled(kept, "corpus")))
    texts: list[str] = json.loads(path.read_text())
    return texts


# --- tokenizer and starting weights ------------------------------------------


def trim(texts: list[str]) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The parent's tokenizer with fewer tokens, and the parent's number of each that is kept."""
    parent = PreTrainedTokenizerFast.from_pretrained(sources.minilm())
    counts: Counter[int] = Counter()
    for weight, group in ((1, texts), (TASK_WEIGHT, list(task_texts("train")))):
        for start in range(0, len(group), 5000):
            for ids in parent(group[start : start + 5000], add_special_tokens=False)["input_ids"]:
                counts.update({i: weight * n for i, n in Counter(ids).items()})
    spelled = json.loads((sources.minilm() / "tokenizer.json").read_text())
    vocabulary: dict[str, int] = spelled["model"]["vocab"]
    special = [vocabulary[t] for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")]
    bare = {token: token.removeprefix("##") for token in vocabulary}
    single = [vocabulary[t] for t, text in bare.items() if len(text) == 1 and text.isascii()]
    frequent = sorted(counts, key=lambda i: (-counts[i], i))
    keep = list(dict.fromkeys([*special, *single, *frequent]))[:VOCABULARY]
    names = {i: token for token, i in vocabulary.items()}
    spelled["model"]["vocab"] = {names[i]: new for new, i in enumerate(keep)}
    for added in spelled["added_tokens"]:
        added["id"] = keep.index(added["id"])
    for token in spelled["post_processor"]["special_tokens"].values():
        token["ids"] = [keep.index(i) for i in token["ids"]]
    spelled["truncation"] = spelled["padding"] = None
    (WORK / "tokenizer.json").write_text(json.dumps(spelled, ensure_ascii=False))
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_file=str(WORK / "tokenizer.json"),
        model_max_length=512,
        **{f"{t}_token": f"[{t.upper()}]" for t in ("pad", "unk", "cls", "sep", "mask")},
    )
    return tokenizer, keep


def start(keep: list[int]) -> BertForPreTraining:
    """MiniLM with the kept rows of its embeddings, its pooler, and the identity as head."""
    config = BertConfig.from_pretrained(sources.minilm(), vocab_size=VOCABULARY)
    config.architectures = ["BertForMaskedLM"]
    config.fine_tuning_learning_rate = 3e-4
    model = BertForPreTraining(config)
    parent = load_file(sources.minilm() / "model.safetensors")
    parent.pop("embeddings.position_ids", None)
    table = "embeddings.word_embeddings.weight"
    parent[table] = parent[table][torch.tensor(keep)]
    model.bert.load_state_dict(parent)
    transform = model.cls.predictions.transform
    nn.init.eye_(transform.dense.weight)
    nn.init.zeros_(transform.dense.bias)
    return model


# --- training ----------------------------------------------------------------


def blocks(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    """(blocks, 64) token numbers: texts one after another, [SEP] between, [CLS] in front."""
    stream: list[int] = []
    for start in range(0, len(texts), 5000):
        encoded = tokenizer(texts[start : start + 5000], add_special_tokens=False)["input_ids"]
        for ids in encoded:
            stream += [*ids, tokenizer.sep_token_id]
    body = BLOCK - 1
    rows = torch.tensor(stream[: len(stream) // body * body]).view(-1, body)
    return torch.cat([torch.full((len(rows), 1), tokenizer.cls_token_id), rows], dim=1)


class Collator:
    """Masks 15 % of the tokens of a batch of blocks, 80/10/10."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int | None = None) -> None:
        self.mask = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=seed)

    def __call__(self, rows: list[tuple[Tensor]]) -> dict[str, Tensor]:
        """Masked token numbers and labels, both (batch, 64)."""
        batch = self.mask([{"input_ids": row} for (row,) in rows])
        return {"input_ids": batch["input_ids"], "labels": batch["labels"]}


class MaskedTrainer(Trainer):
    """A Trainer that decodes the masked positions only: the same loss at two thirds of the cost."""

    def compute_loss(  # type: ignore[override]
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Any:
        """Mean cross-entropy over the masked tokens."""
        network: Any = model
        hidden = network.bert(inputs["input_ids"])[0]
        masked = inputs["labels"] >= 0
        labels = inputs["labels"][masked]
        logits = network.cls.predictions(hidden[masked])
        loss = nn.functional.cross_entropy(logits, labels)
        hits = (logits.argmax(-1) == labels).float()
        return (loss, {"logits": hits}) if return_outputs else loss

    def prediction_step(self, model: nn.Module, inputs: Any, *_: Any, **__: Any) -> Any:
        """Loss and hits of one batch."""
        with torch.no_grad():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        return loss, outputs["logits"], outputs["logits"]


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups: the head at its rate, the upper layers at theirs, the rest frozen."""
    chosen: dict[str, list[nn.Parameter]] = {name: [] for name in RATES}
    for name, parameter in model.named_parameters():
        if name.startswith((*FROZEN, "bert.pooler.", "cls.seq_relationship.")):
            parameter.requires_grad_(False)
        else:
            chosen["head" if name.startswith("cls.") else "encoder"].append(parameter)
    return [{"params": chosen[name], "lr": rate} for name, rate in RATES.items()]


def train(model: BertForPreTraining, tokenizer: PreTrainedTokenizerFast, data: Tensor) -> Trainer:
    """Masked language modelling from the last checkpoint, if there is one."""
    dev = pq.read_table(build_tasks.DATA / "mlm/dev-00000-of-00001.parquet")["text"].to_pylist()
    optimizer = torch.optim.AdamW(groups(model), weight_decay=0.01, fused=True)
    arguments = TrainingArguments(
        output_dir=str(WORK / "checkpoints"),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        eval_strategy="steps",
        eval_steps=250,
        save_steps=100,
        save_total_limit=2,
        logging_steps=25,
        seed=SEED,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    trainer = MaskedTrainer(
        model=model,
        args=arguments,
        data_collator=Collator(tokenizer),
        train_dataset=TensorDataset(data),
        eval_dataset=TensorDataset(blocks(tokenizer, dev)),
        optimizers=(optimizer, get_linear_schedule_with_warmup(optimizer, STEPS // 20, STEPS)),
        compute_metrics=lambda result: {"masked_accuracy": float(np.mean(result.predictions))},
    )
    places = (WORK / "checkpoints").glob("checkpoint-*")
    last = max(places, key=lambda place: int(place.name.split("-")[1]), default=None)
    if last is not None and last.name == f"checkpoint-{STEPS}":  # the Trainer would do a step more
        model.load_state_dict(load_file(last / "model.safetensors"), strict=False)
        model.tie_weights()
        state = json.loads((last / "trainer_state.json").read_text())
        trainer.state.log_history = state["log_history"]
    else:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    return trainer


def ship(model: BertForPreTraining, tokenizer: PreTrainedTokenizerFast, curve: list[Any]) -> None:
    """Write weights as float16, configuration, tokenizer and curve into the package."""
    MINI.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.to(torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if "seq_relationship" not in name and not name.endswith("decoder.weight")
        if not name.endswith("decoder.bias")
    }
    save_file(weights, MINI / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(MINI)
    tokenizer.save_pretrained(MINI)
    license = sources.minilm() / "LICENSE"
    if license.exists():
        shutil.copy(license, MINI / "LICENSE")
    (MINI / "curve.json").write_text(json.dumps(curve, indent=1) + "\n")
    BertForMaskedLM.from_pretrained(MINI)


def main() -> None:
    """Corpus, vocabulary, training, package data."""
    WORK.mkdir(parents=True, exist_ok=True)
    sources.fetch()
    texts = corpus()
    tokenizer, keep = trim(texts)
    data = blocks(tokenizer, texts)
    print(f"{len(texts):,} texts, {data.numel():,} tokens in blocks of {BLOCK}", flush=True)
    model = start(keep)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trainer = train(model, tokenizer, data)
    ship(model, tokenizer, trainer.state.log_history)


if __name__ == "__main__":
    main()
