"""Students of a study that nobody trained: random weights, real writers, the parameters here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from manifests.core import layout
from manifests.core.files import write_json
from tests.conftest import ROOT
from train.checkpoint import FILE, LOG, StudentCard, load_student, save_student
from train.students import build_student

CARD = StudentCard(
    name="small-resnet", input_size=16, width=0.125, embedding_width=8, frame="arcface112",
    metric="cosine", views="plain+flip", stores="{}", params_sha256="0" * 64,
    git_commit="unknown", faces_seen=640,
)  # fmt: skip


def lay_out_params() -> None:
    """The parameters and suites of this repository, in the current folder."""
    shutil.copytree(ROOT / "params", "params")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    shutil.copytree(ROOT / layout.SUITES, layout.SUITES)


def make_student(folder: Path, card: StudentCard = CARD, *, seed: int = 0, **log: Any) -> None:
    """A run's folder; `log` is what its log says beside the student and its seconds."""
    torch.manual_seed(seed)
    network = build_student(
        card.name,
        input_size=card.input_size,
        width=card.width,
        embedding_width=card.embedding_width,
    )
    save_student(folder / FILE, network, card)
    made = {"sha256": load_student(folder).sha256, "num_params": 1000}
    write_json(folder / LOG, {"student": made, "train_seconds": 2.5, **log})
