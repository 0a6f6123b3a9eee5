"""Photographs rated by a run's quality head, and by what needs none."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from eval import discard, face_quality
from eval.alignment import alignment_by
from eval.benchmarks import open_benchmark
from eval.photos.models import load_model
from eval.photos.rating import detector_scores, look_at, rating_model
from eval.photos.verification import verify_models
from eval.studies.cr_fiqa.rated_pairs import sharpness_model
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.photographs.lists import read_qualities
from pipeline.arrays.align import Face, crop_photograph
from pipeline.arrays.frames import ARCFACE112
from tests.references import sharpness
from tests.study_students import CARD
from train.checkpoint import (
    FILE,
    QUALITY,
    QualityCard,
    load_quality,
    save_quality,
    save_student,
    weights_sha256,
)
from train.students import build_student

RUN, BLANK = Path("runs/rated"), "s4/1.png"


def make_rated(folder: Path, *, seed: int = 0) -> None:
    """A random student with a random quality head."""
    torch.manual_seed(seed)
    network = build_student("small-resnet", input_size=16, width=0.125, embedding_width=8)
    save_student(folder / FILE, network, CARD)
    save_quality(folder / QUALITY, nn.Linear(8, 1), QualityCard("paper", weights_sha256(network)))


@pytest.fixture
def photographs(workspace: Path) -> Path:
    """pairs:photos, three people of ORL twice each and one picture in which nobody is."""
    make_rated(RUN)
    names = [f"s{person}/{number}.png" for person in (1, 2, 3) for number in (1, 2)]
    for name in names:
        source = Image.open(layout.WEIGHTS / "orl" / name.replace(".png", ".pgm"))
        target = workspace / "photos/images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source.resize((276, 336)).convert("RGB").save(target)
    blank = workspace / "photos/images" / BLANK
    blank.parent.mkdir()
    Image.new("RGB", (200, 200), (90, 90, 90)).save(blank)
    with (workspace / "photos/pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["fold", "left", "right", "same"])
        for at, (left, right) in enumerate(zip(names, [*names[1:], BLANK], strict=True)):
            rows.writerow([at // 3, left, right, int(left[:2] == right[:2])])
    return workspace / "photos"


def rate(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["face_quality", *arguments])
    face_quality.main()


def test_every_photograph_is_rated_as_it_is_verified(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path("tables/quality.parquet")
    rate(monkeypatch, "--model", str(RUN), "--benchmark", f"pairs:{photographs}", "--out", str(out))
    found = read_qualities(out)
    assert len(found) == 7 and BLANK in found
    table = pq.read_table(out, columns=["image", "detected"]).to_pylist()
    assert [row["image"] for row in table if not row["detected"]] == [BLANK]
    assert "1 without a face that was found" in capsys.readouterr().out
    rated = load_quality(RUN)
    name = "s2/1.png"
    picture = np.asarray(Image.open(photographs / "images" / name))
    (face,) = alignment_by().find([picture])
    crop = crop_photograph(picture, face, rated.student.card.input_frame)
    assert found[name] == pytest.approx(float(rated(crop[None])[0]), abs=1e-4)
    said = pq.read_schema(out).metadata[b"facestill"].decode()
    assert rated.student.sha256 in said and rated.sha256 in said and "paper" in said
    (done,) = verify_models([load_model(str(RUN), layout.WEIGHTS)], open_benchmark("pairs:photos"))
    done.write(Path("verified"))
    monkeypatch.setattr("eval.scoring.discarding.require_impostors", lambda count, fmr: None)
    arguments = ["verified/scores.parquet", "--quality", str(out), "--fmr", "0.3"]
    monkeypatch.setattr(sys, "argv", ["discard", *arguments])
    discard.main()
    assert "FNMR at FMR 0.3" in capsys.readouterr().out


def test_baselines_see_the_same_faces(photographs: Path) -> None:
    protocol = open_benchmark(f"pairs:{photographs}")
    rated = load_quality(RUN)
    models = {"quality": rating_model(rated), "sharpness": sharpness_model()}
    models["norm"] = replace(load_model(str(RUN), layout.WEIGHTS), mirrored=False)
    seen = look_at(protocol, models)
    np.testing.assert_allclose(seen.rows["quality"][:, 1:], seen.rows["norm"], atol=1e-5)
    names = protocol.benchmark.images
    name = "s1/2.png"
    picture = np.asarray(Image.open(photographs / "images" / name))
    (face,) = alignment_by().find([picture])
    crop = crop_photograph(picture, face, ARCFACE112.at(84)).permute(1, 2, 0).byte().numpy()
    found = seen.rows["sharpness"][names.index(name), 0]
    assert found == pytest.approx(sharpness(crop), rel=1e-3)
    assert seen.detection.argmin() == names.index(BLANK)
    assert seen.detection[names.index(name)] == pytest.approx(face.score)


def test_a_face_that_was_not_found_is_worse_than_any_that_was() -> None:
    nowhere = np.zeros((5, 2))
    found = [Face(nowhere, score) for score in (0.4, -0.2)]
    lost = Face(nowhere, float("nan"), detected=False)
    scores = detector_scores([found[0], lost, found[1]])
    assert scores.tolist() == pytest.approx([0.4, -1.2, -0.2])
    assert np.isfinite(detector_scores([lost])).all()
    assert np.isnan(detector_scores([Face(nowhere, float("nan"))])).all()  # aligned already


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--model": "runs/none"}, r"runs/none/student\.safetensors: no student here"),
        ({"--benchmark": "folder:none"}, "none: no such folder"),
        ({"--out": "table.csv"}, r"table\.csv: --out takes a file that ends in \.parquet"),
        ({"--out": "runs/rated/quality.safetensors/x.parquet"}, "no file can be there"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_the_work(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    make_rated(RUN)
    wanted = {"--model": str(RUN), "--benchmark": "orl", "--out": "q.parquet"} | changed
    with pytest.raises(InputError, match=message):
        rate(monkeypatch, *(text for pair in wanted.items() for text in pair))
