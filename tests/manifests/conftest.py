"""A sound face store and teacher store, to be forged or damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.hostile_stores import ROWS, SIZE, TASK_ROWS, WIDTH
from tests.toys import toy_faces, toy_teacher


@pytest.fixture(scope="session")
def sound_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("sound")
    images = rng.integers(0, 256, (ROWS, SIZE, SIZE, 3), dtype=np.uint8)
    faces = toy_faces(root / "faces.zarr", images, task_rows=TASK_ROWS)
    rows = rng.standard_normal((ROWS, 2, WIDTH)).astype(np.float32)
    toy_teacher(root / "teachers/toy.zarr", rows, faces_root=faces.root, task_rows=TASK_ROWS)
    return root


@pytest.fixture
def stores(sound_stores: Path, tmp_path: Path) -> Path:
    """The folder of both: faces.zarr, teachers/toy.zarr."""
    root = tmp_path / "stores"
    shutil.copytree(sound_stores, root, ignore=shutil.ignore_patterns(".work-*"))
    return root
