"""Two photographs: the verdict, the threshold it rests on, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from eval import match
from eval.match import OperatingPoint, decide, in_words, operating_point, usual_operating_point
from eval.photos.folders import KIND as EMBEDDINGS
from eval.photos.folders import embed_folder, embedding_schema
from eval.photos.models import Model, load_model
from manifests.core.errors import InputError
from manifests.core.files import write_json
from manifests.core.tables import read_table, write_table
from manifests.photographs.protocols import ALIGNMENT
from manifests.photographs.scores import KIND, SCHEMA
from pipeline.arrays.align import Aligner
from pipeline.arrays.frames import ARCFACE112

TEACHER = "teacher:dlib-resnet"
MODEL = Model("toy", "a" * 64, ARCFACE112, "cosine", False, lambda x: x.flatten(1))
IMPOSTORS = 1000


def write_result(
    folder: Path, model: Model = MODEL, *, low: float = 0.0, high: float = 1.0, **changes: Any
) -> Path:
    """A verification: impostors evenly over low..high, as many genuine pairs above them."""
    scores = np.linspace(low, high, IMPOSTORS)
    scores = np.append(scores, scores + (high - low))
    count = len(scores)
    names = [f"p{number:04}/1.jpg" for number in range(count)]
    columns = [
        np.arange(count), np.arange(count) % 10, names, names[::-1], np.arange(count) >= IMPOSTORS,
        scores, np.zeros(count, bool),
    ]  # fmt: skip
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    facts = {"model_sha256": model.sha256, "protocol_sha256": "b" * 64, "subject_rule": "image"}
    write_table(folder / "scores.parquet", KIND, pa.Table.from_arrays(arrays, schema=SCHEMA), facts)
    metrics = {"benchmark": "toy", "metric": model.metric, "mirrored_view_added": model.mirrored}
    metrics["alignment"] = ALIGNMENT
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
    at = OperatingPoint(0.01, 0.5, (0.4, 0.6), "orl", "c" * 64, 1800, "reports/verify/orl/student")
    found = decide(score, "cosine", (True, False), at)
    assert (found.same, found.close) == (same, close)
    words = in_words(found, Path("a.jpg"), Path("b.jpg"))
    verdict = "same" if same else "different"
    assert words.startswith(f"{verdict} at FMR 0.01: score {score:.4f} (cosine), same above 0.5000")
    assert "[0.4000, 0.6000]" in words
    assert ("a close call" in words) == close
    assert "no face was detected in b.jpg" in words and "in a.jpg" not in words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_sha256": "f" * 64},
            "measured with model_sha256 'f{20}', toy is used here with 'a{20}'",
        ),
        ({"metric": "euclidean"}, "measured with metric 'euclidean'"),
        ({"mirrored_view_added": True}, "measured with mirrored_view_added 'True'"),
        ({"alignment": "none: the images are crops"}, "measured with alignment 'none: the"),
        ({"protocol_sha256": "f" * 64}, "unlike protocol_sha256"),
    ],
)
def test_a_result_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_result(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
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
    alone = embed_folder(folder / "inner", model, Aligner(weights, threshold=0.0))
    assert alone["embedding"][0].as_py() == table["embedding"][2].as_py()


def test_folders_without_a_readable_photograph_are_refused(tmp_path: Path, weights: Path) -> None:
    aligner = Aligner(weights, threshold=0.0)
    with pytest.raises(InputError, match="no images"):
        embed_folder(tmp_path, MODEL, aligner)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 1 photographs is readable: .*a\.jpg"):
        embed_folder(tmp_path, MODEL, aligner)
