"""Whatever a model's folder holds, loading it ends in a network or in one clear line."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, PretrainedConfig
from transformers.integrations import hub_kernels

from memory_limit import memory_limit
from tombola.base.errors import ModelError, TombolaError
from tombola.models.attention_heads import attention_heads
from tombola.models.files import check_model_folder
from tombola.models.network import load_backbone
from tombola.tasks.networks import load_network

Attack = Callable[[Path], object]
NUMBERS = (10**8, 10**9, 10**12, 10**30)


@pytest.fixture
def place(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def refusal(place: Path) -> str:
    """The one line in which a model is refused, with half a GB of memory more."""
    with memory_limit(1 << 29), pytest.raises(ModelError) as caught:
        load_network(str(place), "classification")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def claim(**fields: Any) -> Attack:
    """Change fields of config.json."""

    def attack(place: Path) -> None:
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps(config | fields))

    return attack


def file(name: str, content: bytes) -> Attack:
    return lambda place: (place / name).write_bytes(content)


def pipe(name: str) -> Attack:
    def attack(place: Path) -> None:
        (place / name).unlink(missing_ok=True)
        os.mkfifo(place / name)

    return attack


def sparse(name: str, size: int) -> Attack:
    """A file of zeros that takes no room on the disk."""

    def attack(place: Path) -> None:
        (place / name).touch()
        os.truncate(place / name, size)

    return attack


def header(text: str, data: int = 0) -> Attack:
    content = text.encode()
    return file("model.safetensors", len(content).to_bytes(8, "little") + content + bytes(data))


def index(name: str) -> Attack:
    """Shards whose first is another file."""

    def attack(place: Path) -> None:
        (place / "model.safetensors").rename(place / "a.safetensors")
        weights = {"weight_map": dict.fromkeys(("a", "b"), "a.safetensors") | {"c": name}}
        (place / "model.safetensors.index.json").write_text(json.dumps(weights))

    return attack


def older(write: Callable[[Path, Any], object]) -> Attack:
    """Weights in a pickle instead of safetensors."""

    def attack(place: Path) -> None:
        weights = load_file(place / "model.safetensors")
        (place / "model.safetensors").unlink()
        write(place / "pytorch_model.bin", weights)

    return attack


class Bytes:
    def __reduce__(self) -> Any:
        return bytearray, (10**10,)


def deflated(target: Path, weights: Any) -> None:
    torch.save(weights, target)
    with zipfile.ZipFile(target, "a", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data/99", bytes(1 << 20))


ATTACKS: dict[str, tuple[Attack, str]] = {
    "10^8 layers": (claim(num_hidden_layers=10**8), "at most 100,000 as 'num_hidden_layers'"),
    "10^5 layers": (claim(num_hidden_layers=10**5), "one of more layers"),
    "a float of layers": (claim(num_hidden_layers=1e9), "num_hidden_layers"),
    "layers in a part": (claim(text_config={"n_layer": 10**9}), "at most 100,000 as 'n_layer'"),
    "layers in a list": (claim(block_sizes=[4, 10**9]), "at most 100,000 as 'block_sizes'"),
    "10^9 labels": (claim(num_labels=10**9), "at most 100,000 as 'num_labels'"),
    **{
        f"{name} of {number:,}": (claim(**{name: number}), "Put the configuration of these")
        for number in (10**8, 10**9, 10**12)
        for name in ("vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings")
    },
    "hidden of 10^30": (claim(hidden_size=10**30), "loading failed"),
    "two large ones": (claim(hidden_size=10**5 * 4, vocab_size=10**7), "more values"),
    "a number of 5000 digits": (
        file("config.json", b'{"num_labels": ' + b"9" * 5000 + b"}"),
        "loading failed",
    ),
    "a deep configuration": (file("config.json", b"[" * 10**6), "loading failed"),
    "a long configuration": (sparse("config.json", 10**10), "at most 100,000,000 bytes"),
    "a tokenizer of 1 GB": (sparse("tokenizer.json", 10**9), "at most 100,000,000 bytes"),
    "a vocabulary of 1 GB": (sparse("vocab.txt", 10**9), "at most 100,000,000 bytes"),
    "attention from elsewhere": (claim(_attn_implementation="owner/name"), "'owner/name'"),
    "attention by another name": (claim(attn_implementation="owner/name"), "'owner/name'"),
    "attention of a part": (
        claim(attn_implementation={"text_config": "owner/name@main:f"}),
        "'owner/name@main:f'",
    ),
    "attention inside": (claim(text_config={"_attn_implementation_internal": "a/b"}), "'a/b'"),
    "paged attention": (claim(_attn_implementation="paged|a/b"), "'paged|a/b'"),
    "flash attention, which may be fetched": (
        claim(attn_implementation="flash_attention_2"),
        "'flash_attention_2'",
    ),
    "experts from elsewhere": (claim(_experts_implementation="a/b"), "'a/b'"),
    "a pipe as configuration": (pipe("config.json"), "named pipe"),
    "a pipe as weights": (pipe("model.safetensors"), "named pipe"),
    "a pipe as tokenizer": (pipe("tokenizer.json"), "named pipe"),
    "a pipe of any name": (pipe("generation_config.json"), "named pipe"),
    "shards above": (index("../a.safetensors"), "'../a.safetensors'"),
    "shards in ..": (index(".."), "'..'"),
    "shards in an absolute path": (index("/etc/passwd"), "'/etc/passwd'"),
    "a shard with NUL": (index("a\0b"), "expected the file"),
    "an index of 1 GB": (
        sparse("model.safetensors.index.json", 10**9),
        "at most 100,000,000 bytes",
    ),
    "a header of 2^60 bytes": (file("model.safetensors", b"\0" * 7 + b"\x10"), "loading failed"),
    "a header of 100 MB": (
        file("model.safetensors", (10**8 - 1).to_bytes(8, "little")),
        "loading failed",
    ),
    "a deep header": (header('{"a":' + "[" * 10**5), "loading failed"),
    "a shape of 2^40": (
        header('{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}', 4),
        "loading failed",
    ),
    "another file of weights": (claim(transformers_weights="../x.safetensors"), "loading failed"),
    "10 GB of bytes": (
        older(lambda target, _: target.write_bytes(pickle.dumps({"a": Bytes()}, protocol=2))),
        "bytearray",
    ),
    "weights to unpack": (older(deflated), "a compressed archive"),
    "a tokenizer that is none": (file("tokenizer.json", b'{"version": 3}'), "loading failed"),
    "a tokenizer with a broken map of characters": (
        lambda place: file(
            "tokenizer.json",
            json.dumps(
                json.loads((place / "tokenizer.json").read_text())
                | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "////"}}
            ).encode(),
        )(place),
        "loading failed",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_model_that_is_an_attack_is_refused(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_kernels, "load_and_register_attn_kernel", reached)
    attack, message = ATTACKS[name]
    attack(place)
    assert message in refusal(place)


def reached(*_: Any, **__: Any) -> None:
    raise AssertionError("the hub's kernels were asked")


@pytest.mark.parametrize("attention", ["eager", "sdpa", None])
def test_attention_that_comes_with_torch_is_loaded(place: Path, attention: str | None) -> None:
    claim(attn_implementation=attention)(place)
    assert load_backbone(str(place)).config.hidden_size == 32


@pytest.mark.parametrize("field", ["num_labels", "attn_implementation"])
def test_a_configuration_of_the_hub_is_checked_before_anything_is_made_of_it(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"model_type": "bert", "num_labels": 2, field: 10**9 if "num" in field else "a/b"}
    monkeypatch.setattr(PretrainedConfig, "get_config_dict", lambda *_, **__: (config, {}))
    for name in ("from_pretrained", "for_model"):
        monkeypatch.setattr(AutoConfig, name, reached)
    with pytest.raises(ModelError, match=field):
        load_backbone("owner/name")
    assert attention_heads("owner/name") is None


def test_weights_of_one_value_are_no_network(place: Path) -> None:
    weights = load_file(place / "model.safetensors")
    (place / "model.safetensors").unlink()
    torch.save({n: torch.zeros(1).expand(1 << 40) for n in weights}, place / "pytorch_model.bin")
    with memory_limit(1 << 29), pytest.raises(ModelError):
        load_backbone(str(place))


def test_as_many_labels_as_may_be_claimed_take_little_memory(place: Path) -> None:
    claim(num_labels=10**4)(place)
    with memory_limit(1 << 29):
        assert load_network(str(place), "classification").model.num_labels == 2


@pytest.mark.parametrize("number", NUMBERS)
def test_any_large_number_in_a_configuration_takes_little_memory(place: Path, number: int) -> None:
    config = json.loads((place / "config.json").read_text())
    for name, value in config.items():
        if type(value) is int:
            claim(**{name: number})(place)
            with memory_limit(1 << 30):
                try:
                    load_network(str(place), "classification")
                except TombolaError as error:
                    assert "\n" not in str(error), name  # noqa: PT017
            claim(**{name: value})(place)


def test_a_link_to_a_file_is_followed_as_the_cache_of_the_hub_needs(
    place: Path, tmp_path: Path
) -> None:
    (place / "model.safetensors").rename(tmp_path / "blob")
    (place / "model.safetensors").symlink_to(tmp_path / "blob")
    (place / "loose").symlink_to("nowhere")
    check_model_folder(place, "model")
    save_file(load_file(tmp_path / "blob"), tmp_path / "blob2")
    assert load_backbone(str(place)).config.hidden_size == 32
