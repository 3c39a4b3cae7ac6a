"""The card of a trained network: README.md as the hub shows it, with the hub's metadata."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tombola.base.rounding import percent, points
from tombola.ship.card import CITATION, hub_model, inert, short_name, table
from tombola.ticket.format import NESTED
from tombola.ticket.ticket import Ticket

__all__ = ["CardFacts", "network_card"]

PIPELINES = {
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForMaskedLM": "fill-mask",
}
"""Class that loads the network -> what the hub calls its use."""

USE = """\
```python
from transformers import {auto_class}, AutoTokenizer

model = {auto_class}.from_pretrained("path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```

Its pruned weights are plain zeros. Training brings them back, unless the ticket holds them:

```python
import tombola

trained = tombola.load("path/to/this/folder")
with trained.ticket.hold(trained.model):
    ...
```"""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the card says of a training, in addition to what its ticket says."""

    auto_class: str
    """Class of transformers that loads the network with its head."""
    task: str
    metric: str
    split: str
    """The split that the score comes from."""
    score: float
    """The score in points of the metric."""
    trivial: float
    """The best score without learning anything from the texts, in points."""
    seed: int
    init: str
    """What the kept weights started from."""
    whole_model_sparsity: float
    """Pruned weights as a fraction of the backbone, embeddings included."""
    recipe: Mapping[str, Any]
    """Knobs of the training."""
    numerics: Mapping[str, Any]
    """What the last digits depend on as well: device, threads, versions."""


def network_card(ticket: Ticket, facts: CardFacts) -> str:
    """The card of a network that was trained from a ticket, the same text for the same training.

    Everything that comes from the ticket or from a user is shown as `inert` text.
    """
    model, mask = inert(short_name(ticket.model)), ticket.mask
    parts = [
        _metadata(ticket, facts),
        f"# {model} at {percent(ticket.sparsity)} sparsity, trained on {inert(facts.task)}",
        f"The pre-trained network {model}, trained with tombola on the task {inert(facts.task)} "
        f"while {mask.pruned:,} of the {mask.size:,} weights in the scope {inert(ticket.scope)} "
        f"stayed zero: {percent(facts.whole_model_sparsity, digits=1)} of the whole encoder with "
        f"its embeddings. The mask is the lottery ticket in [`{NESTED}/`]({NESTED}).",
        "## Score",
        table(_scores(facts)),
        "## Use",
        USE.format(auto_class=facts.auto_class),
        "## Training",
        table(_training(ticket, facts)),
        "## Licence",
        "No licence has been chosen: set `license` at the top of this file. The weights derive "
        f"from the pre-trained network {model} and were trained on the data of the task, whose "
        "licences apply to them.",
        "## Citation",
        "If you use tickets of pre-trained networks, cite the paper that introduced them:",
        CITATION,
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(ticket: Ticket, facts: CardFacts) -> str:
    """The hub's YAML; only names of the hub's own form get into it, quoted as JSON does."""
    lines = ["library_name: transformers", "license: unknown"]
    if facts.auto_class in PIPELINES:
        lines += [f"pipeline_tag: {PIPELINES[facts.auto_class]}"]
    if (model := hub_model(ticket.model)) is not None:
        lines += [f"base_model: {json.dumps(model)}", "base_model_relation: finetune"]
    lines += ["tags:", "- lottery-ticket", "- pruning", "- sparsity"]
    return "\n".join(["---", *lines, "---"])


def _scores(facts: CardFacts) -> Iterator[tuple[str, str]]:
    where = f"{inert(facts.metric)}, split {inert(facts.split)}, in points"
    yield f"this network, seed {facts.seed} ({where})", points(facts.score)
    yield "without learning anything from the texts", points(facts.trivial)


def _training(ticket: Ticket, facts: CardFacts) -> Iterator[tuple[str, str]]:
    """How the network was trained: name and value."""
    yield "fingerprint of the pre-trained network", inert(ticket.fingerprint)
    yield "digest of the mask", inert(ticket.mask.digest())
    yield "kept weights started from", inert(facts.init)
    for name, value in (*facts.recipe.items(), *facts.numerics.items()):
        yield name.replace("_", " "), inert(value)
