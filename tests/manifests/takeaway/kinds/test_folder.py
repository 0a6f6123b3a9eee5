"""A folder an identity, by the rule of torchvision's ImageFolder, and as `datasets` reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.photographs.sources.folder import FolderImages
from manifests.takeaway.delivering import pack_round
from pipeline.adoption.image_sets import numbered
from tests.manifests.takeaway.kinds.conftest import check_face
from tests.packed import ROUND

OUT = Path("as-folder")


@pytest.fixture(scope="module", autouse=True)
def packed(source: None) -> None:
    pack_round(ROUND, OUT, "folder")


def image_folder(root: str) -> list[tuple[str, int]]:
    """(file, class) as torchvision.datasets.ImageFolder lists them: classes are the folders'
    sorted names, files lie at any depth below."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    found = []
    for number, name in enumerate(classes):
        for folder, _, files in sorted(os.walk(os.path.join(root, name))):
            found += [(os.path.join(folder, file), number) for file in sorted(files)]
    return found


def pixels(path: str) -> np.ndarray:
    picture = cv2.imread(path)
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def test_image_folder_finds_every_usable_face_of_an_identity(truth: list[dict[str, Any]]) -> None:
    wanted = {
        f"{face['face_id']:019d}.png": face
        for face in truth
        if face["ok"] and face["identity_id"] is not None
    }
    found = image_folder(str(OUT / "images"))
    assert len(found) == len(wanted) > 200
    for path, number in found:
        face = wanted[os.path.basename(path)]
        assert number == [0, 7, 10, 213].index(face["identity_id"])
        assert int(os.path.basename(os.path.dirname(path))) == face["identity_id"]
        np.testing.assert_array_equal(pixels(path), face["pixels"])


def test_what_file_names_cannot_say_stands_in_the_table(truth: list[dict[str, Any]]) -> None:
    rows = pq.read_table(OUT / "metadata.parquet").to_pylist()
    wanted = [face for face in truth if face["ok"]]
    assert len(rows) == len(wanted)
    for row, face in zip(rows, wanted, strict=True):
        assert row["file_name"].startswith("images/" if row["label"] is not None else "unlabelled/")
        check_face(row | {"pixels": pixels(str(OUT / row["file_name"]))}, face)
    labels = {row["file_name"]: row["label"] for row in rows if row["label"] is not None}
    found = image_folder(str(OUT / "images"))
    assert labels == {os.path.relpath(path, OUT): number for path, number in found}


@pytest.mark.filterwarnings("ignore")  # of the library's own
def test_datasets_reads_pictures_and_table_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truth: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    datasets.disable_progress_bars()
    faces = {face["row"]: face for face in datasets.load_dataset(str(OUT), split="train")}
    assert sorted(faces) == [face["row"] for face in truth if face["ok"]]
    for row, face in faces.items():
        check_face(face | {"pixels": np.asarray(face["image"])}, truth[row])


def test_a_round_of_no_identities_is_unlabelled(truth: list[dict[str, Any]]) -> None:
    nobody = [str(face["face_id"]) for face in truth if face["identity_id"] is None][:20]
    Path("nobody.txt").write_text("\n".join(nobody))
    found = pack_round(ROUND, Path("nobodies"), "folder", selection="nobody.txt")
    assert "20 of 700 rows, 20 without an identity in unlabelled/;" in str(found)
    assert not Path("nobodies/images").exists()
    assert len(list(Path("nobodies/unlabelled").iterdir())) == 20


def test_adopted_again_nobody_is_still_nobody() -> None:
    rows = pq.read_table(OUT / "metadata.parquet", columns=["file_name", "label"]).to_pylist()
    found = FolderImages(OUT)
    labels = numbered(found.labels)
    assert -1 in labels
    assert dict(zip(found.names, labels, strict=True)) == {
        row["file_name"]: -1 if row["label"] is None else row["label"] for row in rows
    }
