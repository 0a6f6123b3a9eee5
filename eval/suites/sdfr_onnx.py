"""What SDFR is handed: an ONNX file that takes pictures as its rules feed them.

    path = write_submission(Path("runs/exports/RUN/student.onnx"), out, "1")   # checked as well
    check_submission(path, "1", exported)
    write_sanitizer_scores(out, "1", pairs)        # of the devkit's sanitizer_samples.bin

The organisers' devkit (README, model_sanitizer.py, inference.py) feeds one float32 input
[batch_size, 3, 112, 112], RGB in [0, 1], faces on ArcFace's five places, and reads one float32
output [batch_size, 512] (task 2: of any width), which it normalises itself. The batch has to be
called `batch_size`, in the output too. Files of `facestill export` take pixels in [0, 255] of any
size, so a submission is such a file behind a multiplication. The view is the plain one: no mirrored
output is added.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from eval.scoring.scored import ScoredPairs
from eval.suites.sdfr import TASKS
from manifests.core.errors import InputError, pick
from manifests.core.files import put, write_text
from pipeline.arrays.frames import ARCFACE112
from pipeline.foreign.declarations import IN_GRAPH, PREFIX
from pipeline.foreign.onnx import OnnxFile, OnnxNetwork, open_file, open_network

FILE = "student.onnx"
BATCH, SIDE = "batch_size", 112
INPUT = [BATCH, 3, SIDE, SIDE]
FLOAT = "tensor(float)"
SAME = 1e-3  # of a row's length: 30 times what other kernels of onnxruntime have moved one by
NUM_PICTURES = 8
# What a network may want of RGB pixels in [0, 255]; the first is what the rules feed.
FEEDS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "RGB in [0, 1]": lambda x: x / 255,
    "BGR in [0, 1]": lambda x: x.flip(1) / 255,
    "RGB in [0, 255]": lambda x: x,
    "BGR in [0, 255]": lambda x: x.flip(1),
    "RGB in [-1, 1]": lambda x: x / 127.5 - 1,
    "BGR in [-1, 1]": lambda x: x.flip(1) / 127.5 - 1,
}


def write_submission(exported: Path, out: Path, task: str) -> Path:
    """Writes OUT/taskN/student.onnx, an exported student as the rules feed it, and checks it.

    Raises InputError for a file that is no export of float32 pictures in ArcFace's frame, and for
    a student that the task does not take. Its training is eval.suites.sdfr.check_task's matter.
    """
    pick("task", task, TASKS)
    network = open_network(exported)
    _require_export(network)
    path = out / f"task{task}" / FILE
    put(path, _behind_multiplication(network))
    try:
        check_submission(path, task, exported)
    except InputError:
        path.unlink()
        raise
    return path


def check_submission(path: Path, task: str, exported: Path) -> None:
    """Raises InputError unless the file takes and gives what the task's rules say, and its rows
    for pictures fed by them are those of the exported student."""
    _check_ends(open_file(path), pick("task", task, TASKS).embedding_width)
    pictures = _pictures()
    wanted = _at_112(open_network(exported))(pictures)
    _check_feed(path, open_file(path), pictures, wanted)


def write_sanitizer_scores(out: Path, task: str, pairs: ScoredPairs) -> Path:
    """Writes OUT/taskN/taskN_sanitizer_scores.txt: a cosine a line, by the number of the pair. The
    pairs are those of the devkit's sanitizer_samples.bin, scored on the submitted file."""
    pick("task", task, TASKS)
    path = out / f"task{task}" / f"task{task}_sanitizer_scores.txt"
    scores = pairs.score[np.argsort(pairs.pair_id, kind="stable")]
    write_text(path, "".join(f"{score}\n" for score in scores.tolist()))
    return path


