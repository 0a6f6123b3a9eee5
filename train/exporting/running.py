"""Exported files run by onnxruntime on one thread: parity with torch, and the cost of int8."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from manifests.records.exports import Parity
from train.exporting.graph import DTYPES, PICTURES, WithPreprocessing

BATCHES = (1, 2, 7)
OTHER_SIZE = 112  # pixels: pictures that the graph has to resample
TOLERANCE = 1e-4  # of the largest value of an embedding: float32 in another order of summation
DIGITS = 7  # that a figure keeps
SECONDS, FEWEST, MOST = 0.5, 20, 2000  # of timing one network, and its calls
Embed = Callable[[Tensor], Tensor]


def runner(data: bytes, pixels: str) -> Embed:
    """Pictures in [0, 255] -> embeddings, by onnxruntime on one thread."""
    session = _session(data)

    def embed(pictures: Tensor) -> Tensor:
        (rows,) = session.run(None, {PICTURES: as_fed(pictures, pixels).numpy()})
        return torch.from_numpy(rows)

    return embed


def as_fed(pictures: Tensor, pixels: str) -> Tensor:
    """In the type of the graph's input."""
    return pictures.round().to(DTYPES[pixels]) if pixels == "uint8" else pictures


def _session(data: bytes) -> Any:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def torch_runner(network: nn.Module) -> Embed:
    """As students are called everywhere: in the memory layout that their convolutions want."""

    def embed(pictures: Tensor) -> Tensor:
        rows: Tensor = network(pictures.contiguous(memory_format=torch.channels_last))
        return rows

    return embed


def check_parity(data: bytes, network: nn.Module, input_size: int, pixels: str) -> Parity:
    """How far the file is from the network, at the network's own size and at another one.

    Raises InputError where that is more than the order of summation explains.
    """
    embed, reference = runner(data, pixels), WithPreprocessing(network, input_size).eval()
    largest = {}
    for batch, size in [(batch, size) for size in (input_size, OTHER_SIZE) for batch in BATCHES]:
        pictures = as_fed(some_pictures(batch, size), pixels)
        with torch.inference_mode():
            wanted = reference(pictures)
        off = (embed(pictures) - wanted).abs().max() / wanted.abs().max()
        largest[f"{batch} x {size} x {size}"] = rounded(float(off))
    worst = max(largest, key=lambda name: (largest[name] != largest[name], largest[name]))
    if not largest[worst] <= TOLERANCE:
        raise InputError(
            f"the ONNX file gives other embeddings than the student: off by {largest[worst]:.2g} "
            f"of the largest value for pictures {worst}, at most {TOLERANCE:g} is allowed; "
            "nothing was exported"
        )
    return Parity(largest, TOLERANCE)


def some_pictures(count: int, size: int) -> Float[Tensor, "count 3 size size"]:
    """Smooth pictures, the same every time, in [0, 255]."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(count)) * 255
    return functional.interpolate(coarse, size, mode="bilinear", align_corners=False)


def cosines(
    one: Embed, other: Embed, faces: Iterable[Float[Tensor, "face 3 size size"]]
) -> Float[np.ndarray, "face view"]:
    """Cosine of both networks' embeddings of every face, plain and mirrored."""

    def parts() -> Iterator[Tensor]:
        for pictures in faces:
            views = [pictures, pictures.flip(3)]
            yield torch.stack(
                [functional.cosine_similarity(one(view), other(view)) for view in views], dim=1
            )

    found = list(parts())
    return torch.cat(found).numpy() if found else np.empty((0, 2), np.float32)


def milliseconds(embed: Embed, input_size: int) -> float:
    """Median processor time of one face on one thread, which other programs do not lengthen."""
    picture = some_pictures(1, input_size)
    count, spent = 3, []  # the first calls warm up, and tell how many fit
    for number in range(MOST):
        if number == count:
            break
        start = time.thread_time()
        embed(picture)
        spent.append(time.thread_time() - start)
        if number == 2:
            count = min(MOST, max(FEWEST, int(SECONDS / spent[-1])))
    return round(1000 * float(np.median(spent[3:])), 3)


def rounded(figure: float) -> float:
    """To a few digits, so that the last bits do not make another record."""
    return float(f"{figure:.{DIGITS}g}")
