"""Which faces the report shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.reporting.pictures import read_faces, showable, spread
from manifests.core import layout
from manifests.stores.rounds import open_round
from tests.toys import make_round


def test_scattered_faces_come_in_the_asked_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, _ = make_round("pool", 100)
    rows = np.array([99, 3, 64, 3])
    assert np.array_equal(read_faces(faces, rows), faces.images(0, 100)[rows])
    assert spread(np.arange(100), 4).tolist() == [0, 33, 66, 99]
    assert spread(np.empty(0, np.int64), 4).tolist() == []


def test_only_rounds_without_imported_faces_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_round("pool", 10)
    make_round("collected", 10, origin="imported")
    shown = showable(open_round("pool", "toy"))
    assert shown is not None and len(shown) == 10
    assert showable(open_round("collected", "toy")) is None
    layout.manifest("pool").unlink()
    assert showable(open_round("pool", "toy")) is None
