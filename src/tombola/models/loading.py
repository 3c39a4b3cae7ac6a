"""Networks from their files: loaded completely and unchanged, or refused in one line."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
import transformers
from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig, PreTrainedModel

from tombola.base.errors import ModelError
from tombola.models.checks.built_size import no_larger
from tombola.models.checks.claims import check_claims
from tombola.models.embedded import EMBEDDED, model_path
from tombola.models.files import config_of
from tombola.models.quiet import quiet
from tombola.models.stored_types import check_files, files_of
from tombola.ticket.scope import backbone, ends_with

__all__ = [
    "Report",
    "hub_answers",
    "inside",
    "load_configuration",
    "load_network_files",
    "load_with",
]

BUFFERS = re.compile(
    r"(^|\.)(position_ids|token_type_ids|inv_freq|masked_bias|num_batches_tracked)$"
    r"|\.(attn|attention)\.bias$"
)
"""Buffers in older files: tables that a network computes by itself."""

ADAPTED = re.compile(r"(^|\.)(lora_[AB]|lora_embedding_[AB]|base_layer|adapter\w*|ia3_l)(\.|$)")
"""Parts of names that adapters add to a network."""

REMEMBERED = 60.0
"""Seconds for which the answer to whether the hub can be reached holds."""

LONGEST_REASON = 300
"""Characters of a library's error message that are shown."""

Report = Mapping[str, Collection[Any]]
"""missing_keys, unexpected_keys and mismatched_keys, as transformers reports them."""


