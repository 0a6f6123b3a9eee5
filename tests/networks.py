"""Small networks with random weights as ONNX files, made node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, WIDTH = 16, 8
DECLARED = {
    "frame": "arcface112",
    "colours": "rgb",
    "normalisation": "(x - 127.5) / 128",
    "metric": "cosine",
}


def network(
    *,
    size: int | str = SIZE,
    width: int = WIDTH,
    batch: int | str = "batch",
    nhwc: bool = False,
    uint8: bool = False,
    channels: int = 3,
    declared: Mapping[str, str] = DECLARED,
    outputs: Sequence[str] = ("embeddings",),
) -> onnx.ModelProto:
    """Convolution, ReLU, mean over the picture, then one linear layer an output.

    The rows of a network with `uint8` are of pictures in [0, 255], else of what it is fed.
    """
    rng = np.random.default_rng(0)
    weights = {
        "filters": rng.standard_normal((16, channels, 3, 3)),
        **{f"{name}.matrix": rng.standard_normal((16, width)) for name in outputs},
    }
    nodes, at = _nodes("pictures", nhwc=nhwc, uint8=uint8)
    nodes += [
        helper.make_node("Conv", [at, "filters"], ["conv"], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        *(helper.make_node("MatMul", ["flat", f"{name}.matrix"], [name]) for name in outputs),
    ]
    picture = [size, size, channels] if nhwc else [channels, size, size]
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("pictures", kind, [batch, *picture])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width])
            for name in outputs
        ],
        [numpy_helper.from_array(own.astype(np.float32), name) for name, own in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    helper.set_model_props(model, {f"facestill.{key}": value for key, value in declared.items()})
    return model


def _nodes(at: str, *, nhwc: bool, uint8: bool) -> tuple[list[Any], str]:
    nodes = []
    if uint8:
        nodes.append(helper.make_node("Cast", [at], ["cast"], to=TensorProto.FLOAT))
        at = "cast"
    if nhwc:
        nodes.append(helper.make_node("Transpose", [at], ["nchw"], perm=[0, 3, 1, 2]))
        at = "nchw"
    return nodes, at


def write_network(path: Path, **changes: Any) -> Path:
    """An ONNX file of `network(**changes)`."""
    onnx.save_model(network(**changes), str(path))
    return path


def by_hand(pictures: np.ndarray, model: onnx.ModelProto, output: str = "embeddings") -> np.ndarray:
    """The network in NumPy: rows for NCHW pictures as they are fed to it."""
    weights = {own.name: numpy_helper.to_array(own) for own in model.graph.initializer}
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (3, 3), axis=(2, 3))
    conv = np.einsum("nchwij,fcij->nfhw", windows[:, :, ::2, ::2], weights["filters"])
    return np.maximum(conv, 0).mean(axis=(2, 3)) @ weights[f"{output}.matrix"]
