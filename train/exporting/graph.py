"""A student as an ONNX graph that takes pictures as they are: any size, pixels in 0...255.

Resizing and normalisation are nodes of the graph, and the file declares the frame, metric and
views of the student, so that `onnx:PATH` is the student itself (docs/MODELS.md).
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame
from train.checkpoint import StudentCard

PICTURES, EMBEDDINGS = "pictures", "embeddings"
DTYPES = {"float32": torch.float32, "uint8": torch.uint8}
PREFIX = "facestill."  # of what pipeline.foreign.declarations reads
PRODUCER = "facestill"
EXAMPLE_SIDES = (96, 80)  # two lengths unlike each other, or they would be taken for one


class WithPreprocessing(nn.Module):
    """A student behind the resampling of its pictures to its own input size."""

    def __init__(self, network: nn.Module, input_size: int) -> None:
        super().__init__()
        self.network = network
        self.input_size = input_size

    def forward(self, pictures: Tensor) -> Tensor:
        """Embeddings (batch x width) of RGB pictures (batch x 3 x height x width, float or uint8)
        in the student's frame, pixels in [0, 255].

        Bilinear; where pixels become fewer, every one counts (antialias). Pictures of the
        student's own size come through as they are.
        """
        side = (self.input_size, self.input_size)
        resized = functional.interpolate(
            pictures.float(), side, mode="bilinear", align_corners=False, antialias=True
        )
        return self.network(resized)


def declaration(card: StudentCard, *, name: str, licence: str) -> dict[str, str]:
    """What the file says of itself, by the keys of docs/MODELS.md without their prefix."""
    return {
        **in_graph(card.input_frame, card.metric, card.views, card.embedding_width),
        "aligner": card.aligner,
        "name": name,
        "licence": licence,
        **({"real_faces": "; ".join(card.people)} if card.people else {}),
    }


def in_graph(frame: Frame, metric: str, views: str, embedding_width: int) -> dict[str, str]:
    """Of any network that this module writes: how it is fed, and how its output is compared."""
    return {
        "frame": frame.name,
        "colours": "rgb",
        "normalisation": "in-graph",
        "layout": "nchw",
        "size": str(frame.size),
        "output": EMBEDDINGS,
        "metric": metric,
        "views": views,
        "embedding_width": str(embedding_width),
    }


def to_onnx(network: nn.Module, input_size: int, pixels: str) -> Any:
    """The ModelProto of a network in evaluation mode behind its preprocessing.

    Input `pictures`: batch x 3 x height x width, all but the 3 open; `pixels` is its type.
    The proto holds nothing of where and when it was made, so that one network gives one file.
    """
    height, width = EXAMPLE_SIDES
    example = torch.zeros(2, 3, height, width, dtype=DTYPES[pixels])
    open_lengths = {0: "batch", 2: "height", 3: "width"}
    model = traced(WithPreprocessing(network, input_size), example, open_lengths)
    return anonymous(taking_none(model))


def traced(module: nn.Module, example: Tensor, open_lengths: Mapping[int, str]) -> Any:
    """The ModelProto of a module from one tensor to embeddings, as torch's exporter makes it.

    `open_lengths`: {axis of the input: its name}; the others are those of `example`.
    """
    require_packages()
    open_axes = {axis: torch.export.Dim(name) for axis, name in open_lengths.items()}
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=[PICTURES],
            output_names=[EMBEDDINGS],
            dynamic_shapes=(open_axes or None,),
        )
    assert program is not None
    return program.model_proto


def taking_none(model: Any) -> Any:
    """The model with nodes that lend an empty batch a row and take it back: onnxruntime's fastest
    kernels fail on no rows. (Torch leaves a batch of 0 out of what it exports.)"""
    onnx, graph = importlib.import_module("onnx"), model.graph
    make = onnx.helper.make_node
    for node in graph.node:
        node.input[:] = ["at_least_one" if name == PICTURES else name for name in node.input]
        node.output[:] = ["of_all" if name == EMBEDDINGS else name for name in node.output]
    lend = [
        make("Shape", [PICTURES], ["batch_size"], start=0, end=1),
        make("Sub", ["one", "batch_size"], ["below_one"]),
        make("Max", ["below_one", "no_row"], ["lent"]),
        make("Concat", ["before", "lent", "after"], ["pads"], axis=0),
        make("Pad", [PICTURES, "pads"], ["at_least_one"]),
    ]
    nodes = [*lend, *graph.node, make("Slice", ["of_all", "no_row", "batch_size"], [EMBEDDINGS])]
    del graph.node[:]
    graph.node.extend(nodes)
    constants = {"one": [1], "no_row": [0], "before": [0] * 4, "after": [0] * 3}
    for name, values in constants.items():
        tensor = onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(values)], values)
        graph.initializer.append(tensor)
    return model


def anonymous(model: Any) -> Any:
    """The model without names of source files, stack traces and inferred shapes."""
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    model.producer_name, model.producer_version = PRODUCER, ""
    return model


def declared(model: Any, values: Mapping[str, str], facts: Mapping[str, str]) -> bytes:
    """The file's bytes with its declaration, and `facts` for the reader, in metadata_props."""
    onnx = importlib.import_module("onnx")
    prefixed = {f"{PREFIX}{key}": value for key, value in values.items()}
    onnx.helper.set_model_props(model, dict(sorted((prefixed | dict(facts)).items())))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def require_packages() -> None:
    """Raises InputError unless what exports and runs ONNX files is installed."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(
                f"an export needs the package {name}; pip install -e '.[onnx]'"
            ) from None


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """torch's exporter speaks of packages that it does not need here, and of its own innards."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
