"""A classifier in an ONNX file, `onnx:PATH`: a column of probabilities for each of its classes.

Beside what any network declares (docs/MODELS.md), the file says what its outputs are:
`classes`, their labels with commas between; `activation`, what makes probabilities of them
(softmax, sigmoid, or none if they are probabilities); and perhaps `attribute`, a name that is
put before the labels.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eval.annotators.base import AlignedFaces, Annotator
from manifests.core.errors import InputError
from manifests.records.attributes import Attribute
from pipeline.foreign.declarations import Declaration
from pipeline.foreign.onnx import OnnxNetwork, open_network

ACTIVATIONS = ("softmax", "sigmoid", "none")
EDGES = tuple(round(0.1 * step, 1) for step in range(11))
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
SLACK = 1e-4  # that rounding may put a probability outside 0..1


class OnnxAnnotator(Annotator):
    version = "1"

    def __init__(self, network: OnnxNetwork) -> None:
        self.network = network
        self.frame = network.frame
        self.name = f"onnx-{_name(network)}"
        self.activation = network.declared.choose("activation", ACTIVATIONS)
        self.attributes = _attributes(network.declared, network.width)

    def annotate(self, faces: AlignedFaces) -> Float[np.ndarray, "face attribute"]:
        outputs = self.network(torch.from_numpy(faces.images.copy()).permute(0, 3, 1, 2).float())
        shares = _probabilities(outputs, self.activation)
        wrong = ~((shares >= -SLACK) & (shares <= 1 + SLACK))
        if wrong.any():
            raise InputError(
                f"{self.network.path}: gives {float(shares[wrong][0]):.4g} for a probability; "
                f"facestill.activation is {self.activation}, expected softmax or sigmoid?"
            )
        return shares.clamp(0, 1).numpy().astype(np.float32)

    def identity(self) -> dict[str, Any]:
        network = self.network
        how = {"preprocessing": network.preprocessing, "activation": self.activation}
        return super().identity() | {"weights_sha256": network.sha256, **how}


def load(argument: str) -> OnnxAnnotator:
    """The annotator in that file, which has run on a grey picture."""
    if not argument:
        raise InputError("annotator onnx needs a file: onnx:PATH")
    return OnnxAnnotator(open_network(Path(argument)))


def _name(network: OnnxNetwork) -> str:
    """The declared one, or the file's: tables are named after it."""
    name = network.declared.values.get("name", network.path.stem)
    if not NAME.fullmatch(name):
        raise InputError(
            f"{network.path}: facestill.name {name[:64]!r}; a name has letters, digits, dots, "
            "dashes and underscores"
        )
    return name


def _attributes(declared: Declaration, width: int) -> tuple[Attribute, ...]:
    """One a class. Raises InputError unless there is one for each output."""
    labels = [label.strip() for label in declared.require("classes").split(",")]
    if len(labels) != width or len(set(labels)) < width:
        raise InputError(
            f"{declared.path}: facestill.classes names {len(labels)} classes "
            f"({len(set(labels))} of them different), the network has {width} outputs"
        )
    before = declared.values.get("attribute")
    names = [label if before is None else f"{before}: {label}" for label in labels]
    try:
        return tuple(
            Attribute(name, "probability", 0.0, 1.0, EDGES, f"that it shows {name}")
            for name in names
        )
    except InputError as error:
        raise InputError(f"{declared.path}: {error}") from None


def _probabilities(
    outputs: Float[Tensor, "face width"], activation: str
) -> Float[Tensor, "face width"]:
    rows = outputs.double()
    if activation == "none":
        return rows
    return rows.softmax(dim=1) if activation == "softmax" else rows.sigmoid()
