# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a search to training with a ticket
#
# A search on the model and the data that come with the package, what it found, and a training
# in which the ticket's pruned weights stay zero. Five to six minutes on two cores.

# %% tags=["parameters"]
RECIPE = {"train_limit": 640, "test_limit": 800, "epochs": 2}
CORES = {"workers": 2, "threads": 1}

# %%
import warnings

warnings.filterwarnings("ignore", "IProgress")  # of tqdm, while transformers is imported

from transformers import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

# %% [markdown]
# ## Find
#
# The network learns to find the word of a sentence that a definition defines. Two rounds: train,
# prune a quarter of the weights, rewind the others. Then two controls at the final sparsity. The
# same call again trains nothing.

# %%
import tombola

found = tombola.find(
    task="gloss-span",
    sparsity=0.5,
    step=0.25,
    controls=("random", "one-shot"),
    output="runs/notebook",
    **RECIPE,
    **CORES,
)
found

# %% [markdown]
# The picture of it: score against sparsity, with the controls.

# %%
from pathlib import Path

from IPython.display import SVG

SVG(filename=Path(found.output, "scores.svg"))

# %% [markdown]
# ## The ticket
#
# A ticket is a mask and a page of facts. It belongs to the pre-trained network, so it fits every
# network with the same encoder.

# %%
ticket = tombola.Ticket.load(found.ticket)
ticket

# %% [markdown]
# What it prunes, by kind of matrix and by block:

# %%
from collections import defaultdict

from IPython.display import HTML
from tabulate import tabulate

share = defaultdict(dict)
for name, kept in ticket.mask.items():
    _, _, block, kind = name.removesuffix(".weight").split(".", maxsplit=3)
    share[kind][f"block {block}"] = f"{1 - kept.float().mean().item():.0%}"
rows = [[kind, *share[kind].values()] for kind in share]
HTML(tabulate(rows, ["", *share[kind]], tablefmt="html"))

# %% [markdown]
# ## Train with it
#
# Inside `hold`, pruned weights are zero and stay zero, in your own loop and with any optimizer.

# %%
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = tombola.model_path("mini")
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32")
tokenizer = AutoTokenizer.from_pretrained(folder)
texts = tokenizer(["a lovely film", "a dull one"], padding=True, return_tensors="pt")
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)

losses = []
with ticket.hold(model):
    for _ in range(10):
        loss = model(**texts, labels=torch.tensor([1, 0])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(round(loss.item(), 3))

losses

# %%
weights = dict(model.base_model.named_parameters())
assert not any(weights[name][~kept].any() for name, kept in ticket.mask.items())

# %% [markdown]
# ## Keep the trained network
#
# `train` does the whole training under the ticket, with the task's recipe, and keeps a checkpoint
# that `from_pretrained` loads anywhere.

# %%
tombola.train(ticket, output="runs/notebook-network", **RECIPE, threads=1)
