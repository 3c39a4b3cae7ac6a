"""Sparse products and encoders against dense ones, on one thread: `make bench-kernels`.

python benchmarks/sparse_kernels.py            measure, then write the results and the page
python benchmarks/sparse_kernels.py --quick    try it in a minute; writes nothing
python benchmarks/sparse_kernels.py --tables   make the tables again from sparse-results.json

All sides take turns in one process, and seconds are the processor's, so that other programs slow
all of them alike. OpenVINO, ONNX Runtime and sparselab are measured if they are installed.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from sparse_tables import sparse_tables
from tombola.api.bench.machine import machine
from tombola.api.bench.timing import Timing, times, timings
from tombola.api.tickets import one_shot
from tombola.base.errors import TombolaError
from tombola.kernel.sparse.linear import SparseLinear
from tombola.ship.compiled.compile import weight_bytes
from tombola.ship.compiled.runtimes import RUNTIMES, BenchedNetwork, Runnable, Runtime
from tombola.ship.onnx_file import check_onnx, write_onnx

HERE = Path(__file__).parent
RESULTS, PAGE = (
    HERE / "sparse-results.json",
    HERE.parent / "docs" / "explanation" / "performance.md",
)
START, END = "<!-- kernels: start -->", "<!-- kernels: end -->"
PEERS = ("openvino", "onnxruntime", "sparselab")

SPARSITIES = (0.7, 0.8, 0.9)
CALLS = ((1, 16), (1, 64), (1, 128), (8, 128), (32, 128))
LAYERS = ((768, 768), (768, 3072), (3072, 768))
TOKENS = (16, 128)
SHORT = ("dense fp32", "dense bf16", "sparse fp32", "sparse bf16", "sparse int8")
"""What is measured of long calls, and of encoders that are pruned less than the last: on the other
ways to run one, which are dense, sparsity has no influence."""


# --- encoders ------------------------------------------------------------------


def encoders(*, quick: bool) -> Iterator[dict[str, Any]]:
    """Times of a whole encoder of BERT-base's size, for each sparsity and call."""
    for sparsity in SPARSITIES[-1:] if quick else SPARSITIES:
        whole = sparsity == SPARSITIES[-1]
        subject = _subject(str(sparsity), layers=2 if quick else 12)
        made = _made(subject, tuple(RUNTIMES) if whole else SHORT)
        for batch, length in CALLS[:1] if quick else CALLS:
            tokens = batch * length
            sides = {n: each for n, each in made.items() if tokens < 512 or n in SHORT}
            inputs, rounds = subject.inputs(batch, length), 7 if tokens < 512 else 3
            found = times(sides, inputs, rounds=rounds, seconds=600, clock=time.process_time)
            yield {
                "sparsity": sparsity,
                "batch_size": batch,
                "length": length,
                "timings": _plain(timings(found, tokens, "dense fp32")),
                "megabytes": {name: each.bytes / 1e6 for name, each in made.items()},
            }
            _say(f"{sparsity} {batch} x {length}")


def _plain(found: Mapping[str, Timing]) -> dict[str, Any]:
    """Timings as JSON has them."""
    return {name: asdict(each) for name, each in found.items()}


def _subject(sparsity: str, *, layers: int) -> BenchedNetwork:
    torch.manual_seed(0)
    config = BertConfig(num_hidden_layers=layers)
    config.name_or_path = "drawn at random"
    model = BertModel(config, add_pooling_layer=False).eval()
    model.set_input_embeddings(nn.Embedding(1000, 768))  # so that bytes are the encoder's
    model.config.vocab_size = 1000
    ticket = one_shot(model, sparsity=sparsity)
    return BenchedNetwork(ticket.apply(model), ticket, None, token_types=False)


def _made(subject: BenchedNetwork, names: tuple[str, ...]) -> dict[str, Runnable]:
    """Those that are installed, the sparse ones for calls of 128 tokens."""
    found: dict[str, Runnable] = {}
    for name in names:
        try:
            found[name] = RUNTIMES[name].make(subject, 128)
        except TombolaError as error:
            _say(f"{name}: {error}")
    return found


def _openvino(precision: str) -> Callable[[BenchedNetwork, int], Runnable]:
    """OpenVINO on one thread, made of the ONNX file."""

    def make(subject: BenchedNetwork, tokens: int) -> Runnable:
        openvino: Any = import_module("openvino")
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            write_onnx(subject.model, subject.inputs(2, 8), file)
            compiled: Any = openvino.Core().compile_model(str(file), "CPU", settings)
            size = file.stat().st_size

        def call(**inputs: Tensor) -> dict[str, Any]:
            compiled({name: tensor.numpy() for name, tensor in inputs.items()})
            return {}

        return Runnable(call, size)

    return make


