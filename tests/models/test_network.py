"""Going back to the pre-trained weights is exact, and chance comes from the seed alone."""

import hashlib
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForMaskedLM, BertModel

from tombola.base.errors import ModelError, SpecError
from tombola.models.network import Network, load_backbone
from tombola.tasks.kinds.kind import TASK_KINDS
from tombola.tasks.networks import load_network
from tombola.ticket.fingerprint import fingerprint, weights_digest
from tombola.ticket.mask import Tensors

KINDS = {"classification": 3, "regression": 1, "span": 2, "mlm": 2}


@pytest.fixture(scope="module")
def networks(tiny: Path) -> dict[str, Network]:
    return {kind: load_network(str(tiny), kind, classes) for kind, classes in KINDS.items()}


@pytest.fixture(scope="module")
def pretrained(tiny: Path) -> Tensors:
    """What stands in the files, read without our code."""
    return {name: p.detach().clone() for name, p in read(tiny).named_parameters()}


def read(folder: Path) -> BertModel:
    model = BertModel.from_pretrained(folder)
    assert isinstance(model, BertModel)
    return model


def weights(network: Network) -> Tensors:
    return {name: p.detach().clone() for name, p in network.model.named_parameters()}


def backbone(network: Network) -> Tensors:
    own = dict(network.model.base_model.named_parameters())
    return {name: parameter.detach().clone() for name, parameter in own.items()}


def head(network: Network) -> Tensors:
    return {name: weight for name, weight in weights(network).items() if name in network.fresh}


def same(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def spoil(network: Network) -> None:
    with torch.no_grad():
        for parameter in network.model.parameters():
            parameter.add_(torch.randn_like(parameter))


@pytest.mark.parametrize("kind", KINDS)
def test_rewinding_returns_every_bit_of_the_pretrained_weights(
    kind: str, networks: dict[str, Network], pretrained: Tensors
) -> None:
    network = networks[kind]
    network.rewind(0)
    before = weights(network)
    spoil(network)
    network.rewind(0)
    assert same(weights(network), before)
    mine = backbone(network)
    assert mine.keys() <= pretrained.keys()
    assert all("pooler" in name for name in pretrained.keys() - mine.keys())
    assert same(mine, {name: pretrained[name] for name in mine})


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_and_nothing_else_is_fresh(kind: str, networks: dict[str, Network]) -> None:
    network = networks[kind]
    parameters = dict(network.model.named_parameters())
    inside = {id(parameter) for parameter in network.model.base_model.parameters()}
    outside = {name for name, parameter in parameters.items() if id(parameter) not in inside}
    assert outside
    assert network.fresh & parameters.keys() == outside


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_the_head_whatever_was_drawn_before(
    kind: str, networks: dict[str, Network], tiny: Path
) -> None:
    network, again = networks[kind], load_network(str(tiny), kind, KINDS[kind])
    torch.manual_seed(1)
    state = torch.get_rng_state()
    network.rewind(7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again.rewind(3)
    again.rewind(7)
    assert same(head(network), head(again))
    again.rewind(8)
    matrices = [name for name, weight in head(network).items() if weight.ndim > 1]
    assert matrices
    for name in matrices:
        assert not torch.equal(head(network)[name], head(again)[name])
        assert head(network)[name].std() == pytest.approx(0.2, rel=0.4)
    for name in head(network).keys() - matrices:
        expected = 1.0 if "LayerNorm.weight" in name else 0.0
        assert (head(network)[name] == expected).all()


@pytest.mark.parametrize("scope", ["encoder", "encoder+pooler"])
@pytest.mark.parametrize("init", ["reinit", "shuffle"])
def test_an_initialisation_changes_the_scope_and_nothing_else(
    init: str, scope: str, networks: dict[str, Network]
) -> None:
    network = networks["classification"]
    network.rewind(5)
    before = weights(network)
    spoil(network)
    network.rewind(5, init=init, scope=scope)
    after = weights(network)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"bert.{name}" for name in network.scope(scope)}
    for name in changed:
        values = [tensors[name].flatten().sort().values for tensors in (before, after)]
        assert torch.equal(*values) == (init == "shuffle")


def test_whole_blocks_change_places_in_the_network_and_none_is_lost(tiny: Path) -> None:
    network, orders = load_network(str(tiny), "classification"), set()
    start = {name: network.pretrained[f"bert.{name}"] for name in network.scope("encoder")}
    for seed in range(6):
        spoil(network)
        network.rewind(seed, init="shuffle-layers")
        for within in {name.split(".", 3)[3] for name in start}:
            names = [f"encoder.layer.{number}.{within}" for number in (0, 1)]
            moved = [network.scope("encoder")[name] for name in names]
            order = [
                next(n for n, name in enumerate(names) if torch.equal(one, start[name]))
                for one in moved
            ]
            assert sorted(order) == [0, 1]
            orders.add((seed, *order))
    assert len(orders) == 6  # one for all matrices of a seed
    assert {order[1:] for order in orders} == {(1, 0)}  # the only one that moves any of two


def test_weights_are_a_copy_that_brings_every_bit_back(networks: dict[str, Network]) -> None:
    for network in networks.values():
        spoil(network)
        before, copy = weights(network), network.weights()
        assert same(copy, before)
        assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in copy.values())
        spoil(network)
        assert same(copy, before)
        assert not same(weights(network), before)
        network.load(copy)
        assert same(weights(network), before)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_head_is_loaded_where_only_it_is_asked_for(
    kind: str, networks: dict[str, Network]
) -> None:
    network = networks[kind]
    network.rewind(0)
    spoil(network)
    trained = network.weights()
    network.rewind(0)
    body = backbone(network)
    network.load({**trained, "whatever": torch.zeros(1)}, only_head=True)
    assert same(backbone(network), body)
    assert head(network)
    assert all(torch.equal(trained[name], weight) for name, weight in head(network).items())