def load_with(load: Callable[..., Any], model: str, **settings: Any) -> Any:
    """Load something of a model; whatever fails becomes one line.

    Raises: ModelError, if there is no such model, or its files can't be used.
    """
    place = model_path(model)
    if (untyped := _untyped(place, model)) is not None:
        for name in ("num_labels", "problem_type"):
            if name in settings:
                setattr(untyped, name, settings.pop(name))
        settings["config"] = untyped
    cached = not Path(place).is_dir() and not hub_answers()
    try:
        with quiet():
            if not Path(place).is_dir():
                found, _ = PretrainedConfig.get_config_dict(place, local_files_only=cached)
                check_claims(found, model)
            return load(place, trust_remote_code=False, local_files_only=cached, **settings)
    except ModelError:
        raise
    except Exception as error:
        raise _unloadable(model, place, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of a library in Rust
            raise
        raise _unloadable(model, place, RuntimeError(str(error))) from error


def load_configuration(model: str) -> Any:
    """The configuration of a model.

    Raises: ModelError, if there is none.
    """
    untyped = _untyped(model_path(model), model)
    return load_with(AutoConfig.from_pretrained, model) if untyped is None else untyped


def _untyped(place: str, model: str) -> Any:
    """The configuration in a folder that doesn't say its type, by its classes; None for others."""
    folder = Path(place)
    found = config_of(folder) if folder.is_dir() else {}
    if not found or found.get("model_type"):
        return None
    classes = found.get("architectures") or []
    for name in classes if isinstance(classes, list) else [classes]:
        kind = getattr(getattr(transformers, str(name), None), "config_class", None)
        if kind is not None and kind.model_type in CONFIG_MAPPING:
            return kind.from_pretrained(folder)
    raise ModelError(
        f"expected a model_type in the config.json of {model!r}, got none, and no architectures "
        f'that show it. Add a line with its type, such as "model_type": "bert".'
    )


def load_network_files(
    load_from: Callable[..., Any], model: str, *, kind: str = "", **settings: Any
) -> tuple[PreTrainedModel, Report]:
    """A network with all weights of its backbone from the files, as float32 on the CPU.

    Wrappers' prefixes of all names (`module.`, `_orig_mod.`, `model.`) are removed. A head
    of another size in the files counts as missing.

    Args:
        load_from: `from_pretrained` of a class.
        model: an embedded name, a folder, or a hub id.
        kind: the kind of the task whose head the class has; empty for a bare backbone.
        **settings: arguments for `from_pretrained`.

    Returns: the network, and how its parameters and the files' tensors differ.
    Raises: ModelError, if the head has no backbone of its own; if the files lack a weight of the
        backbone or hold additional ones, except the pooler, which some heads drop; or if a weight
        isn't finite.
    """
    settings |= {"dtype": torch.float32, "output_loading_info": True}
    settings["ignore_mismatched_sizes"] = True
    load_configuration(model)
    check_files(model)
    with no_larger(lambda: files_of(model), model):
        network, report = load_with(load_from, model, **settings)
    check_files(model)  # of the hub, which are here now
    _check_unadapted(network, model)
    if kind and backbone(network) is network:
        raise ModelError(
            f"a task of the kind {kind!r} needs a head on a backbone, and that of "
            f"{type(network).__name__} in transformers has no backbone of its own under it; "
            f"{model!r} can't do it. Use another task or another model."
        )
    if _lost(network, report) and (renamed := _renaming(network, report["unexpected_keys"])):
        network, report = load_with(load_from, model, key_mapping=renamed, **settings)
    _check_sizes(network, report, model)
    _check_unexpected(network, report, model)
    _check_whole(network, report, model)
    _check_finite(network, report, model)
    return network, report


def _check_unadapted(network: PreTrainedModel, model: str) -> None:
    """Refuse an adapter that transformers has loaded into a network by itself."""
    if getattr(network, "_hf_peft_config_loaded", False):
        raise ModelError(
            f"expected a whole network in {model!r}, got an adapter next to its base. Merge it "
            f"with peft's merge_and_unload(), and save that with save_pretrained()."
        )


def inside(network: nn.Module) -> set[int]:
    """Identities of the backbone's parameters without its pooler: those of the fingerprint."""
    body = backbone(network)
    return {id(p) for name, p in body.named_parameters() if not name.startswith("pooler.")}


def _lost(network: nn.Module, report: Report) -> list[str]:
    """Names of the backbone's parameters that the files lack, sorted."""
    own = inside(network)
    missing = set(report["missing_keys"])
    return sorted(n for n, p in network.named_parameters() if n in missing and id(p) in own)


def _own_prefix(network: nn.Module) -> str:
    """The prefix of the backbone's names in the network: empty without a head."""
    return "" if backbone(network) is network else f"{network.base_model_prefix}."


def _renaming(network: nn.Module, theirs: Iterable[str]) -> dict[str, str]:
    """Pattern -> replacement that turns the files' names into the network's; empty if none does."""
    fits = _prefixes(network, theirs)
    if len(fits) != 1 or not fits[0]:
        return {}
    prefix, own = fits[0], _own_prefix(network)
    if own and prefix.endswith(own):  # so that the head's names lose it, too
        prefix, own = prefix.removesuffix(own), ""
    return {f"^{re.escape(prefix)}": own}


def _prefixes(network: nn.Module, theirs: Iterable[str]) -> list[str]:
    """The prefixes of the backbones in files, one for each complete backbone."""
    names = set(theirs)
    body = [name for name, _ in backbone(network).named_parameters()]
    wanted = [name for name in body if not name.startswith("pooler.")]
    prefixes = {name.removesuffix(wanted[0]) for name in names if ends_with(name, wanted[0])}
    return sorted(p for p in prefixes if all(f"{p}{name}" in names for name in wanted))


def _check_sizes(network: nn.Module, report: Report, model: str) -> None:
    """Refuse a configuration that makes other matrices than the files hold."""
    own = {n for n, p in network.named_parameters() if id(p) in inside(network)}
    for name, theirs, ours in sorted(report["mismatched_keys"]):
        if name in own:
            raise ModelError(
                f"expected {name} of shape {tuple(ours)}, as the config.json of {model!r} says, "
                f"got {tuple(theirs)} in its weights. Put the configuration of these weights there."
            )


def _check_unexpected(network: nn.Module, report: Report, model: str) -> None:
    """Refuse weights of the backbone that this network has no place for."""
    body, own = backbone(network), _own_prefix(network)
    parts = {name for name, _ in body.named_children()}
    named = str(getattr(network, "base_model_prefix", "")) + "."
    odd = []
    for name in sorted(report["unexpected_keys"]):
        within = name.removeprefix(own or named)
        adapted = bool(ADAPTED.search(name))
        if not adapted and (within.startswith("pooler") or BUFFERS.search(name)):
            continue
        if adapted or within != name or within.split(".")[0] in parts:
            odd.append(name)
    if not odd:
        return
    if any(ADAPTED.search(name) for name in odd):
        raise ModelError(
            f"expected the weights of {type(body).__name__} in {model!r}, got those of an adapter "
            f"in it: {odd[0]}. Merge it into its base with peft's merge_and_unload(), and save "
            f"that."
        )
    if not _lost(network, report):
        raise ModelError(
            f"expected the weights of {type(body).__name__} in {model!r}, got {len(odd)} more, "
            f"first {odd[0]}, for which this version of transformers has no place: it would be "
            "another network. Use a model without them."
        )


def _check_whole(network: nn.Module, report: Report, model: str) -> None:
    """Refuse files that lack weights of the backbone, its pooler aside."""
    lost = _lost(network, report)
    if not lost:
        return
    found = sorted(report["unexpected_keys"])
    if len(several := _prefixes(network, found)) > 1:
        raise ModelError(
            f"expected the weights of one network in {model!r}, got {len(several)}, under "
            f"{', '.join(map(repr, several))}. Save the one that is meant, alone."
        )
    raise ModelError(
        f"expected the weights of {type(backbone(network)).__name__} in {model!r}, and its "
        f"files lack {len(lost)} of them, first {lost[0]}"
        + (f"; they hold others, first {found[0]}" if found else "")
        + ". Give the folder of the whole model, as save_pretrained() writes it."
    )


def _check_finite(network: nn.Module, report: Report, model: str) -> None:
    """Refuse weights from the files that are NaN or infinite."""
    drawn = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    for name, parameter in network.named_parameters():
        if name not in drawn and not bool(torch.isfinite(parameter).all()):
            count = int((~torch.isfinite(parameter)).sum())
            raise ModelError(
                f"expected finite weights in {model!r}, got NaN or infinity in {count:,} of the "
                f"{parameter.numel():,} values of {name}. Fetch the files again, or use an earlier "
                "checkpoint."
            )


def hub_answers() -> bool:
    """Whether the hub can be reached; tried once a minute, not for each file, whose retries take
    as long."""
    return not HF_HUB_OFFLINE and _answered_in(int(time.monotonic() // REMEMBERED))


@lru_cache(maxsize=1)
def _answered_in(minute: int) -> bool:
    """Whether the hub's address answers; an error of HTTP or of TLS is an answer, too.

    Python may lack certificates that the hub's own client has, as it often does on macOS.
    """
    try:
        with urlopen(Request(ENDPOINT, method="HEAD"), timeout=10):
            return True
    except HTTPError:
        return True
    except OSError as error:
        return isinstance(getattr(error, "reason", None), SSLError)


def _unloadable(model: str, place: str, error: Exception) -> ModelError:
    """One line for the many ways in which loading fails."""
    reason = " ".join(re.sub(r"\s*For details look at .*report!?", "", str(error)).split())
    if "trust_remote_code" in reason:
        return ModelError(
            f"expected a network that transformers knows in {model!r}, got one that brings code of "
            "its own, and no model's code is ever run. Use a model without any."
        )
    if "weights_only" in reason:
        return ModelError(
            f"expected tensors and nothing else in the weights of {model!r}, got a pickle that "
            "wants to run code, or other bytes; none of it was run. Use a model with weights in "
            "safetensors."
        )
    reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}…"
    if Path(place).is_dir():
        return ModelError(
            f"expected a transformers model in {model!r}, but loading failed: {reason}"
        )
    return ModelError(
        f"{model!r} is neither embedded ({', '.join(EMBEDDED)}) nor a folder here, and the hub "
        f"gave no such model: {reason} Without a network, download it elsewhere and give its "
        f"folder."
    )
