"""InsightFace's Python package: its model zoo takes the file for one of the ArcFace family.

Its router wants one input of fixed, equal sides, at least 112 and a multiple of 16. It hands on
(x - 127.5) / 127.5, unless one of the first eight nodes is called Sub... and one Mul...: then it
takes the graph to normalise, and hands on x (insightface 2.1, model_zoo/arcface_onnx.py). No node
of ours is called so.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from manifests.core.errors import InputError
from train.exporting.clients.base import Client, Crops, Embed, Feed

SNIPPET = """\
import cv2
from insightface.app import FaceAnalysis
from insightface.model_zoo import get_model

app = FaceAnalysis("buffalo_l", allowed_modules=["detection"])
app.models["recognition"] = get_model("student.onnx", providers=["CPUExecutionProvider"])
app.prepare(ctx_id=-1)
faces = app.get(cv2.imread("photograph.jpg"))  # faces[0].normed_embedding
"""
NOTES = """\
`get_model` gives an `ArcFaceONNX`; `get_feat` takes crops of `face_align.norm_crop` (BGR, 112 x
112), alone or as a list. The detector is InsightFace's own, under its licence. A threshold of
another model (buffalo_l's, say) means nothing here."""


def run(path: Path) -> Embed:
    zoo = importlib.import_module("insightface.model_zoo")
    model = zoo.get_model(str(path), providers=["CPUExecutionProvider"])
    if getattr(model, "taskname", "") != "recognition":
        raise InputError(f"{path.name}: InsightFace takes it for {type(model)}, no student")

    def embed(crops: Crops) -> np.ndarray:
        rows: np.ndarray = model.get_feat([crop[..., ::-1] for crop in crops])
        return rows

    return embed


CLIENT = Client(Feed(127.5, 127.5, open_batch=True), SNIPPET, "python", NOTES, "insightface", run)
