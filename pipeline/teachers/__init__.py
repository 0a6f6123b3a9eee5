"""Teachers, one file a backend, found by name; or a file of its own, `onnx:PATH`."""

from __future__ import annotations

import sys
from pathlib import Path

from manifests.backends import find_backend
from pipeline.teachers.base import Teacher
from pipeline.teachers.onnx import load_file


def load_teacher(name: str, weights: Path) -> Teacher:
    """The teacher called `name`, with its weights from the folder `weights`, or onnx:PATH."""
    if name.startswith("onnx:"):
        return load_file(Path(name.removeprefix("onnx:")))
    teacher: Teacher = find_backend(sys.modules[__name__], "teacher", name).load(weights)
    return teacher
