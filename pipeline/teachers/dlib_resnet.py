"""The dlib face-recognition ResNet in PyTorch: 29 convolutions, 128-d, RGB 150x150.

Weights: dlib_face_recognition_resnet_model_v1.dat (CC0), published LFW accuracy 99.38 %.
The network's layout is dlib's `dnn_face_recognition_ex`; the port agrees with dlib's own
output to about 1e-6 (tests/pipeline/teachers/test_dlib_resnet.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.arrays.frames import DLIB150
from pipeline.arrays.numerics import weights_path
from pipeline.teachers.base import Teacher

WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
MEAN_RGB = (122.782, 117.001, 104.298)  # dlib input_rgb_image_sized
SCALE = 256.0
# (channels, number of residual blocks, does the first of them halve the picture)
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))


class DlibResnetTeacher(Teacher):
    name = "dlib-resnet"
    frame = DLIB150
    width = 128
    metric = "euclidean"
    by_torch = True
    preprocessing = "(RGB - (122.782, 117.001, 104.298)) / 256"
    licence = "CC0-1.0"

    def __init__(self, network: DlibResNet, weights_sha256: str) -> None:
        # Channels-last is 1.7 times as fast on CPU as the default layout.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights_sha256 = weights_sha256

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def embed(self, images: Float[Tensor, "batch 3 150 150"]) -> Float[Tensor, "batch 128"]:
        images = images.to(self.network.head.weight.device)
        embeddings: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return embeddings


def load(weights: Path) -> DlibResnetTeacher:
    path = weights_path(weights, WEIGHTS)
    return DlibResnetTeacher(load_network(path), sha256_file(path))


@dataclass(frozen=True)
class Layer:
    """One layer with parameters, as it lies in a dlib .dat file (input to output)."""

    kind: str  # conv, affine or fc
    values: np.ndarray  # float32, flat
    num_outputs: int
    kernel: int
    stride: int
    padding: int


TAGS = {b"con_4": "conv", b"affine_": "affine", b"fc_2": "fc"}
ANY_TAG = re.compile(b"|".join(TAGS))  # the nearest of any: one of each kind may lie far behind


class DatReader:
    """Reads dlib's serialised integers and tensors from bytes, front to back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def integer(self) -> int:
        """A control byte (low 4 bits: length, 0x80: negative), then little-endian bytes."""
        control = self.data[self.at]
        end = self.at + 1 + (control & 0x0F)
        value = int.from_bytes(self.data[self.at + 1 : end], "little")
        self.at = end
        return -value if control & 0x80 else value

    def tensor(self) -> np.ndarray:
        """Version (2), four dimensions, then raw float32."""
        version = self.integer()
        if version != 2:
            raise InputError(f"dlib tensor at byte {self.at}: version {version}, expected 2")
        count = int(np.prod([self.integer() for _ in range(4)]))
        values = np.frombuffer(self.data, dtype="<f4", count=count, offset=self.at)
        self.at += 4 * count
        return values

    def layers(self) -> Iterator[Layer]:
        """Every layer with parameters; the search resumes behind each layer's tensor, so that
        weights which happen to spell a tag are never taken for one."""
        while found := ANY_TAG.search(self.data, self.at):
            self.at = found.end()
            yield self._layer(TAGS[found[0]])

    def _layer(self, kind: str) -> Layer:
        if kind == "fc":
            num_outputs, _ = self.integer(), self.integer()
            return Layer(kind, self.tensor(), num_outputs, 1, 1, 0)
        values = self.tensor()
        if kind == "affine":
            return Layer(kind, values, len(values) // 2, 1, 1, 0)
        num_filters, rows, _, stride, _, padding, _ = (self.integer() for _ in range(7))
        return Layer(kind, values, num_filters, rows, stride, padding)


class Block(nn.Module):
    """conv3x3 + ReLU + conv3x3 beside the identity (or a 2x2 average pool), added after
    zero-padding channels and bottom/right edges to the larger of the two shapes."""

    def __init__(self, num_inputs: int, num_outputs: int, halve: bool) -> None:
        super().__init__()
        stride, padding = (2, 0) if halve else (1, 1)
        self.halve = halve
        self.first = nn.Conv2d(num_inputs, num_outputs, 3, stride, padding)
        self.second = nn.Conv2d(num_outputs, num_outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(functional.relu(self.first(x), inplace=True))
        shortcut = functional.avg_pool2d(x, 2, 2) if self.halve else x
        if out.shape != shortcut.shape:
            shape = [max(a, b) for a, b in zip(out.shape, shortcut.shape, strict=True)]
            out, shortcut = _pad_to(out, shape), _pad_to(shortcut, shape)
        return functional.relu(out + shortcut, inplace=True)


def _pad_to(x: Tensor, shape: list[int]) -> Tensor:
    _, channels, height, width = (want - have for want, have in zip(shape, x.shape, strict=True))
    return functional.pad(x, (0, width, 0, height, 0, channels))


class DlibResNet(nn.Module):
    """RGB in [0, 255], float "batch 3 150 150" -> raw embedding "batch 128" (norm about 1.4)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, 2)
        blocks, width = [], 32
        for channels, count, halve in STAGES:
            for index in range(count):
                blocks.append(Block(width, channels, halve and index == 0))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(256, 128, bias=False)

    def forward(self, x: Float[Tensor, "batch 3 150 150"]) -> Float[Tensor, "batch 128"]:
        x = (x - x.new_tensor(MEAN_RGB).view(1, 3, 1, 1)) / SCALE
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2)
        return self.head(self.blocks(x).mean(dim=(2, 3)))


def load_network(path: Path) -> DlibResNet:
    """The network with the weights of a .dat file; each affine is folded into its convolution.

    Raises InputError if the file does not hold exactly the layers of this network.
    """
    network = DlibResNet()
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    try:
        layers = list(DatReader(path.read_bytes()).layers())
    except (InputError, ValueError, IndexError) as error:  # cut short, or another format
        raise InputError(f"{path}: not a dlib network file ({error})") from None
    kinds = [layer.kind for layer in layers]
    if kinds != ["conv", "affine"] * len(convs) + ["fc"]:
        raise InputError(f"{path}: {len(layers)} layers do not form the dlib face ResNet")
    for conv, filters, affine in zip(convs, layers[0:-1:2], layers[1:-1:2], strict=True):
        _fill(conv, filters.values, affine.values)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(layers[-1].values.reshape(256, 128).T.copy()))
    return network.eval().requires_grad_(False)


def _fill(conv: nn.Conv2d, filters: np.ndarray, affine: np.ndarray) -> None:
    gamma, beta = affine.astype(np.float64).reshape(2, -1)
    count = conv.weight.numel()
    weight = filters[:count].astype(np.float64).reshape(conv.weight.shape)
    bias = filters[count:].astype(np.float64)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(weight * gamma[:, None, None, None]))
        conv.bias.copy_(torch.from_numpy(bias * gamma + beta))
