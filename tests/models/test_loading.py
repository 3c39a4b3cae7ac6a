"""Networks are read as other programs write them, and what is damaged is refused in one line."""

import builtins
import json
import shutil
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from socket import gaierror
from ssl import SSLCertVerificationError
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tombola.base.errors import ModelError, TombolaError
from tombola.models import embedded, loading
from tombola.models.embedded import EMBEDDED, about, model_path
from tombola.models.network import load_backbone
from tombola.tasks.networks import load_network
from tombola.ticket.fingerprint import fingerprint
from tombola.ticket.mask import Tensors


def broken(folder: Path, tiny: Path, damage: str) -> str:
    shutil.copytree(tiny, folder)
    if damage == "weights":
        (folder / "model.safetensors").write_bytes(b"no weights")
    elif damage == "config":
        (folder / "config.json").write_text("{")
    else:
        for name in (folder / "model.safetensors", *folder.glob("tokenizer*")):
            if damage in name.name:
                name.unlink()
    return str(folder)


@pytest.mark.parametrize("damage", ["weights", "config", "model", "tokenizer"])
def test_a_damaged_folder_is_reported_in_one_line(tiny: Path, tmp_path: Path, damage: str) -> None:
    name = broken(tmp_path / "model", tiny, damage)
    what = "tokenizer next to the" if damage == "tokenizer" else "transformers model in"
    with pytest.raises(ModelError, match=f"expected a {what}") as caught:
        load_network(name, "classification")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


# files as other programs leave them


def rewritten(
    place: Path, folder: Path, change: Callable[[Tensors], Tensors], **config: object
) -> str:
    """A model with other tensors in its file, and other fields in its configuration."""
    shutil.copytree(place, folder)
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    found = json.loads(path.read_text()) | config
    path.write_text(json.dumps({name: value for name, value in found.items() if value != "gone"}))
    return str(folder)


def under(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def with_tensor(name: str, tensor: torch.Tensor) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: tensor}


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "a.b.auto_model.", "x.bert."]
)
@pytest.mark.parametrize("headed", [False, True])
def test_prefixes_before_every_name_are_taken_off(
    tiny: Path, finetuned: Path, tmp_path: Path, prefix: str, headed: bool
) -> None:
    plain = finetuned if headed else tiny
    wrapped = rewritten(plain, tmp_path / "m", under(prefix))
    assert fingerprint(load_backbone(wrapped)) == fingerprint(load_backbone(str(plain)))
    for kind in ("classification", "span", "mlm"):
        ours, theirs = (load_network(place, kind, 3) for place in (wrapped, str(plain)))
        assert (ours.fingerprint, ours.config_digest) == (theirs.fingerprint, theirs.config_digest)
        assert ours.replaced == theirs.replaced


def test_a_configuration_without_a_type_is_read_by_its_classes(
    finetuned: Path, tmp_path: Path
) -> None:
    place = rewritten(finetuned, tmp_path / "m", dict, model_type="gone")
    for kind, classes in (("classification", 5), ("span", 2)):
        ours, theirs = (load_network(one, kind, classes) for one in (place, str(finetuned)))
        assert (ours.fingerprint, ours.config_digest) == (theirs.fingerprint, theirs.config_digest)
        assert [p.shape for p in ours.model.parameters()] == [
            p.shape for p in theirs.model.parameters()
        ]
    assert fingerprint(load_backbone(place)) == ours.fingerprint
    bare = rewritten(finetuned, tmp_path / "n", dict, model_type="gone", architectures="gone")
    with pytest.raises(ModelError, match=r"expected a model_type .*\"model_type\": \"bert\""):
        load_backbone(bare)


LAYER = "encoder.layer.1.attention.self"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (f"{LAYER}.distance_embedding.weight", torch.zeros(7, 8), "1 more, first .*distance_emb"),
        ("embeddings.extra.weight", torch.zeros(3), "got 1 more, first .*embeddings.extra"),
        (f"{LAYER}.query.lora_A.default.weight", torch.zeros(2, 32), "an adapter in it"),
        (f"{LAYER}.query.weight_scale", torch.zeros(1), "got quantised ones: .*weight_scale"),
        (f"{LAYER}.query.weight", torch.zeros(32, 32, dtype=torch.int8), "quantised .* I8"),
        (f"{LAYER}.query.weight", torch.full((32, 32), torch.nan), "in 1,024 of the 1,024 values"),
        (
            "pooler.dense.bias",
            torch.tensor([torch.inf] * 32),
            r"infinity .* of (bert\.)?pooler\.",
        ),
        (f"{LAYER}.query.weight", torch.zeros(48, 32), r"of shape \(32, 32\), as the config"),
    ],
)
def test_weights_that_would_make_another_network_are_refused_by_name(
    tiny: Path, tmp_path: Path, name: str, tensor: torch.Tensor, message: str
) -> None:
    place = rewritten(tiny, tmp_path / "m", with_tensor(name, tensor))
    attempts: list[Callable[[], object]] = [
        lambda: load_backbone(place),
        lambda: load_network(place, "classification"),
    ]
    for attempt in attempts:
        with pytest.raises(ModelError, match=message) as refused:
            attempt()
        assert "\n" not in str(refused.value)
        assert "above report" not in str(refused.value)


