"""Two photographs: the verdict, the threshold it rests on, and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from eval import match
from eval.alignment import alignment_by
from eval.match import (
    OperatingPoint,
    decide,
    in_words,
    operating_point,
    outside,
    usual_operating_point,
)
from eval.photos.folders import KIND as EMBEDDINGS
from eval.photos.folders import embed_folder, embedding_schema
from eval.photos.models import Model, load_model
from manifests.core.errors import InputError
from manifests.core.files import write_json
from manifests.core.tables import read_table, write_table
from manifests.photographs.scores import KIND, SCHEMA
from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112, DLIB112
from pipeline.arrays.landmarks import ARCFACE5
from tests.protocols import CUT, DLIB_RULE

pytestmark = pytest.mark.usefixtures("weights_here")
TEACHER = "teacher:dlib-resnet"
AT = OperatingPoint(
    0.01, 0.5, (0.4, 0.6), "orl", "c" * 64, 1800, 40, DLIB_RULE, 20.0, "reports/verify/orl/student"
)
MODEL = Model("toy", "a" * 64, ARCFACE112, "cosine", False, lambda x: x.flatten(1))
IMPOSTORS = 1000


def face(distance: float | None, others: int = 0) -> Face:
    """With so many pixels between the eyes; None: not detected."""
    aligned = Face(ARCFACE5.inside(ARCFACE112), 0.0)
    landmarks = aligned.landmarks / aligned.eye_distance
    return Face(landmarks * (distance or 1.0), 1.0, distance is not None, others)


def write_result(
    folder: Path,
    model: Model = MODEL,
    *,
    low: float = 0.0,
    high: float = 1.0,
    people: int = 0,
    failed: int = 0,
    **changes: Any,
) -> Path:
    """A verification: impostors evenly over low..high, as many genuine pairs above them; of as
    many pairs as images, or of so many people. The first so many pairs have failed."""
    scores = np.linspace(low, high, IMPOSTORS)
    scores = np.append(scores, scores + (high - low))
    count = len(scores)
    same = np.arange(count) >= IMPOSTORS
    left = [f"p{number % (people or count):04}/{number}.jpg" for number in range(count)]
    right = [
        f"p{(number + 1 - genuine) % (people or count):04}/{number}-2.jpg"
        for number, genuine in enumerate(same)
    ]
    columns = [
        np.arange(count), np.arange(count) % 10, left, right, same, scores,
        np.arange(count) < failed,
    ]  # fmt: skip
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    facts = {"model_sha256": model.sha256, "protocol_sha256": "b" * 64}
    facts["subject_rule"] = "folder" if people else "image"
    write_table(folder / "scores.parquet", KIND, pa.Table.from_arrays(arrays, schema=SCHEMA), facts)
    metrics = {"benchmark": "toy", "metric": model.metric, "mirrored_view_added": model.mirrored}
    metrics |= {"alignment": DLIB_RULE, "frame": model.frame.name, "eye_distance": {"least": 20.0}}
    write_json(folder / "metrics.json", metrics | facts | changes)
    return folder


@pytest.mark.parametrize("fmr", [0.01, 0.2374])
def test_at_most_the_stated_share_of_impostors_is_above_the_threshold(
    tmp_path: Path, fmr: float
) -> None:
    at = operating_point(write_result(tmp_path), MODEL, fmr)
    impostors = np.linspace(0, 1, IMPOSTORS)
    assert (impostors > at.threshold).mean() <= fmr < (impostors >= at.threshold).mean()
    assert at.ci95[0] <= at.threshold <= at.ci95[1]
    assert at.num_impostors == IMPOSTORS


@pytest.mark.parametrize(
    ("score", "same", "close"),
    [(0.9, True, False), (0.55, True, True), (0.5, False, True), (0.1, False, False)],
)
def test_a_pair_is_the_same_above_the_threshold(score: float, same: bool, close: bool) -> None:
    found = decide(score, "cosine", (face(40), face(40, others=1)), AT)
    assert (found.same, found.close, found.reason) == (same, close, None)
    words = in_words(found, Path("a.jpg"), Path("b.jpg"))
    verdict = "same" if same else "different"
    assert words.startswith(f"{verdict} at FMR 0.01: score {score:.4f} (cosine), same above 0.5000")
    assert "[0.4000, 0.6000]" in words
    assert ("a close call" in words) == close
    assert "2 faces were found in b.jpg: the most central was compared" in words
    assert "in a.jpg" not in words and found.other_faces == (0, 1)


@pytest.mark.parametrize(
    ("faces", "reason"),
    [
        ((40.0, 40.0), None),
        ((21.0, 400.0), None),
        ((None, 40.0), "no face was found in a.jpg"),
        ((None, None), "no face was found in a.jpg and b.jpg"),
        ((40.0, 12.34), "the face in b.jpg has 12.3 pixels between the eyes, the smallest of orl"),
    ],
)
def test_photographs_unlike_those_of_the_threshold_get_no_verdict(
    faces: tuple[float | None, float | None], reason: str | None
) -> None:
    pair = [face(distance) for distance in faces]
    found = outside((Path("a.jpg"), Path("b.jpg")), pair, ARCFACE112, AT)
    assert found == reason or (reason and found and found.startswith(reason))


def test_a_face_of_more_pixels_than_the_network_looks_at_is_large_enough() -> None:
    at = replace(AT, least_eye_distance=90.0)  # the frame's own are 35.3
    pair = (Path("a.jpg"), Path("b.jpg"))
    assert outside(pair, (face(36), face(36)), ARCFACE112, at) is None
    assert outside(pair, (face(36), face(35)), ARCFACE112, at) is not None


def test_a_threshold_comes_from_pairs_whose_faces_were_found_each_counted_once(
    tmp_path: Path,
) -> None:
    whole = operating_point(write_result(tmp_path / "whole"), MODEL, 0.05)
    part = operating_point(write_result(tmp_path / "part", failed=500), MODEL, 0.05)
    assert (whole.num_impostors, part.num_impostors) == (1000, 500)
    assert part.threshold > whole.threshold  # the failed ones have the lowest scores here
    folder = write_result(tmp_path / "twice")
    table, facts, _ = read_table(folder / "scores.parquet", KIND, SCHEMA)
    write_table(folder / "scores.parquet", KIND, pa.concat_tables([table, table]), facts)
    assert operating_point(folder, MODEL, 0.01).num_impostors == 1000
    with pytest.raises(InputError, match="1000 impostor pairs are too few"):
        operating_point(folder, MODEL, 0.005)


def test_a_threshold_of_too_few_people_is_refused(tmp_path: Path) -> None:
    assert operating_point(write_result(tmp_path / "10", people=10), MODEL, 0.01).num_people == 10
    with pytest.raises(InputError, match="9 people are too few for a threshold; bring pairs of 10"):
        operating_point(write_result(tmp_path / "9", people=9), MODEL, 0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_sha256": "f" * 64},
            "measured with model_sha256 'f{20}', toy is used here with 'a{20}'",
        ),
        ({"metric": "euclidean"}, "measured with metric 'euclidean'"),
        ({"frame": "dlib150"}, "measured with frame 'dlib150'"),
        ({"benchmark": "templates"}, "measured on templates, each made of several photographs"),
        ({"mirrored_view_added": True}, "measured with mirrored_view_added 'True'"),
        (
            {"alignment": CUT.rule},
            "measured on crops .alignment 'none: crops in",
        ),
        ({"protocol_sha256": "f" * 64}, "unlike protocol_sha256"),
    ],
)
def test_a_result_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_result(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        operating_point(tmp_path, MODEL, 0.01)


def test_a_result_of_before_is_of_the_frame_that_was_called_so(tmp_path: Path) -> None:
    former = Model("toy", "a" * 64, DLIB112, "cosine", False, lambda x: x.flatten(1))
    write_result(tmp_path, frame="arcface112")
    assert operating_point(tmp_path, former, 0.01).num_people > 0
    write_result(tmp_path, frame="dlib112")
    with pytest.raises(InputError, match="measured with frame 'dlib112'"):
        operating_point(tmp_path, MODEL, 0.01)


def test_a_rate_that_the_impostors_do_not_bear_is_refused(tmp_path: Path) -> None:
    write_result(tmp_path)
    with pytest.raises(InputError, match=r"1000 impostor pairs are too few .* at least 0.01"):
        operating_point(tmp_path, MODEL, 0.001)
    write_json(tmp_path / "metrics.json", [])
    with pytest.raises(InputError, match=r"metrics\.json: not a result of facestill verify"):
        operating_point(tmp_path, MODEL, 0.01)


def test_the_users_own_pairs_come_first_if_they_bear_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no result of toy under reports/verify; run"):
        usual_operating_point(MODEL, 0.01)
    other = Model("other", "f" * 64, ARCFACE112, "cosine", False, lambda x: x)
    write_result(Path("reports/verify/pairs/teacher"), other)
    write_result(Path("reports/verify/orl/student"))
    assert usual_operating_point(MODEL, 0.01).result == "reports/verify/orl/student"
    write_result(Path("reports/verify/pairs/student"))
    assert usual_operating_point(MODEL, 0.01).result == "reports/verify/pairs/student"
    with pytest.raises(InputError, match="reports/verify/pairs/student: 1000 impostor pairs"):
        usual_operating_point(MODEL, 0.0001)


@pytest.fixture
def photographs(workspace: Path, weights: Path) -> Path:
    """A workspace with a verification of the teacher, whose threshold at 0.01 is about -0.6."""
    teacher = load_model(TEACHER, weights)
    write_result(workspace / "result", teacher, low=-1.6, high=-0.6)
    grey = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    Image.fromarray(grey).save(workspace / "noise.png")
    (workspace / "broken.jpg").write_bytes(b"\xff\xd8 no photograph")
    return workspace


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["match", *arguments])
        return match.main()


def test_the_command_tells_people_apart(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_result = ("--model", TEACHER, "--benchmark-result", "result")
    orl = "data/weights/orl"
    assert run(f"{orl}/s1/1.pgm", f"{orl}/s1/3.pgm", *with_result) == 0
    assert capsys.readouterr().out.startswith("same at FMR 0.01: score -0.")
    assert run(f"{orl}/s1/1.pgm", f"{orl}/s2/1.pgm", *with_result, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["same"] and found["detected"] == [True, True]
    assert found["score"] < found["at"]["threshold"] and found["at"]["fmr"] == 0.01
    assert found["reason"] is None and found["other_faces"] == [0, 0]
    with pytest.raises(InputError, match=r"broken\.jpg: not a readable image"):
        run("noise.png", "broken.jpg", *with_result)
    with pytest.raises(InputError, match=r"none\.jpg: no such photograph"):
        run("noise.png", "none.jpg", *with_result)
    with pytest.raises(InputError, match="two photographs, or one folder and --out"):
        run("noise.png", "--model", TEACHER)


def test_pictures_and_places_are_refused_before_a_model_is_loaded(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match, "load_model", lambda *_: pytest.fail("late"))
    with pytest.raises(InputError, match=r"2 faults\nnone\.jpg: no such .*\nbroken\.jpg: not a re"):
        run("none.jpg", "broken.jpg", "--model", TEACHER)
    (photographs / "album").mkdir()
    with pytest.raises(InputError, match="album: no file can be there"):
        run("album", "--model", TEACHER, "--out", "album")


def test_no_face_is_no_verdict(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (200, 160), (120, 90, 60)).save("wall.png")
    with_result = ("--model", TEACHER, "--benchmark-result", "result")
    for left, right, lost in (
        ("wall.png", "noise.png", r"wall\.png and noise\.png"),
        ("data/weights/orl/s1/1.pgm", "wall.png", r"wall\.png"),
    ):
        with pytest.raises(InputError, match=f"no verdict: no face was found in {lost}"):
            run(left, right, *with_result)
        assert run(left, right, *with_result, "--json") == 2
        found = json.loads(capsys.readouterr().out)
        assert (found["same"], found["score"]) == (None, None)
        assert found["reason"].startswith("no face was found in")


def test_another_face_in_a_photograph_is_said(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (np.asarray(Image.open(f"data/weights/orl/s{k}/1.pgm")) for k in (1, 2))
    Image.fromarray(np.concatenate([one, other], axis=1)).save("two.png")
    with_result = ("--model", TEACHER, "--benchmark-result", "result")
    run("two.png", "data/weights/orl/s1/3.pgm", *with_result)
    assert "2 faces were found in two.png: the most central was compared" in capsys.readouterr().out
    run("two.png", "data/weights/orl/s1/3.pgm", *with_result, "--json")
    assert json.loads(capsys.readouterr().out)["other_faces"] == [1, 0]


def test_a_folder_becomes_a_table_with_a_row_a_photograph(
    photographs: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photographs / "album"
    (folder / "inner").mkdir(parents=True)
    for name, source in {"b.pgm": "s1/1.pgm", "inner/a.PGM": "s2/1.pgm"}.items():
        (folder / name).write_bytes((weights / "orl" / source).read_bytes())
    (photographs / "noise.png").rename(folder / "noise.png")
    (photographs / "broken.jpg").rename(folder / "broken.jpg")
    (folder / "notes.txt").write_text("none")
    assert run("album", "--model", TEACHER, "--out", "out/album.parquet") == 0
    assert "4 photographs, 2 detected, 1 unreadable" in capsys.readouterr().out
    path = photographs / "out/album.parquet"
    table, facts, _ = read_table(path, EMBEDDINGS, embedding_schema(128))
    assert table["image"].to_pylist() == ["b.pgm", "broken.jpg", "inner/a.PGM", "noise.png"]
    assert table["detected"].to_pylist() == [True, False, True, False]
    assert [row is None for row in table["embedding"].to_pylist()] == [False, True, False, False]
    assert "not a readable image" in table["error"][1].as_py()
    model = load_model(TEACHER, weights)
    assert facts["model_sha256"] == model.sha256
    alone = embed_folder(folder / "inner", model, alignment_by())
    assert facts["alignment"] == alignment_by().rule
    assert alone["embedding"][0].as_py() == table["embedding"][2].as_py()


def test_photographs_are_aligned_as_those_of_the_result_were(
    photographs: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ("data/weights/orl/s1/1.pgm", "data/weights/orl/s1/3.pgm", "--model", TEACHER, "--json")
    teacher, scores = load_model(TEACHER, weights), {}
    for name in ("dlib", "yunet-onet"):
        rule = alignment_by(name).rule
        write_result(photographs / name, teacher, low=-1.6, high=-0.6, alignment=rule)
        assert run(*pair, "--benchmark-result", name) == 0
        found = json.loads(capsys.readouterr().out)
        scores[name] = found["score"]
        assert found["at"]["alignment"] == rule
        assert run(*pair, "--benchmark-result", name, "--aligner", name, "--face", "central") == 0
        assert json.loads(capsys.readouterr().out) == found
    assert scores["dlib"] != scores["yunet-onet"]
    for words in (("--aligner", "yunet-onet"), ("--face", "largest")):
        with pytest.raises(InputError, match=r"^dlib: .*aligned by 'dlib HOG") as caught:
            run(*pair, "--benchmark-result", "dlib", *words)
        assert "\n" not in str(caught.value)
    (photographs / "reports/verify/dlib").mkdir(parents=True)
    (photographs / "reports/verify/yunet-onet").mkdir()
    for name in ("dlib", "yunet-onet"):  # of several results, the one that is aligned so
        (photographs / name).rename(photographs / "reports" / "verify" / name / "teacher")
    assert run(*pair, "--aligner", "yunet-onet") == 0
    assert json.loads(capsys.readouterr().out)["score"] == scores["yunet-onet"]


def test_a_picture_that_exif_turns_is_matched_upright(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upright = Image.open("data/weights/orl/s1/1.pgm").convert("RGB")
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown by a quarter to the right
    upright.save("upright.png")
    lying.save("lying.png")
    lying.save("turned.png", exif=exif)
    with_result = ("--model", TEACHER, "--benchmark-result", "result", "--json")
    assert run("upright.png", "turned.png", *with_result) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["score"] == 0.0 and found["detected"] == [True, True]  # a distance, negated
    assert run("upright.png", "lying.png", *with_result) == 2
    assert json.loads(capsys.readouterr().out)["detected"] == [True, False]


def test_folders_without_a_readable_photograph_are_refused(tmp_path: Path, weights: Path) -> None:
    aligner = alignment_by("dlib")
    with pytest.raises(InputError, match="no images"):
        embed_folder(tmp_path, MODEL, aligner)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 1 photographs is readable: .*a\.jpg"):
        embed_folder(tmp_path, MODEL, aligner)
