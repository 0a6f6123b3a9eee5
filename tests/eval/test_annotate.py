"""Annotating stores and photographs: every row is there, and what failed is undefined."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.annotate import main, stage_photographs
from eval.annotators import (
    align,
    annotate,
    annotate_rows,
    annotate_store,
    cut_to,
    load_annotator,
    place_in,
    stacked,
)
from eval.annotators.base import AlignedFaces, Annotator
from eval.attributes.pose import project
from manifests.core.errors import InputError
from manifests.core.layout import manifest as manifest_path
from manifests.records.attributes import Attribute, AttributeTable
from manifests.settings.params import load_params
from manifests.stores.latents import LatentManifest
from pipeline.aligners.base import Aligner
from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112, DLIB112, DLIB150, WIDE, Frame, between, to_frame
from pipeline.arrays.landmarks import ARCFACE5, DLIB5, SCHEMES, Scheme
from tests.toys import FACE_SIZE, make_round, toy_faces, toy_manifest

BOTH = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))


class Brightest(Annotator):
    """The brightest value of a face, and how many landmarks are known."""

    name, version, frame = "brightest", "1", DLIB112.at(28)
    attributes = tuple(
        Attribute(name, "", 0.0, 255.0, (0.0, 128.0, 255.0), "") for name in ("peak", "known")
    )

    def annotate(self, faces: AlignedFaces) -> np.ndarray:
        peak = faces.images.reshape(len(faces), 28 * 28 * 3).max(axis=1)
        known = np.isfinite(faces.landmarks).all(axis=2).sum(axis=1)
        return np.stack([peak, known], axis=1).astype(np.float32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_store_has_a_row_for_every_face(here: Path) -> None:
    faces, _ = make_round("pool", 90)
    table = annotate("pool", Brightest())
    manifest = LatentManifest.read(manifest_path("pool"))
    table.require_faces(manifest.face_id, faces.root)
    ok = faces.ok()
    assert (~np.isnan(table.column("peak"))).tolist() == ok.tolist()
    inside = faces.images(0, 90)[:, 1:29, 2:30]  # dlib112 in wide, at a quarter
    expected = inside.reshape(90, -1).max(axis=1)[ok]
    assert table.column("peak")[ok].tolist() == expected.tolist()
    assert set(table.column("known")[ok]) == {0.0}  # this store keeps no landmarks
    assert set(table.subject) == {""}


@pytest.mark.parametrize("named", [*SCHEMES, "mediapipe5"])
def test_landmarks_of_a_store_are_of_its_scheme(tmp_path: Path, named: str) -> None:
    scheme = SCHEMES.get(named, ARCFACE5)
    yaw = np.array([-30.0, 0.0, 30.0])
    seen, _, _ = project(scheme, np.radians(yaw), np.zeros(3))
    points = 30 * np.stack([seen.real, seen.imag], axis=2) + FACE_SIZE / 2
    images = np.zeros((3, FACE_SIZE, FACE_SIZE, 3), np.uint8)
    store = toy_faces(tmp_path / "f.zarr", images, landmarks=(named, points.astype(np.float32)))
    table = annotate_store(load_annotator("measured"), "pool", toy_manifest(3), store)
    expected = yaw if named in SCHEMES else np.full(3, np.nan)
    np.testing.assert_allclose(table.column("yaw"), expected, atol=1e-3)


def test_a_round_of_another_team_keeps_its_name_here(here: Path) -> None:
    make_round("pool", 20)
    for place in ("data", "manifests/rounds"):
        (here / place / "teama").mkdir()
    (here / "data/pool").rename(here / "data/teama/pool")
    (here / "manifests/rounds/pool.parquet").rename(here / "manifests/rounds/teama/pool.parquet")
    assert annotate("teama/pool", Brightest()).source.name == "teama/pool"


def test_people_of_an_identity_round_are_told_apart(here: Path) -> None:
    make_round("pool", 20, identity_id=np.arange(20) // 5)
    assert annotate("pool", Brightest()).subject == tuple(str(i // 5) for i in range(20))


def test_an_empty_round_has_an_empty_table(here: Path) -> None:
    make_round("mined-1", 0)
    table = annotate("mined-1", load_annotator("measured"))
    assert len(table) == 0
    table.write(here / "empty.parquet")
    assert len(AttributeTable.read(here / "empty.parquet")) == 0


def test_a_frame_whose_pixels_are_stored_is_sliced() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    target = DLIB112.at(84)
    cut = cut_to(images, WIDE.at(96), target)
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    warped = to_frame(floats, WIDE.at(96), target).round().permute(0, 2, 3, 1).numpy()
    assert cut.base is not None and np.array_equal(cut, warped)


@pytest.mark.parametrize("frame", [ARCFACE112.at(60), DLIB150, WIDE.at(128)])
def test_other_frames_are_resampled(frame: Frame) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    expected = to_frame(floats, WIDE.at(96), frame).round().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(cut_to(images, WIDE.at(96), frame), expected)


def test_landmarks_go_where_the_crop_goes() -> None:
    stored, target = WIDE.at(96), ARCFACE112.at(84)
    moved = place_in(ARCFACE5.inside(stored)[None], between(stored, target))[0]
    np.testing.assert_allclose(moved, ARCFACE5.inside(target), atol=1e-9)


@BOTH
def test_a_photograph_keeps_where_its_landmarks_were(scheme: Scheme) -> None:
    picture = np.zeros((200, 220, 3), np.uint8)
    source = scheme.inside(ARCFACE112) @ np.array([[0.9, 0.3], [-0.3, 0.9]]) + [60, 40]
    for x, y in np.floor(source).astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    faces = align(picture, Face(source, 1.0, scheme=scheme), ARCFACE112.at(84))
    assert faces.scheme is scheme
    np.testing.assert_array_equal(faces.source_landmarks[0], source)
    for x, y in np.floor(faces.landmarks[0]).astype(int):
        assert faces.images[0, y - 1 : y + 2, x - 1 : x + 2].max() > 100


def test_blocks_change_nothing() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 28, 28, 3), dtype=np.uint8)
    unknown = np.full((300, 5, 2), np.nan)
    faces = AlignedFaces(images, unknown, unknown, DLIB5)
    whole = Brightest().annotate(faces)
    np.testing.assert_array_equal(annotate_rows(Brightest(), faces), whole)
    singles = (faces.rows(slice(i, i + 1)) for i in range(300))
    blocks = list(stacked(singles, 128))
    assert [len(block) for block in blocks] == [128, 128, 44]
    assert {block.scheme for block in blocks} == {DLIB5}
    np.testing.assert_array_equal(np.concatenate([block.images for block in blocks]), images)


@pytest.fixture
def album(workspace: Path) -> Path:
    """Three photographs of two people, and a picture of nobody."""
    for name in ("s1/1.pgm", "s1/2.pgm", "s2/1.pgm"):
        target = workspace / "album" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(workspace / "data/weights/orl" / name, target)
    Image.new("RGB", (100, 100), (90, 120, 90)).save(workspace / "album/nobody.png")
    (workspace / "album/notes.txt").write_text("not a photograph")
    return workspace / "album"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["annotate", *arguments])
    main()


def test_photographs_are_measured_as_they_were_taken(
    album: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = album.parent / "album.parquet"
    run(monkeypatch, f"folder:{album}", "--out", str(out))
    table = AttributeTable.read(out)
    assert table.image == ("nobody.png", "s1/1.pgm", "s1/2.pgm", "s2/1.pgm")
    assert table.subject == ("", "s1", "s1", "s2")
    assert np.isnan(table.values[0]).all()  # no face, so nothing to measure
    assert np.isfinite(table.values[1:, :6]).all()
    assert np.isnan(table.column("skin angle")).all()  # grey photographs
    assert ((table.column("eye distance")[1:] > 20) & (table.column("eye distance")[1:] < 60)).all()
    assert (np.abs(table.column("yaw")[1:]) < 45).all()
    assert "4 rows; defined: yaw 3" in capsys.readouterr().out


def test_photographs_are_refused_before_any_is_measured(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Aligner, "find", lambda *_, **__: pytest.fail("late"))
    (album / "zz").mkdir()
    for name in ("zz/1.jpg", "zz/2.jpg"):
        (album / name).write_bytes(b"cut short")
    with pytest.raises(InputError, match=r"2 faults\n.*1\.jpg: not a .*\n.*2\.jpg: not a re"):
        run(monkeypatch, f"folder:{album}", "--out", "x.parquet")


def test_tables_stay_where_photographs_are_refused(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = album.parent / "data/photographs/pairs/measured.parquet"
    table.parent.mkdir(parents=True)
    table.touch()
    (album / "images").mkdir()
    (album / "images/1.jpg").write_bytes(b"cut short")
    params = load_params()
    params = replace(params, verify=replace(params.verify, pairs=str(album)))
    with pytest.raises(InputError, match=r"1\.jpg: not a readable image"):
        stage_photographs(Brightest(), params)
    assert table.exists()


def test_another_photograph_gives_another_digest(album: Path) -> None:
    before = annotate(f"folder:{album}", load_annotator("measured"))
    shutil.copy(album / "s1/1.pgm", album / "s1/2.pgm")
    after = annotate(f"folder:{album}", load_annotator("measured"))
    assert before.source.digest != after.source.digest
    np.testing.assert_array_equal(after.values[1], after.values[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere/faces.zarr: this store does not exist"),
        (["../pool"], "a name has letters"),
        (["folder:nowhere", "--out", "x.parquet"], "nowhere: no such folder"),
        (["folder:", "--out", "x.parquet"], "photographs folder need a folder"),
        (["pairs:album", "--out", "x.parquet"], "album/images: no such folder"),
        (["orl:album", "--out", "x.parquet"], "photographs orl take no folder"),
        (["folder:empty", "--out", "x.parquet"], "empty: no images"),
        (["folder:album"], "name a file for its table with --out"),
        (["orl"], "name a file for its table with --out"),
        (["folder:album", "--out", "album"], "album: no file can be there"),
        (["folder:album", "--out", "params.yaml/x.parquet"], "x.parquet: no file can be there"),
        (["folder:odd", "--out", "x.parquet"], r"rename 'a\\nb.png'"),
        (["folder:broken", "--out", "x.parquet"], "a.jpg: not a readable image"),
        (["pool", "--annotator", "guess"], "unknown annotator 'guess'"),
        ([], "give one source, or --photographs alone"),
        (["orl", "--photographs"], "give one source, or --photographs alone"),
        (
            ["--photographs", "--annotator", "onnx:a.onnx"],
            "give one source, or --photographs alone",
        ),
    ],
)
def test_bad_input_is_one_line(
    album: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    (album.parent / "empty").mkdir()
    (album.parent / "odd").mkdir()
    (album.parent / "odd/a\nb.png").write_bytes(b"")
    (album.parent / "broken").mkdir()
    (album.parent / "broken/a.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(InputError) as caught:
        run(monkeypatch, *arguments)
    assert re.search(message, str(caught.value))
    assert not (album.parent / "x.parquet").exists()
