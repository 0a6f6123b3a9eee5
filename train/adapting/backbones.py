"""Frozen networks that a block may stand before: a student's, or a teacher's of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame
from pipeline.teachers import load_teacher
from train.checkpoint import load_student

TEACHER = "teacher"


@dataclass(frozen=True)
class Backbone:
    """A frozen network that gradients go through, and what must be known to feed it."""

    name: str  # as commands name models
    sha256: str
    frame: Frame
    metric: str
    views: str
    embedding_width: int
    network: nn.Module
    licence: str = ""  # of a teacher's weights; a student's are of the stores that it names


def open_backbone(text: str, weights: Path) -> Backbone:
    """A run such as mined-2 or its folder, or teacher:NAME.

    Raises InputError for a teacher that is no network of torch.
    """
    kind, name = split_kind(text)
    if not name:
        student = load_student(layout.run_folder(text))
        card, run = student.card, student.folder.as_posix()
        return Backbone(
            run, student.sha256, card.input_frame, card.metric, card.views, card.embedding_width,
            student.network,
        )  # fmt: skip
    teacher = load_teacher(name, weights) if kind == TEACHER else None
    network = getattr(teacher, "network", None)
    if teacher is None or not teacher.by_torch or not isinstance(network, nn.Module):
        raise InputError(
            f"{text}: no network of torch, and no gradient goes through it to a block before it; "
            "name a run, teacher:dlib-resnet or teacher:arcface-iresnet:PATH"
        )
    return Backbone(
        text, teacher.weights_sha256, teacher.frame, teacher.metric, "plain", teacher.width,
        network.eval().requires_grad_(False), teacher.licence,
    )  # fmt: skip