def test_a_pretrained_head_is_a_head_too(networks: dict[str, Network], tmp_path: Path) -> None:
    networks["mlm"].model.save_pretrained(tmp_path)
    networks["mlm"].tokenizer.save_pretrained(tmp_path)
    network = load_network(str(tmp_path), "mlm")
    assert not network.fresh
    assert network.head == networks["mlm"].head
    trained = {name: weight + 1 for name, weight in network.weights().items()}
    network.load(trained, only_head=True)
    moved = {n for n, w in weights(network).items() if not torch.equal(w, network.pretrained[n])}
    assert moved == network.head


@pytest.mark.parametrize(("source", "target"), [("mlm", "classification"), ("regression", "mlm")])
def test_a_trained_backbone_goes_under_another_head_which_stays(
    source: str, target: str, networks: dict[str, Network]
) -> None:
    trained, network = networks[source], networks[target]
    trained.rewind(0)
    spoil(trained)
    network.rewind(1)
    fresh, before = head(network), backbone(network)
    network.load_body(trained.weights())
    assert same(head(network), fresh)
    shared = backbone(network).keys() & backbone(trained).keys()
    assert all("pooler" in name for name in before.keys() - shared)
    assert all(torch.equal(backbone(network)[n], backbone(trained)[n]) for n in shared)
    alone = before.keys() - shared
    assert all(torch.equal(backbone(network)[name], before[name]) for name in alone)


def test_what_lacks_a_weight_in_scope_is_no_backbone(networks: dict[str, Network]) -> None:
    network = networks["mlm"]
    network.rewind(0)
    before, others = weights(network), network.weights()
    del others["bert.encoder.layer.1.output.dense.weight"]
    with pytest.raises(ModelError, match=r"got none with bert\.encoder\.layer\.1\.output"):
        network.load_body({name: weight + 1 for name, weight in others.items()})
    assert same(weights(network), before)


@pytest.mark.parametrize("only_head", [False, True])
def test_weights_of_another_network_are_refused_and_nothing_is_loaded(
    networks: dict[str, Network], only_head: bool
) -> None:
    network = networks["classification"]
    before = weights(network)
    for change, message in (
        ({"classifier.bias": torch.zeros(2)}, r"classifier.bias has \(2,\) and the network \(3,\)"),
        ({"classifier.bias": None}, r"classifier.bias has no such weight and the network \(3,\)"),
    ):
        others = {name: weight + 1 for name, weight in before.items()} | change
        others = {name: weight for name, weight in others.items() if weight is not None}
        with pytest.raises(ModelError, match=message) as refused:
            network.load(others, only_head=only_head)
        assert "\n" not in str(refused.value)
        assert same(weights(network), before)
    if not only_head:
        with pytest.raises(ModelError, match=r"whatever has .* and the network no such weight"):
            network.load({**before, "whatever": torch.zeros(1)})


def test_the_digest_of_weights_is_that_of_names_shapes_and_bits() -> None:
    given = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([-0.0])}
    digest = weights_digest(given)
    expected = hashlib.sha256(b"a 1\n" + struct.pack("<f", -0.0))
    expected.update(b"b 2x3\n" + struct.pack("<6f", *range(6)))
    assert digest == weights_digest(dict(reversed(given.items()))) == expected.hexdigest()
    assert weights_digest({**given, "a": torch.tensor([0.0])}) != digest
    assert weights_digest({**given, "b": given["b"].reshape(3, 2)}) != digest


def test_an_initialisation_is_drawn_from_the_seed(networks: dict[str, Network]) -> None:
    network, drawn = networks["classification"], []
    for seed in (0, 0, 1):
        network.rewind(seed, init="reinit")
        drawn.append(backbone(network))
    assert same(drawn[0], drawn[1])
    assert not same(drawn[0], drawn[2])


# precision


