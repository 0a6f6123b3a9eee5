"""Detectors of faces as ONNX files: the real YuNet, and small graphs of constant outputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pipeline.aligners.networks.yunet import OUTPUTS, STRIDES, WEIGHTS, YuNet, load_network


class ZooYuNet(nn.Module):
    """The project's network with the inputs and outputs of the file in OpenCV's zoo: what it says
    of each candidate, told in strides from its place. Both scores are their geometric mean."""

    def __init__(self, network: YuNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, bgr: Tensor) -> tuple[Tensor, ...]:
        rows, found, first = self.network(bgr.flip(1)), {}, 0
        for stride in reversed(STRIDES):  # the coarsest come first
            ys, xs = (
                torch.arange(bgr.shape[axis] // stride, dtype=torch.float32) for axis in (2, 3)
            )
            down, across = torch.meshgrid(ys, xs, indexing="ij")
            place = torch.stack([across, down], dim=-1).reshape(1, -1, 2)
            own = rows[:, first : first + place.shape[1]] / stride
            first = first + place.shape[1]
            start, end = own[..., 1:3], own[..., 3:5]
            box = torch.cat([(start + end) / 2 - place, (end - start).log()], dim=2)
            score = own[..., :1] * stride
            values = (score, score, box, own[..., 5:] - place.repeat(1, 1, 5))
            found.update({(name, stride): each for name, each in zip(OUTPUTS, values, strict=True)})
        return tuple(found[name, stride] for name in OUTPUTS for stride in STRIDES)


@contextmanager
def unchecked() -> Iterator[None]:
    """Shapes are no numbers while a network is traced, and jaxtyping wants to print them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def write_yunet(path: Path, weights: Path, side: int | None = None) -> Path:
    """YuNet for any number of pictures of any side; or for one at a time of that side."""
    names = [f"{name}_{stride}" for name in OUTPUTS for stride in STRIDES]
    ends = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), unchecked():
        # The newer exporter does not leave the sides open.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            ZooYuNet(load_network(weights / WEIGHTS)),
            (torch.zeros(1, 3, side or 64, side or 64),),
            str(path),
            input_names=["input"],
            output_names=names,
            dynamic_axes=None
            if side
            else {"input": ends, **{name: {0: "batch"} for name in names}},
            dynamo=False,
            opset_version=17,
        )
    return path


def write_constant(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    shape: tuple[int | str, ...] = ("batch", 3, "height", "width"),
    *,
    of_pictures: bool = True,
) -> Path:
    """A graph that gives the same rows for every picture: "row number" each, or with
    `of_pictures` as often as there are pictures."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Constant", [], ["nought"], value_float=0.0),
        helper.make_node("Mul", ["mean", "nought"], ["noughts"]),
        helper.make_node("Squeeze", ["noughts", "axis"], ["lead"]),
    ]
    kept = {"axis": np.array([3])}
    for name, values in outputs.items():
        kept[f"{name}.rows"] = values.astype(np.float32)
        given = name if of_pictures else f"{name}.all"
        nodes.append(helper.make_node("Add", ["lead", f"{name}.rows"], [given]))
        if not of_pictures:
            kept[f"{name}.shape"] = np.array(values.shape)
            nodes.append(helper.make_node("Reshape", [given, f"{name}.shape"], [name]))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "detector",
        [info("input", TensorProto.FLOAT, shape)],
        [info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(own, name) for name, own in kept.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(path))
    return path
