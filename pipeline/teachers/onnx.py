"""A teacher in an ONNX file, `onnx:PATH`: what it declares stands in for a backend's constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.foreign.declarations import UNSTATED
from pipeline.foreign.onnx import OnnxNetwork, open_network
from pipeline.teachers.base import Teacher

METRICS = ("cosine", "euclidean")
VIEWS = ("plain", "plain+flip")  # what verification compares: one output, or both summed


class OnnxTeacher(Teacher):
    def __init__(self, network: OnnxNetwork) -> None:
        declared = network.declared
        self.network = network
        self.name = declared.own_name()
        self.weights_sha256 = network.sha256
        self.frame = network.frame
        self.width = network.width
        self.metric = declared.choose("metric", METRICS)
        self.verification_views = declared.choose("views", VIEWS, "plain")
        self.preprocessing = network.preprocessing
        self.licence = declared.values.get("licence", UNSTATED)
        self.real_faces = declared.values.get("real_faces", "")  # of an export of a student

    def identity(self) -> dict[str, Any]:
        """With what is stated of the people whom it was trained on here, where there were any."""
        people = {"real_faces": self.real_faces} if self.real_faces else {}
        return super().identity() | people

    def to(self, device: torch.device) -> None:
        """The graph runs on the CPU wherever the pictures come from."""

    def numerics(self) -> dict[str, str]:
        return self.network.file.numerics

    def embed(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch width"]:
        return self.network(images)


def load_file(path: Path) -> OnnxTeacher:
    return OnnxTeacher(open_network(path))
