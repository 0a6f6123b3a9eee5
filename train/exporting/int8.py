"""Eight-bit weights and activations for an exported student, by onnxruntime's quantiser.

Static: the ranges of activations come from faces of the training stores, weights have a scale a
channel (Krishnamoorthi 2018, arXiv 1806.08342, section 3). The first convolution, which sees
the pixels, and the last matrix product, which makes the embedding, stay float: on the default
student that lowers 1 - cosine to the float network from 6.2e-4 to 3.6e-4 and costs 3 % of the
speed. Dynamic: ranges are taken from every batch anew, which needs no faces, and gains no time.
"""

from __future__ import annotations

import importlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from train.exporting.graph import PICTURES, anonymous

PERCENTILE = 99.999  # of an activation's values: outliers are clipped, or they set the scale
# What has 8-bit kernels on a CPU; everything else of a graph stays float.
OPERATORS = (
    "Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
PRODUCTS = ("Gemm", "MatMul")
Batches = Iterable[Float[np.ndarray, "batch 3 size size"]]


def static_int8(model: Any, batches: Batches) -> Any:
    """The ModelProto with 8-bit activations (unsigned) and weights (signed), as QDQ nodes.

    `batches`: what the network is calibrated on, as it is fed to the graph.
    """
    quantisation = importlib.import_module("onnxruntime.quantization")
    with _scratch(model) as path, _quiet_quantiser():
        ranges = _ranges(path, batches)
        quantiser = quantisation.QDQQuantizer(
            model=_loaded(path),
            per_channel=True,
            reduce_range=False,
            weight_qType=quantisation.QuantType.QInt8,
            activation_qType=quantisation.QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=kept_float(model),
            op_types_to_quantize=list(OPERATORS),
            extra_options={"WeightSymmetric": True},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    return anonymous(quantiser.model.model)


def dynamic_int8(model: Any) -> Any:
    """The ModelProto with 8-bit weights, activations quantised as they come."""
    quantisation = importlib.import_module("onnxruntime.quantization")
    with _scratch(model) as path, _quiet_quantiser():
        target = path.with_name("int8.onnx")
        quantisation.quantize_dynamic(path, target, weight_type=quantisation.QuantType.QUInt8)
        return anonymous(_loaded(target))


def kept_float(model: Any) -> list[str]:
    """Names of the nodes that stay float: the first convolution and what stands before it, which
    are pixels, and the last product."""
    nodes = list(model.graph.node)
    first = next((at for at, node in enumerate(nodes) if node.op_type == "Conv"), -1)
    products = [node.name for node in nodes if node.op_type in PRODUCTS]
    before = [node.name for node in nodes[: first + 1] if node.op_type in OPERATORS]
    return list(dict.fromkeys([*before, *products[-1:]]))


def _ranges(path: Path, batches: Batches) -> Any:
    """The range of every activation; one batch is held at a time."""
    calibrate = importlib.import_module("onnxruntime.quantization.calibrate")
    calibrator = calibrate.create_calibrator(
        path,
        list(OPERATORS),
        augmented_model_path=str(path.with_name("augmented.onnx")),
        calibrate_method=calibrate.CalibrationMethod.Percentile,
        extra_options={"percentile": PERCENTILE},
    )
    for batch in batches:
        calibrator.collect_data(_Feed(batch))
        calibrator.clear_collected_data()
    return calibrator.compute_data()


class _Feed:
    """One batch, as onnxruntime's calibrators ask for it."""

    def __init__(self, batch: np.ndarray) -> None:
        self._left: Iterator[dict[str, np.ndarray]] = iter([{PICTURES: batch}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


@contextmanager
def _scratch(model: Any) -> Iterator[Path]:
    """The model in a file: the calibrator and the dynamic quantiser take nothing else."""
    onnx = importlib.import_module("onnx")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save_model(model, str(path))
        yield path


def _loaded(path: Path) -> Any:
    return importlib.import_module("onnx").load_model(str(path))


@contextmanager
def _quiet_quantiser() -> Iterator[None]:
    """It prints its progress, and advises to fold what torch's exporter has folded already."""
    root = logging.getLogger()
    disabled = root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
