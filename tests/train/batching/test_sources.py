"""Sources: rounds whose faces, embeddings and frames fit each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core.errors import InputError
from tests.toys import make_round, toy_teacher
from train.batching.sources import check_one_teacher, open_source, stored_frame


def test_a_usable_face_must_have_an_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("a", 200, failed=0.0)
    rows = teacher.embeddings().astype(np.float32)
    rows[[7, 150], 1, 3] = np.nan, np.inf
    holed = toy_teacher(tmp_path / "holed.zarr", rows, faces_root=faces.root)
    with pytest.raises(InputError, match=r"holed\.zarr: row 7 is a usable face, its embedding"):
        open_source(faces, {"toy": holed})
    with pytest.raises(InputError, match=r"row 150 "):
        open_source(faces, {"toy": holed}, np.array([7]))
    assert len(open_source(faces, {"toy": holed}, np.array([7, 150])).usable) == 198


def test_embeddings_of_unlike_precision_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, exact = make_round("a", 70)
    made_by = exact.passport.fingerprint
    halved = replace(made_by, identity={**made_by.identity, "precision": "bfloat16"})
    other = toy_teacher(
        tmp_path / "other.zarr",
        exact.embeddings().astype(np.float32),
        passport=replace(exact.passport, fingerprint=halved),
    )
    check_one_teacher([other, other])
    with pytest.raises(InputError, match=r"other\.zarr: .* \(unlike in precision\) than .*toy\.z"):
        check_one_teacher([exact, other])


def test_faces_and_embeddings_must_be_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (faces, _), (_, shorter) = make_round("a", 70), make_round("b", 69)
    with pytest.raises(InputError, match=r"toy\.zarr: 69 rows, .*a/faces\.zarr has 70"):
        open_source(faces, {"toy": shorter})


def test_all_sources_must_share_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources = [open_source(make_round(name, count)[0], {}) for name, count in (("a", 70), ("b", 0))]
    assert stored_frame(sources).size == 32
    monkeypatch.setattr("tests.toys.FACE_SIZE", 48)
    other = open_source(make_round("c", 70)[0], {})
    with pytest.raises(InputError, match="wide at 32 px, wide at 48 px"):
        stored_frame([*sources, other])
