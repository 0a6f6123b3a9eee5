"""Verification on real photographs: the teacher is right, scores can be checked by others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from eval.benchmarks import open_benchmark
from eval.photos.models import Model, load_model
from eval.photos.verification import check_replaced, in_words, verify_models
from eval.scoring.metrics import figures_of
from eval.verify import _check_folder
from manifests.core.errors import InputError
from manifests.core.files import write_json
from pipeline.arrays.frames import ARCFACE112
from tests.conftest import ROOT
from tests.eval.test_freeze import make_pairs
from tests.protocols import make_folder


@pytest.fixture(scope="module")
def orl(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("verify")
    shutil.copytree(ROOT / "manifests/benchmarks", root / "manifests/benchmarks")
    (root / "data").mkdir()
    (root / "data/weights").symlink_to(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (done,) = verify_models([load_model("teacher:dlib-resnet", weights)], open_benchmark("orl"))
        done.write(Path("out"))
        return root, done.metrics


def test_the_teacher_knows_the_people_of_orl(orl: tuple[Path, dict[str, Any]]) -> None:
    _, metrics = orl
    assert metrics["accuracy"] > 0.98
    assert metrics["rank_1"] > 0.99  # undetected faces are counted too
    assert metrics["num_failed"] < 12 and metrics["num_several_faces"] == 0
    size = metrics["eye_distance"]
    assert 25 < size["least"] < size["median"] < size["most"] < 45  # of pictures 92 pixels wide
    assert metrics["tar_at_far"]["0.0001"] is None  # 78,000 impostor pairs are too few for it


def test_metrics_follow_from_the_scores_file_alone(orl: tuple[Path, dict[str, Any]]) -> None:
    root, metrics = orl
    table = pq.read_table(root / "out/scores.parquet")
    again = figures_of(table, "euclidean", "folder")
    beside = {"tar_at_far"}  # over all pairs
    assert {name: metrics[name] for name in again if name not in beside} == {
        name: again[name] for name in again if name not in beside
    }
    assert table.schema.names == ["pair_id", "fold", "left", "right", "same", "score", "failed"]
    assert np.isfinite(table["score"].to_numpy()).all()


def test_the_line_has_the_interval_over_people_and_what_was_not_found(
    orl: tuple[Path, dict[str, Any]],
) -> None:
    _, metrics = orl
    line, lost = in_words(metrics | {"num_failed": 7}).split("\n")
    low, high = metrics["accuracy_ci95_identity"]
    assert f"[{low:.4f}, {high:.4f}] (95 %, over 40 people), 3600 pairs" in line
    assert lost.startswith("7 of 400 images without a face that was found: their central boxes")
    unknown = in_words(metrics | {"subject_rule": "image", "num_failed": 0, "num_several_faces": 3})
    low, high = metrics["accuracy_ci95"]
    assert f"[{low:.4f}, {high:.4f}] (95 %, over pairs as if independent)" in unknown
    few = in_words(metrics | {"num_subjects": 9, "num_failed": 0})
    assert f"[{low:.4f}, {high:.4f}] (95 %, over pairs as if independent)" in few
    assert unknown.endswith("3 of 400 images with several faces: the most central was compared")
    largest = metrics | {"num_several_faces": 3, "alignment": "some; largest face; none"}
    assert in_words(largest).endswith("with several faces: the largest was compared")


def test_photographs_in_which_no_face_is_found_are_not_measured(
    workspace: Path, weights: Path
) -> None:
    people = make_folder(workspace / "photos", {f"p{number}": 2 for number in range(4)})
    with pytest.raises(InputError, match="no face was found in any of 8 images"):
        verify_models(
            [load_model("teacher:dlib-resnet", weights)], open_benchmark(f"folder:{people}")
        )


def test_the_command_ends_with_one_line_and_status_two(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eval.verify", "--model", "runs/none", "--benchmark", "orl"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file is a file; name a folder"):
        _check_folder(tmp_path / "file/out")


def test_a_result_is_not_replaced_by_another_unless_it_is_said(tmp_path: Path) -> None:
    model = Model("student", "a" * 64, ARCFACE112, "cosine", True, lambda faces: faces)
    protocol = open_benchmark(f"pairs:{make_pairs(tmp_path)}")
    found = {
        "model": "student", "model_sha256": "a" * 64, "views": "plain+flip", "benchmark": "lfw",
        "protocol_sha256": protocol.benchmark.protocol_sha256,
    }  # fmt: skip
    write_json(tmp_path / "out/metrics.json", found)
    check_replaced(tmp_path / "out", model, protocol, None, force=False)
    check_replaced(tmp_path / "none", model, protocol, None, force=False)
    for views, one, changes in (
        (None, replace(model, sha256="b" * 64), {}),
        ("plain", model, {}),
        (None, model, {"protocol_sha256": "c" * 64}),
    ):
        write_json(tmp_path / "out/metrics.json", found | changes)
        with pytest.raises(InputError, match=r"has the result of student on lfw .*--force"):
            check_replaced(tmp_path / "out", one, protocol, views, force=False)
        check_replaced(tmp_path / "out", one, protocol, views, force=True)
