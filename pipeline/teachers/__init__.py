"""Teachers: a file here each, an entry point of an installed package, or NAME:PATH."""

from __future__ import annotations

import sys
from pathlib import Path

from manifests.core.backends import load_backend
from pipeline.foreign.promises import check_pictures
from pipeline.teachers.base import Teacher

GROUP = "facestill.teachers"  # entry points of other packages
OTHERWISE = "or declare a file under `teachers` in params.yaml: {NAME: onnx:FILE}"


def load_teacher(name: str, weights: Path) -> Teacher:
    """The teacher called `name`, with its weights from the folder `weights`; or NAME:PATH, one
    that lies in a file of its own, as in onnx:PATH."""
    module = sys.modules[__name__]
    teacher: Teacher = load_backend(
        module, "teacher", name, weights, group=GROUP, otherwise=OTHERWISE
    )
    if not type(teacher).__module__.startswith(f"{__name__}."):  # of another package: tried
        check_pictures(teacher.embed, teacher.frame.size, f"teacher {name}")
    return teacher