def _require_export(network: OnnxNetwork) -> None:
    feed, values = network.feed, network.declared.values
    found = {
        "frame": feed.frame.name,
        "pixels": f"{feed.colours} {feed.layout} {feed.dtype}",
        "normalisation": values.get("normalisation"),
    }
    wanted = {"frame": ARCFACE112.name, "pixels": "rgb nchw float32", "normalisation": IN_GRAPH}
    for name, value in wanted.items():
        if found[name] != value:
            raise InputError(
                f"{network.path}: {name} {found[name]}, expected {value}; hand in a file of "
                "`facestill export --pixels float32` of a student in that frame"
            )


def _behind_multiplication(network: OnnxNetwork) -> bytes:
    """The file's bytes with the rules' input, declared so that `onnx:PATH` reads it as well."""
    onnx = importlib.import_module("onnx")
    model = onnx.load_model(str(network.path))
    graph, make = model.graph, onnx.helper
    (source,), float32 = graph.input, onnx.TensorProto.FLOAT
    graph.initializer.append(make.make_tensor("white", float32, [1], [255.0]))
    nodes = [make.make_node("Mul", ["images", "white"], [source.name]), *graph.node]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.append(make.make_tensor_value_info("images", float32, INPUT))
    given = make.make_tensor_value_info(network.output, float32, [BATCH, network.width])
    graph.output.append(given)
    props = {entry.key: entry.value for entry in model.metadata_props}
    own = {"size": str(SIDE), "normalisation": "(x - 0) / 255", "views": "plain"}
    props |= {f"{PREFIX}{key}": value for key, value in own.items()}
    onnx.helper.set_model_props(model, dict(sorted(props.items())))
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _check_ends(file: OnnxFile, width: int) -> None:
    """As the devkit's sanitizer does."""
    ends = (
        ("input", file.session.get_inputs(), INPUT),
        ("output", file.session.get_outputs(), [BATCH, width or "any width"]),
    )
    for what, found, wanted in ends:
        told = ", ".join(f"{own.type} {own.shape}" for own in found)
        if len(found) != 1 or found[0].type != FLOAT or not _same(found[0].shape, wanted):
            raise InputError(f"{file.path}: {what} {told}, expected one {FLOAT} {wanted}")


def _same(shape: list[Any], wanted: list[Any]) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(w == "any width" or s == w for s, w in pairs)


def _check_feed(path: Path, file: OnnxFile, pictures: Tensor, wanted: Tensor) -> None:
    """The feed is found by trying: whatever gives the student's rows is what the network wants."""
    name = file.session.get_outputs()[0].name
    apart = {
        feed: _apart(torch.from_numpy(file.run(name, change(pictures).numpy())), wanted)
        for feed, change in FEEDS.items()
    }
    right, best = next(iter(FEEDS)), min(apart, key=apart.__getitem__)
    if apart[right] <= SAME:
        return
    if apart[best] <= SAME:
        raise InputError(f"{path}: wants {best}; the rules feed {right}: scale inside the graph")
    raise InputError(
        f"{path}: fed {right} its rows lie {apart[right]:.1%} of their length from the exported "
        "student's, however its colours and range are turned; write it anew from that export"
    )


def _apart(rows: Tensor, wanted: Tensor) -> float:
    """The largest distance, as a share of the wanted row's length."""
    if rows.shape != wanted.shape:
        return float("inf")
    return float(((rows - wanted).norm(dim=1) / wanted.norm(dim=1)).max())


def _at_112(network: OnnxNetwork) -> OnnxNetwork:
    """An export takes any size, and brings it to the student's own by itself."""
    frame = network.frame.at(SIDE)
    return replace(network, feed=replace(network.feed, frame=frame), batch=NUM_PICTURES)


def _pictures() -> Float[Tensor, "face 3 112 112"]:
    """Soft blots of colour, each channel for itself: no two feeds of them are alike."""
    blots = torch.rand(NUM_PICTURES, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    soft = functional.interpolate(255 * blots, (SIDE, SIDE), mode="bilinear", align_corners=True)
    return soft.round()