def test_tables_and_heads_of_other_programs_are_no_part_of_the_network(
    tiny: Path, tmp_path: Path
) -> None:
    def add(tensors: Tensors) -> Tensors:
        more = {"embeddings.position_ids": torch.arange(9), "nsp.weight": torch.zeros(2, 2)}
        return tensors | more | {"encoder.layer.0.attention.bias": torch.ones(1, 1, 4, 4)}

    place = rewritten(tiny, tmp_path / "m", add)
    assert load_network(place, "span").fingerprint == fingerprint(load_backbone(str(tiny)))


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_called_so(tiny: Path, tmp_path: Path, file: str) -> None:
    place = tmp_path / "m"
    shutil.copytree(tiny, place)
    (place / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ModelError, match=f"the file {file} .*pointer of git-LFS.*git lfs pull"):
        load_network(str(place), "classification")


@pytest.mark.parametrize("base", [True, False])
def test_an_adapter_is_called_so_with_and_without_its_base(
    tiny: Path, tmp_path: Path, base: bool
) -> None:
    place = tmp_path / "m"
    shutil.copytree(tiny, place)
    if not base:
        (place / "config.json").unlink()
    (place / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ModelError, match=r"got an adapter, such as LoRA's .*merge_and_unload"):
        load_backbone(str(place))


def test_quantised_weights_are_called_so(tiny: Path, tmp_path: Path) -> None:
    how = {"quant_method": "gptq", "bits": 4}
    place = rewritten(tiny, tmp_path / "m", dict, quantization_config=how)
    with pytest.raises(ModelError, match="got quantised ones: quantization_config of 'gptq'"):
        load_backbone(place)