def _add_openvino() -> None:
    with suppress(ImportError, TombolaError):
        import_module("openvino")

        check_onnx()
        RUNTIMES.register("OpenVINO fp32")(Runtime(_openvino("f32")))
        RUNTIMES.register("OpenVINO bf16")(Runtime(_openvino("bf16")))


# --- products ------------------------------------------------------------------


def products(*, quick: bool) -> Iterator[dict[str, Any]]:
    """Times of single linear layers, for each size, sparsity and number of tokens."""
    every = product(LAYERS, SPARSITIES, TOKENS[:1] if quick else TOKENS)
    for (inputs, outputs), sparsity, tokens in every:
        layer, x = _layer(inputs, outputs, sparsity), torch.randn(tokens, inputs)
        sides = {name: Runnable(call, size) for name, call, size in _sides(layer)}
        right = layer(x)
        for name in ("sparse fp32", "torch.sparse CSR", "sparselab"):
            if name in sides:
                given: Any = sides[name].call(x=x)
                assert torch.allclose(given, right, atol=1e-4), name
        found = times(sides, {"x": x}, rounds=15, seconds=600, clock=time.process_time)
        yield {
            "in": inputs,
            "out": outputs,
            "sparsity": sparsity,
            "tokens": tokens,
            "timings": _plain(timings(found, tokens, "dense fp32")),
            "bytes": {name: each.bytes for name, each in sides.items()},
        }
    _say("products")


def _layer(inputs: int, outputs: int, sparsity: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs).requires_grad_(False)
    least = layer.weight.abs().flatten().kthvalue(round(sparsity * layer.weight.numel())).values
    layer.weight.mul_(layer.weight.abs() > least)
    return layer


def _sides(layer: nn.Linear) -> Iterator[tuple[str, Callable[..., Any], int]]:
    """Name, product and bytes of the weights of each side."""
    yield (
        "dense fp32",
        lambda x: functional.linear(x, layer.weight, layer.bias),
        weight_bytes(layer),
    )
    half = nn.Linear(layer.in_features, layer.out_features).requires_grad_(False).bfloat16()
    half.load_state_dict(layer.state_dict())
    yield "dense bf16", lambda x: half(x.bfloat16()).float(), weight_bytes(half)
    for name, dtype in {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}.items():
        sparse = SparseLinear.from_linear(layer, dtype=dtype)
        yield f"sparse {name}", sparse, sparse.nbytes
    csr = layer.weight.to_sparse_csr()
    size = sum(each.nbytes for each in (csr.values(), csr.crow_indices(), csr.col_indices()))
    yield "torch.sparse CSR", lambda x: (csr @ x.T).T + layer.bias, size
    with suppress(ImportError):
        sparselab: Any = import_module("sparselab")
        padded = sparselab.PaddedCSR.from_dense(layer.weight)
        yield "sparselab", lambda x: sparselab.spmm(padded, x.T.contiguous()).T + layer.bias, size


def roofline() -> dict[str, float]:
    """The best rates of one thread: products of 2048 x 2048 in GFLOP/s, and reading in GB/s."""
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        found[f"gflops_{name}"] = 2 * 2048**3 / _best(partial(torch.mm, a, b)) / 1e9
    much = torch.ones(1 << 27)
    return {**found, "read_gb_per_second": much.nbytes / _best(much.sum) / 1e9}


def _best(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(7):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return min(taken)


# --- all of it -----------------------------------------------------------------


def written(page: str, results: dict[str, Any]) -> str:
    """A page with the tables between its two marks."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{sparse_tables(results)}\n{END}{rest.split(END)[1]}"


def measured(*, quick: bool) -> dict[str, Any]:
    """Everything, as sparse-results.json has it."""
    torch.set_num_threads(1)
    _add_openvino()
    with torch.inference_mode():
        return {
            "machine": machine(PEERS),
            "roofline": roofline(),
            "products": [*products(quick=quick)],
            "encoders": [*encoders(quick=quick)],
        }


def _say(text: str) -> None:
    print(f"--- {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure unless only the tables are wanted, and write."""
    if "--quick" in sys.argv:
        print(sparse_tables(measured(quick=True)))
        return
    if "--tables" not in sys.argv:
        results = measured(quick=False)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = written(PAGE.read_text(encoding="utf-8"), results)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
