"""A network as an ONNX file, written by torch's exporter and run by ONNX Runtime."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from tombola.base.errors import ModelError, SpecError, first_line
from tombola.base.files import not_written
from tombola.base.text import printable
from tombola.models.quiet import quiet

__all__ = ["OnnxNetwork", "check_onnx", "count_zeros", "write_onnx"]

OPSET = 18
"""Version of ONNX's operators: the one that torch's exporter writes by itself."""

LARGEST = 2_000_000_000
"""Bytes of the weights in one ONNX file, which protobuf limits to 2 GiB."""

AXES = {0: "batch", 1: "length"}
"""Axes of each input, of any size when the file is run."""


def check_onnx() -> None:
    """Refuse to go on without the packages.

    Raises: SpecError.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SpecError(
            f"an export needs onnx, onnxscript and onnxruntime, got no {error.name}. Install them "
            f"with `pip install onnx onnxruntime onnxscript`."
        ) from None


def write_onnx(network: PreTrainedModel, inputs: Mapping[str, Tensor], place: Path) -> None:
    """Write a network with inputs of any batch and length.

    Names of weights stay as they are, and so does every value: nothing is folded or merged.

    Args:
        network: a network on the CPU; it is left in evaluation mode.
        inputs: name -> (batch, length) integers, two or more of each.
        place: the path of the file, in a folder that exists.

    Raises: ModelError, if torch can't export the network, or the file would be too large;
        OutputError, if the disk refuses.
    """
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    if size > LARGEST:
        raise ModelError(
            f"expected at most {LARGEST:,} bytes of weights in an ONNX file, got {size:,}. Export "
            f"a smaller network."
        )
    network.eval()
    try:
        with torch.no_grad(), _silence(), _no_cache(network):
            outputs = [n for n, v in network(**inputs).items() if isinstance(v, Tensor)]
            program = torch.onnx.export(
                network,
                (),
                kwargs=dict(inputs),
                dynamic_shapes={name: dict(AXES) for name in inputs},
                input_names=[*inputs],
                output_names=outputs,
                opset_version=OPSET,
                optimize=False,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # of whatever the exporter can't follow
        raise ModelError(
            f"expected a network that torch exports to ONNX, got {type(network).__name__}: "
            f"{_reason(error)}. Use another architecture, such as BERT's."
        ) from error
    assert program is not None
    try:
        program.save(place)
    except OSError as error:
        raise not_written(place, error) from None


def _reason(error: BaseException) -> str:
    """The first line about what the exporter met, without what it says around that."""
    while error.__cause__ is not None:
        error = error.__cause__
    return printable(f"{type(error).__name__}, {first_line(error)}")[:200].rstrip(". ")


@contextmanager
def _no_cache(network: PreTrainedModel) -> Iterator[None]:
    """Meanwhile a decoder gives no keys and values for a next word, which are no output here."""
    before = getattr(network.config, "use_cache", None)
    if before:
        network.config.use_cache = False
    try:
        yield
    finally:
        if before:
            network.config.use_cache = before


@contextmanager
def _silence() -> Iterator[None]:
    """Hide what the exporter says of operators and of code that it reads."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class OnnxNetwork:
    """An ONNX file in ONNX Runtime, called like the network that it was made of."""

    def __init__(self, place: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self._session: Any = onnxruntime.InferenceSession(
            str(place), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._place = place

    def __call__(self, **inputs: Tensor) -> ModelOutput:
        """The outputs under their names, as the network gives them."""
        given = {name: tensor.numpy() for name, tensor in inputs.items()}
        made = self._session.run(self._outputs, given)
        named = zip(self._outputs, made, strict=True)
        return ModelOutput({name: torch.from_numpy(array) for name, array in named})

    def zeros(self) -> dict[str, int]:
        """Name of each weight in the file -> how many of its values are +0.0."""
        import onnx

        loaded = onnx.load(str(self._place))
        arrays = ((one.name, onnx.numpy_helper.to_array(one)) for one in loaded.graph.initializer)
        return {
            name: count_zeros(torch.from_numpy(array.copy()))
            for name, array in arrays
            if array.dtype == "float32"
        }


def count_zeros(weight: Tensor) -> int:
    """How many values of a float32 tensor are +0.0."""
    return int(weight.view(torch.int32).eq(0).sum())