class Caller:
    """What a pickle can call when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("import builtins; builtins.caller_ran = True",))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (f"{LAYER}.query.weight", torch.zeros(32, 32, dtype=torch.int8), "of type torch.int8"),
        (f"{LAYER}.query.qweight", torch.zeros(4, 4, dtype=torch.int32), "quantised .*qweight"),
        (f"{LAYER}.query.weight", torch.zeros(32, 32, dtype=torch.bool), "of type torch.bool"),
        (f"{LAYER}.query.weight", Caller(), "a pickle that wants to run code.* in safetensors"),
    ],
)
def test_older_files_of_weights_are_looked_at_as_safetensors_are(
    tiny: Path, tmp_path: Path, name: str, tensor: Any, message: str
) -> None:
    place = Path(rewritten(tiny, tmp_path / "m", dict))
    held = load_file(place / "model.safetensors")
    (place / "model.safetensors").unlink()
    torch.save(held | {name: tensor}, place / "pytorch_model.bin")
    with pytest.raises(ModelError, match=message):
        load_backbone(str(place))
    assert not hasattr(builtins, "caller_ran")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pickled", [True, False])
def test_no_floating_point_file_passes_for_a_quantised_one(
    tiny: Path, tmp_path: Path, dtype: torch.dtype, pickled: bool
) -> None:
    place = rewritten(
        tiny, tmp_path / "m", lambda held: {name: t.to(dtype) for name, t in held.items()}
    )
    if pickled:
        file = Path(place) / "model.safetensors"
        torch.save(load_file(file), Path(place) / "pytorch_model.bin")
        file.unlink()
    network = load_backbone(place)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert dtype != torch.float64 or fingerprint(network) == fingerprint(load_backbone(str(tiny)))


@pytest.mark.parametrize("damage", ["missing", "outside", "no map"])
def test_an_index_whose_files_are_not_next_to_it_is_refused_by_name(
    tiny: Path, tmp_path: Path, damage: str
) -> None:
    place = Path(rewritten(tiny, tmp_path / "m", dict))
    file = "../b.safetensors" if damage == "outside" else "b.safetensors"
    names = load_file(place / "model.safetensors")
    target = tmp_path / "elsewhere" if damage == "missing" else place / file
    (place / "model.safetensors").rename(target)
    index = {} if damage == "no map" else {"weight_map": dict.fromkeys(names, file)}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"weight_map|expected the file '(\.\./)?b.safetensors'"):
        load_network(str(place), "classification")


def test_two_networks_in_one_file_are_called_so(tiny: Path, tmp_path: Path) -> None:
    def twice(held: Tensors) -> Tensors:
        copies = {name: tensor.clone() for name, tensor in held.items()}
        return under("student.")(held) | under("teacher.")(copies)

    place = rewritten(tiny, tmp_path / "m", twice)
    with pytest.raises(ModelError, match=r"got 2, under 'student\.(bert\.)?', 'teacher\."):
        load_backbone(place)


def test_a_model_with_code_of_its_own_is_called_so(tiny: Path, tmp_path: Path) -> None:
    its = {"model_type": "other", "auto_map": {"AutoConfig": "a.B", "AutoModel": "a.C"}}
    place = rewritten(tiny, tmp_path / "m", dict, **its)
    with pytest.raises(ModelError, match="brings code of its own, and no model's code is ever run"):
        load_network(place, "classification")


def test_a_quantised_model_of_the_hub_is_refused_by_what_is_cached(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tombola.models import stored_types as stored

    place = rewritten(tiny, tmp_path / "m", dict, quantization_config={"quant_method": "awq"})
    monkeypatch.setattr(
        stored, "try_to_load_from_cache", lambda model, name: str(Path(place) / name)
    )
    with pytest.raises(ModelError, match=r"'some/model', got quantised ones: .*'awq'"):
        stored.check_files("some/model")


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_a_question_answering_head_stands_on_the_backbone_or_is_refused(
    tiny: Path, tmp_path: Path, name: str
) -> None:
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    words = AutoTokenizer.from_pretrained(tiny)
    small = {"vocab_size": len(words), "pad_token_id": 0, "num_hidden_layers": 1}
    if name == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
        t5 = AutoConfig.for_model("t5", **small, **sizes)
        AutoModel.from_config(t5).save_pretrained(tmp_path)
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
        config = AutoConfig.for_model("llama", **small, **sizes, num_key_value_heads=2)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    if name == "llama":
        network = load_network(str(tmp_path), "span")
        assert network.fingerprint == fingerprint(load_backbone(str(tmp_path)))
        return
    with pytest.raises(ModelError, match="'span' needs a head on a backbone, and that of T5"):
        load_network(str(tmp_path), "span")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_link_to_nothing_is_refused_in_one_line(name: str, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    place = tmp_path / "model" / name
    place.unlink(missing_ok=True)
    place.symlink_to(tmp_path / "gone")
    with pytest.raises(ModelError, match=f"got '{name}': No such file or directory. Fetch it"):
        model_path(str(tmp_path / "model"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minni", "there is no model 'minni'. Did you mean 'mini'?"),
        ("{tmp}", "expected a model folder with config.json, got "),
        ("{tmp}/nowhere", "expected a model folder, got nothing at "),
        ("{tmp}/file", "expected a model folder, got a file at "),
        ("./nowhere", "expected a model folder, got nothing at "),
        ("some-one/some-model", "neither embedded (mini) nor a folder"),
    ],
)
def test_a_model_that_is_not_there_is_reported_in_one_line(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "hub_answers", lambda: False)
    (tmp_path / "file").touch()
    with pytest.raises(TombolaError) as caught:
        load_backbone(name.format(tmp=tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hub_is_not_asked_where_the_user_forbids_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(loading, "urlopen", asked)
    assert loading.hub_answers() is False


@pytest.mark.parametrize(
    ("came", "answers"),
    [
        (HTTPError("https://hub", 401, "who are you", Message(), None), True),
        (URLError(SSLCertVerificationError("no local certificates")), True),
        (URLError(gaierror("no such name")), False),
        (TimeoutError(), False),
    ],
)
def test_the_hub_is_asked_again_after_a_minute(
    came: Exception, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    clock = [0.0]

    def ask(*_: object, **__: object) -> None:
        asked.append(clock[0])
        raise came

    monkeypatch.setattr(loading, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(loading, "urlopen", ask)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    loading._answered_in.cache_clear()
    for clock[0] in (0.0, 1.0, 59.0, 61.0):
        assert loading.hub_answers() is answers
    assert asked == [0.0, 61.0]
    loading._answered_in.cache_clear()


def test_an_embedded_name_stands_for_its_folder(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(embedded.EMBEDDED, "mini", tiny)
    assert model_path("mini") == str(tiny) == model_path(str(tiny))
    assert model_path("some-one/some-model") == "some-one/some-model"
    name, kind, size, source = about("mini")
    assert (name, kind) == ("mini", "2 layers of 32, bert")
    assert size.endswith(" MB")
    assert source
    assert list(EMBEDDED) == ["mini"]
