"""A client: what it hands to its file, how the file is made, and how the client itself is asked.

Every client cuts faces as the field does (`arcface112`, 112 x 112 pixels), shows them once, and
compares by cosine. So a client's file takes that crop, whatever the student's own size, and its
output is the student's embedding with the mirrored view already in it.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from manifests.records.exports import FLOAT, INT8
from pipeline.arrays.frames import ARCFACE112
from train.checkpoint import StudentCard
from train.exporting.graph import PICTURES, anonymous, traced

SIDE = ARCFACE112.size
COSINE, BOTH = "cosine", "plain+flip"
Crops = UInt8[np.ndarray, "face side side 3"]  # RGB
Embed = Callable[[Crops], Float[np.ndarray, "face width"]]


@dataclass(frozen=True)
class Feed:
    """What a client hands to its file: of RGB pixels x in 0...255, (x - mean) / scale."""

    mean: float = 0.0
    scale: float = 1.0
    layout: str = "nchw"  # or nhwc
    open_batch: bool = False  # any number of faces, or one

    def of(self, crops: Crops) -> list[Float[np.ndarray, "_ _ _ _"]]:
        """Crops as the client hands them on: all at once, or face by face."""
        numbers = (crops.astype(np.float32) - self.mean) / self.scale
        laid_out = numbers.transpose(0, 3, 1, 2) if self.layout == "nchw" else numbers
        fed = np.ascontiguousarray(laid_out, np.float32)
        return [fed] if self.open_batch else np.split(fed, len(fed))

    @property
    def normalisation(self) -> str:
        """As docs/MODELS.md has it."""
        same = (self.mean, self.scale) == (0.0, 1.0)
        return "in-graph" if same else f"(x - {self.mean:g}) / {self.scale:g}"

    @property
    def example(self) -> Float[Tensor, "face _ _ _"]:
        shape = (3, SIDE, SIDE) if self.layout == "nchw" else (SIDE, SIDE, 3)
        return torch.zeros(2 if self.open_batch else 1, *shape)


class Fed(nn.Module):
    """A student behind what a client does to a face's crop."""

    down: Tensor  # target x source pixels
    across: Tensor  # source x target pixels of each view

    def __init__(self, network: nn.Module, card: StudentCard, feed: Feed) -> None:
        """Raises InputError for a student that is aligned or compared otherwise than by clients."""
        super().__init__()
        if card.frame != ARCFACE112.name or card.metric != COSINE:
            raise InputError(
                f"the student looks at {card.frame} and compares by {card.metric}; clients cut "
                f"{ARCFACE112.name} and compare by cosine: train one that does, or feed "
                "student.onnx as docs/MODELS.md says"
            )
        self.network, self.feed = contiguous(network), feed
        self.width, self.size, self.num_views = card.embedding_width, card.input_size, 1
        taken = resampling(SIDE, card.input_size)
        views = [taken.T]
        if card.views == BOTH:  # the mirrored view is taken by the same weights from the right
            views.append(taken.flip(0).T)
            self.num_views = 2
        self.register_buffer("down", taken)
        self.register_buffer("across", torch.cat(views, dim=1))

    def forward(self, fed: Tensor) -> Tensor:
        """Embeddings (face x width) of crops as the client hands them on. No shapes are checked:
        they are no numbers while the network is traced."""
        pictures = fed if self.feed.layout == "nchw" else fed.permute(0, 3, 1, 2)
        beside = self.down @ (pictures @ self.across)  # views side by side
        views = torch.cat(torch.split(beside, self.size, dim=3)) if self.num_views > 1 else beside
        if self.feed.normalisation != "in-graph":  # weights of a pixel sum to 1: the order is free
            views = views * self.feed.scale + self.feed.mean
        rows: Tensor = self.network(views)
        return rows.reshape(2, -1, self.width).sum(0) if self.num_views > 1 else rows


def contiguous(network: nn.Module) -> nn.Module:
    """A copy whose weights lie in the plain order: LiteRT's converter takes them as if they did
    (litert-torch 0.10; a student's lie channels last)."""
    own = copy.deepcopy(network).eval()
    for tensor in (*own.parameters(), *own.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return own


def resampling(source: int, target: int) -> Float[Tensor, "target source"]:
    """The weights of `source` pixels of a line in each of `target` ones, those of student.onnx
    (bilinear, antialiased). As a product it is what every runtime can do, and does alike."""
    lines = functional.interpolate(
        torch.eye(source)[None, None], (target, source), mode="bilinear", antialias=True
    )
    return lines[0, 0]


# (file, its bytes) of a wrapped student: in float32, and in 8 bits if it is told how to make them
# of an ONNX model. The last function puts a declaration into a model, whose name ends so.
Quantise = Callable[[Any], Any]
Declare = Callable[[Any, str], bytes]
Files = Iterator[tuple[str, bytes]]


def onnx_files(fed: Fed, quantise: Quantise | None, declare: Declare) -> Files:
    """All lengths are fixed, but for an open batch."""
    open_lengths = {0: "batch"} if fed.feed.open_batch else {}
    model = anonymous(traced(fed, fed.feed.example, open_lengths))
    yield FLOAT, declare(model, "")
    if quantise:
        yield INT8, declare(quantise(model), "-int8")


@dataclass(frozen=True)
class Client:
    feed: Feed
    snippet: str  # a few lines of its own language that embed a face
    language: str
    notes: str  # what its users have to know, in Markdown
    module: str = ""  # of Python, that runs its files here; "" for none
    run: Callable[[Path], Embed] | None = None  # by that
    files: Callable[[Fed, Quantise | None, Declare], Files] = onnx_files
    page: Path | None = None  # that goes along
    packages: tuple[str, ...] = ()  # that make its files, beside those that all files take
    extra: str = ""  # of pyproject.toml, that brings them

    def require_packages(self) -> None:
        """Raises InputError where one is not installed."""
        for name in self.packages:
            if importlib.util.find_spec(name) is None:
                raise InputError(
                    f"its files need the package {name.replace('_', '-')}; pip install -e "
                    f"'.[{self.extra}]'"
                )

    def opened(self, path: Path) -> tuple[str, Embed]:
        """Who embeds by the file here, and how: the client itself if it is installed, else
        onnxruntime, fed as the client feeds it."""
        try:
            module = importlib.import_module(self.module) if self.module else None
        except ImportError:
            module = None
        if module and self.run:
            return f"{self.module} {module.__version__}", self.run(path)
        return by_onnxruntime(self.feed, path)


def by_onnxruntime(feed: Feed, path: Path) -> tuple[str, Embed]:
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def embed(crops: Crops) -> Float[np.ndarray, "face width"]:
        parts = [session.run(None, {PICTURES: fed})[0] for fed in feed.of(crops)]
        return np.concatenate(parts)

    return f"onnxruntime {runtime.__version__}", embed
