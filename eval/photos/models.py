"""Models to measure: a run directory, `teacher:NAME` or `onnx:PATH`, behind one face.

A run of `facestill adapt` is the network behind its block, for pictures of the block's modality.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eval.scoring.similarity import prepared
from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.errors import InputError
from manifests.settings.params import PATH, load_params
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.teachers import load_teacher
from pipeline.teachers.onnx import load_file
from train.checkpoint import BLOCK, load_block, load_student

PLAIN, BOTH = "plain", "plain+flip"
VIEWS = (PLAIN, BOTH)
Views = Mapping[str, Float[np.ndarray, "_ width"]]  # rows as the network gives them, by VIEWS


@dataclass(frozen=True)
class Model:
    """A network with the frame, metric and views that it declares for itself."""

    name: str
    sha256: str
    frame: Frame
    metric: str  # cosine, or euclidean (raw embeddings)
    mirrored: bool  # plain and mirrored outputs are summed
    network: Callable[[Tensor], Tensor]
    real_faces: str = ""  # what is stated of the people on whose photographs it was trained here

    @property
    def views(self) -> str:
        """Those that it declares: one of VIEWS."""
        return BOTH if self.mirrored else PLAIN

    def outputs(
        self, crops: Float[Tensor, "face 3 size size"], wanted: Sequence[str] = VIEWS
    ) -> Views:
        """What the network makes of crops in its frame: of them as they are, and summed with what
        it makes of their mirror images."""
        plain = in_fixed_batches(lambda batch: self.network(_laid_out(batch)), crops)
        views = {PLAIN: plain}
        if BOTH in wanted:
            flip = in_fixed_batches(lambda batch: self.network(_laid_out(batch.flip(3))), crops)
            views[BOTH] = plain + flip
        return {name: views[name].cpu().numpy() for name in wanted}

    def embed(self, crops: Float[Tensor, "face 3 size size"]) -> Float[np.ndarray, "face width"]:
        """Embeddings by its own views, in double precision; unit length for the cosine metric."""
        rows = self.outputs(crops, [self.views])[self.views]
        return prepared(rows.astype(np.float64), self.metric)


def _laid_out(batch: Tensor) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last)


def load_model(text: str, weights: Path) -> Model:
    """The model that `text` names: a run such as mined-2 or its folder, teacher:NAME (also one
    whose file params.yaml of the current folder names), or onnx:PATH.

    Raises InputError for anything else, and for a file that does not declare how to use it.
    """
    kind, name = split_kind(text)
    if kind == "teacher" and name:
        teacher = load_teacher(_teacher_text(name), weights)
        return Model(
            text, teacher.weights_sha256, teacher.frame, teacher.metric, False, teacher.embed
        )
    if kind == "onnx" and name:
        file = load_file(Path(name))
        mirrored = file.verification_views == BOTH
        return Model(
            text,
            file.weights_sha256,
            file.frame,
            file.metric,
            mirrored,
            file.embed,
            file.real_faces,
        )
    if name:
        raise InputError(f"unknown model {text!r}; valid: a run, teacher:NAME, or onnx:PATH")
    if text.endswith(".onnx"):
        raise InputError(f"{text}: a run is a folder; name this file as onnx:{text}")
    if text.endswith((".pth", ".pt")):
        raise InputError(
            f"{text}: a run is a folder; name a teacher's file as teacher:arcface-iresnet:{text}"
        )
    if (layout.run_folder(text) / BLOCK).exists():
        return _adapted(layout.run_folder(text), weights)
    student = load_student(layout.run_folder(text))
    mirrored = student.card.views == BOTH
    card = student.card
    return Model(
        student.folder.as_posix(),
        student.sha256,
        card.input_frame,
        card.metric,
        mirrored,
        student.network,
        "; ".join(card.people),
    )


def _teacher_text(name: str) -> str:
    return load_params().teacher_text(name) if ":" not in name and PATH.exists() else name


def _adapted(run: Path, weights: Path) -> Model:
    """Raises InputError where the network behind the block is not that which it was taught for."""
    block = load_block(run)
    behind = load_model(block.card.before, weights)
    if behind.sha256 != block.card.before_sha256:
        raise InputError(
            f"{run / BLOCK}: taught before {block.card.before} {block.card.before_sha256[:12]}, "
            f"here is {behind.sha256[:12]}; adapt that one"
        )
    return replace(
        behind,
        name=run.as_posix(),
        sha256=block.sha256,
        network=lambda pictures: behind.network(block.network(pictures)),
    )
