"""Teachers, one file a backend, found by name."""

from __future__ import annotations

import sys
from pathlib import Path

from manifests.backends import find_backend
from pipeline.teachers.base import Teacher


def load_teacher(name: str, weights: Path) -> Teacher:
    """The teacher called `name`, with its weights from the folder `weights`."""
    teacher: Teacher = find_backend(sys.modules[__name__], "teacher", name).load(weights)
    return teacher
