"""A teacher in an ONNX file, `onnx:PATH`: what it declares stands in for a backend's constants."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from manifests.errors import InputError
from pipeline.onnx_files import OnnxNetwork, open_network
from pipeline.teachers.base import Teacher

METRICS = ("cosine", "euclidean")
VIEWS = ("plain", "plain+flip")  # what verification compares: one output, or both summed
UNSTATED = "not stated"


class OnnxTeacher(Teacher):
    def __init__(self, network: OnnxNetwork) -> None:
        declared = network.declared
        self.network = network
        self.name = _name(network)
        self.weights_sha256 = network.sha256
        self.frame = network.frame
        self.width = network.width
        self.metric = declared.choose("metric", METRICS)
        self.verification_views = declared.choose("views", VIEWS, "plain")
        self.preprocessing = network.preprocessing
        self.licence = declared.values.get("licence", UNSTATED)

    @property
    def address(self) -> str:
        return f"onnx:{self.network.path}"

    def to(self, device: torch.device) -> None:
        """The graph runs on the CPU wherever the pictures come from."""

    def embed(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        return self.network(images)


def _name(network: OnnxNetwork) -> str:
    """The declared one, or the file's: a store is named after it."""
    name = network.declared.values.get("name", network.path.stem)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
        raise InputError(
            f"{network.path}: facestill.name {name[:64]!r}; a name has letters, digits, dots, "
            "dashes and underscores"
        )
    return name


def load_file(path: Path) -> OnnxTeacher:
    return OnnxTeacher(open_network(path))
