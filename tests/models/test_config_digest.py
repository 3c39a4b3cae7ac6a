"""Networks of the same weights are told apart by all else that decides a training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer, BertForMaskedLM, BertModel

from tombola.tasks.networks import load_network

Change = Callable[[Path], None]


def config(**fields: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def without_pooler(folder: Path) -> None:
    BertModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(folder)


def cased(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": False}))


def resaved(folder: Path) -> None:
    BertModel.from_pretrained(folder).save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


def copied(tiny: Path, folder: Path, change: Change) -> str:
    shutil.copytree(tiny, folder)
    change(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (config(hidden_dropout_prob=0.5), False),
        (config(hidden_act="relu"), False),
        (config(num_attention_heads=4), False),
        (without_pooler, False),
        (cased, False),
        (resaved, True),
        (config(architectures=["BertForMaskedLM"], transformers_version="4.0.0"), True),
        (config(id2label={"0": "bad", "1": "good"}), True),
    ],
)
def test_what_decides_the_bits_and_nothing_else_changes_them(
    tiny: Path, tmp_path: Path, change: Change, same: bool
) -> None:
    before = load_network(str(tiny), "classification")
    after = load_network(copied(tiny, tmp_path / "m", change), "classification")
    assert after.fingerprint == before.fingerprint
    assert (after.config_digest == before.config_digest) == same


def test_a_head_of_the_files_is_one_of_them(tiny: Path, tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        BertForMaskedLM.from_pretrained(folder).save_pretrained(folder)

    filled = copied(tiny, tmp_path / "m", save)
    assert load_network(filled, "mlm").config_digest != load_network(str(tiny), "mlm").config_digest