@pytest.fixture(scope="module")
def half(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "half"
    model: Any = read(tiny)
    model.half().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return folder


def test_half_precision_files_are_trained_in_single_precision(half: Path, tiny: Path) -> None:
    loaded = {kind: load_network(str(half), kind, n) for kind, n in KINDS.items()}
    for network in loaded.values():
        assert {tensor.dtype for tensor in weights(network).values()} == {torch.float32}
        assert {tensor.dtype for tensor in network.pretrained.values()} == {torch.float32}
    backbone_alone = load_backbone(str(half))
    assert backbone_alone.dtype == torch.float32
    rounded: Any = read(tiny)
    expected = fingerprint(rounded.half())
    assert {network.fingerprint for network in loaded.values()} == {expected}
    assert fingerprint(backbone_alone) == expected != fingerprint(load_backbone(str(tiny)))


def test_the_fingerprint_is_the_same_under_every_head(
    networks: dict[str, Network], tiny: Path
) -> None:
    expected = fingerprint(load_backbone(str(tiny)))
    assert {network.fingerprint for network in networks.values()} == {expected}


# heads and limits


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_has_the_outputs_of_its_task(kind: str, networks: dict[str, Network]) -> None:
    network = networks[kind]
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.inference_mode():
        output: Any = network.model.eval()(input_ids=ids)
    if kind == "span":
        assert output.start_logits.shape == output.end_logits.shape == (1, 4)
    else:
        words = len(network.tokenizer)
        shapes = {"classification": (1, 3), "regression": (1, 1), "mlm": (1, 4, words)}
        assert output.logits.shape == shapes[kind]
    assert set(TASK_KINDS) == set(KINDS)


def test_a_pooler_that_was_not_pretrained_is_not_pruned(tiny: Path, tmp_path: Path) -> None:
    config: Any = read(tiny).config
    BertForMaskedLM(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    network = load_network(str(tmp_path), "classification")
    with pytest.raises(ModelError, match=r"bert\.pooler\.dense\.weight.*Use the scope 'encoder'"):
        network.scope("encoder+pooler")
    assert len(network.scope("encoder")) == 12
    assert network.fresh >= {"bert.pooler.dense.weight", "classifier.weight"}


def test_an_example_longer_than_the_network_is_refused(networks: dict[str, Network]) -> None:
    network = networks["mlm"]
    network.check_length(128)
    with pytest.raises(SpecError, match=r"at most 128 tokens .* got an example of 129"):
        network.check_length(129)


def test_a_span_has_two_ends_whatever_the_configuration_says(tiny: Path, tmp_path: Path) -> None:
    for path in tiny.iterdir():
        shutil.copy(path, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {"0": "entailment", "1": "neutral", "2": "contradiction"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    network: Any = load_network(str(tmp_path), "span").model
    assert network.qa_outputs.out_features == 2


def test_a_head_that_would_read_padding_is_refused(tiny: Path, tmp_path: Path) -> None:
    from transformers import XLNetConfig, XLNetModel

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    config = XLNetConfig(vocab_size=len(tokenizer), d_model=8, n_layer=1, n_head=2, d_inner=16)
    XLNetModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="xlnet reads a text off its last token"):
        load_network(str(tmp_path), "classification")


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_head_in_the_files_is_drawn_afresh_from_each_seed(
    finetuned: Path, tiny: Path, classes: int
) -> None:
    network = load_network(str(finetuned), "classification", classes)
    assert network.replaced == ({"classifier.weight", "classifier.bias"} & network.fresh)
    plain = load_network(str(tiny), "classification", classes)
    heads = []
    for seed in (0, 1):
        network.rewind(seed)
        plain.rewind(seed)
        assert same(head(network), head(plain))
        heads.append(head(network)["classifier.weight"])
    assert not torch.equal(*heads)
    assert heads[0].shape[0] == classes
    assert (network.fingerprint, network.config_digest) == (plain.fingerprint, plain.config_digest)
    assert not plain.replaced


def test_a_head_in_the_files_is_kept_where_it_is_asked_for_and_named(finetuned: Path) -> None:
    kept = load_network(str(finetuned), "classification", 3, head="checkpoint")
    assert kept.fresh == frozenset()
    stored = load_file(finetuned / "model.safetensors")["classifier.weight"]
    for seed in (0, 1):
        spoil(kept)
        kept.rewind(seed)
        assert torch.equal(weights(kept)["classifier.weight"], stored)
    fresh = load_network(str(finetuned), "classification", 3)
    assert kept.fingerprint == fresh.fingerprint
    assert kept.config_digest != fresh.config_digest


@pytest.mark.parametrize(
    ("kind", "classes", "came"), [("classification", 2, r"\(3, 32\)|\(3,\)"), ("span", 2, "none")]
)
def test_a_head_that_the_files_lack_cannot_be_kept(
    finetuned: Path, kind: str, classes: int, came: str
) -> None:
    with pytest.raises(ModelError, match=f"head 'checkpoint' .*got .*({came})") as refused:
        load_network(str(finetuned), kind, classes, head="checkpoint")
    assert "\n" not in str(refused.value)


def test_the_head_of_masked_language_modelling_stays_pre_trained(
    networks: dict[str, Network], tmp_path: Path
) -> None:
    networks["mlm"].rewind(0)
    networks["mlm"].model.save_pretrained(tmp_path)
    networks["mlm"].tokenizer.save_pretrained(tmp_path)
    loaded = [load_network(str(tmp_path), "mlm", 2, head=head) for head in ("fresh", "checkpoint")]
    assert {one.fresh for one in loaded} == {frozenset()}
    assert len({one.config_digest for one in loaded}) == 1
