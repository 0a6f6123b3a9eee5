"""Verification on real photographs: the teacher is right, scores can be checked by others."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eval import freeze
from eval import verify as command
from eval.benchmarks import open_benchmark
from eval.photos.models import Model, load_model
from eval.photos.verification import check_replaced, in_words, verify_models
from eval.scoring.metrics import figures_of
from eval.verify import _check_folder
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.photographs.protocols import Benchmark
from pipeline.arrays.frames import ARCFACE112, WIDE
from tests.conftest import ROOT
from tests.eval.test_freeze import make_pairs
from tests.protocols import DLIB_RULE, bin_lists, make_folder, opened, python_2_pickle, write_rows

Run = Callable[..., tuple[dict[str, Any], list[float]]]


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
    protocol = opened(f"pairs:{make_pairs(tmp_path)}")
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


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs facestill verify in the workspace into `out`, and returns its metrics and scores."""

    def call(*words: object) -> tuple[dict[str, Any], list[float]]:
        monkeypatch.setattr(sys, "argv", ["verify", *map(str, words), "--out", "out", "--force"])
        command.main()
        scores = pq.read_table("out/scores.parquet")["score"].to_pylist()
        return read_json(Path("out/metrics.json")), scores

    return call


TEACHER = ("--model", "teacher:dlib-resnet", "--benchmark")


def orl_pairs(root: Path) -> Path:
    """Two folds of two people of ORL."""
    rows = [
        (fold, f"s{a}/{i}.pgm", f"s{b}/{j}.pgm", int(a == b))
        for fold, (one, other) in enumerate([(1, 2), (3, 4)])
        for a, i, b, j in [(one, 1, one, 2), (other, 1, other, 2), (one, 1, other, 1),
                           (one, 2, other, 2)]
    ]  # fmt: skip
    for name in {name for row in rows for name in row[1:3]}:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(layout.WEIGHTS / "orl" / name, root / "images" / name)
    write_rows(root / "pairs.csv", ("fold", "left", "right", "same"), rows)
    return root


def test_a_protocol_is_measured_by_the_rule_that_it_names(run: Run) -> None:
    """One frozen before aligners could be chosen has dlib's."""
    text = f"pairs:{orl_pairs(Path('own'))}"
    replace(open_benchmark(text).benchmark, alignment=DLIB_RULE).write(Path("then.parquet"))
    metrics, scores = run(*TEACHER, text, "--protocol", "then.parquet")
    assert metrics["alignment"] == DLIB_RULE
    assert metrics["protocol_sha256"] == Benchmark.read(Path("then.parquet")).protocol_sha256
    asked, again = run(*TEACHER, text, "--aligner", "dlib")
    assert (asked["protocol_sha256"], again) == (metrics["protocol_sha256"], scores)
    usual, others = run(*TEACHER, text)
    assert usual["alignment"].startswith("yunet-onet ") and others != scores
    largest, _ = run(*TEACHER, text, "--face", "largest")
    assert "; largest face; " in largest["alignment"]
    assert len({own["protocol_sha256"] for own in (metrics, usual, largest)}) == 3


def test_groups_of_a_list_are_measured_kept_and_frozen(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"pairs:{orl_pairs(Path('own'))}"
    rows = [("s1", "x"), ("s2", "x"), ("s3", "y"), ("s4", "")]
    write_rows(Path("people.csv"), ("subject", "group"), rows)
    metrics, _ = run(*TEACHER, text, "--groups", "people.csv")
    group = ["x", "x", "x", "x", "y", "", "", ""]
    assert pq.read_table("out/scores.parquet")["group"].to_pylist() == group
    counts = {name: own["num_pairs"] for name, own in metrics["by_group"]["groups"].items()}
    assert counts == {"x": 4, "y": 1} and metrics["by_group"]["num_pairs_of_no_group"] == 3
    said = capsys.readouterr().err
    assert "null in by_group: accuracy of x: 2 genuine and 2 impostor pairs, expected" in said
    words = ["freeze", text, "--groups", "people.csv", "--out", "f.parquet"]
    monkeypatch.setattr(sys, "argv", words)
    freeze.main()
    again, _ = run(*TEACHER, text, "--protocol", "f.parquet")
    assert again["protocol_sha256"] == metrics["protocol_sha256"]
    assert again["by_group"] == metrics["by_group"]
    plain, _ = run(*TEACHER, text)
    assert "by_group" not in plain and plain["protocol_sha256"] != metrics["protocol_sha256"]
    with pytest.raises(
        InputError, match="--stage takes no --groups and no --quality; give --model"
    ):
        run("--stage", "start", "--groups", "people.csv")


def test_what_a_protocol_does_not_name_is_refused_before_measuring(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"pairs:{orl_pairs(Path('own'))}"
    benchmark = open_benchmark(text).benchmark
    monkeypatch.setattr(command, "verify_models", lambda *_: pytest.fail("late"))
    for rule, words, message in (
        (DLIB_RULE, ["--aligner", "yunet"], "where yunet aligns by"),
        (DLIB_RULE, ["--face", "largest"], "--face largest: aligned by 'dlib HOG"),
        (DLIB_RULE, ["--frame", "wide"], "--frame wide: aligned by 'dlib HOG"),
        (benchmark.alignment.replace("yunet-onet ", "yunet-onet f"), [], "bring the weights of"),
        ("elsewhere 1234; central", [], "unknown aligner 'elsewhere'; .* with --aligner"),
    ):
        replace(benchmark, alignment=rule).write(Path("f.parquet"))
        with pytest.raises(InputError, match=rf"^f\.parquet: .*{message}") as caught:
            run(*TEACHER, text, "--protocol", "f.parquet", *words)
        assert "\n" not in str(caught.value) and not Path("out").exists()


def test_options_have_no_sense_where_the_images_are_crops_or_params_say(run: Run) -> None:
    Path("x.bin").write_bytes(python_2_pickle(*bin_lists(), 2))
    with pytest.raises(InputError, match=r"bin: its images are crops .*; leave --aligner"):
        run(*TEACHER, "bin:x.bin", "--aligner", "dlib")
    with pytest.raises(InputError, match="--aligner dlib: --frame wide says that images are cut"):
        run(*TEACHER, "pairs:own", "--aligner", "dlib", "--frame", "wide")
    with pytest.raises(InputError, match="--face largest: --stage takes params"):
        run("--stage", "mined-2", "--face", "largest")
    with pytest.raises(InputError, match="benchmark orl is of photographs, not of crops"):
        run(*TEACHER, "orl", "--frame", "wide")
    text = f"pairs:{orl_pairs(Path('own'))}"
    with pytest.raises(InputError, match="92x112 pixels; an aligned crop is square"):
        run(*TEACHER, text, "--frame", "arcface112")


def crops(root: Path) -> list[Path]:
    """Forty square pictures of noise."""
    rng, paths = np.random.default_rng(0), []
    for number in range(40):
        paths.append(root / f"images/{number:06}.png")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8)).save(paths[-1])
    return paths


def test_crops_in_a_folder_are_measured_as_those_of_a_bin(run: Run) -> None:
    paths, same = crops(Path("cut")), [True, False] * 10
    images = [path.read_bytes() for path in paths]
    Path("x.bin").write_bytes(pickle.dumps((images, same)))
    names = [path.name for path in paths]
    rows = [(n // 2, *names[2 * n : 2 * n + 2], int(own)) for n, own in enumerate(same)]
    write_rows(Path("cut/pairs.csv"), ("fold", "left", "right", "same"), rows)
    packed, expected = run(*TEACHER, "bin:x.bin")
    metrics, scores = run(*TEACHER, "pairs:cut", "--frame", "arcface112")
    assert scores == expected and len(set(scores)) == 20
    for name in ("alignment", "accuracy", "auc", "frame_coverage", "num_failed"):
        assert metrics[name] == packed[name], name
    wider, others = run(*TEACHER, "pairs:cut", "--frame", "wide")
    assert wider["alignment"] == f"none: crops in the frame {WIDE.place}"
    assert others != scores and wider["frame_coverage"] == 1.0


def test_a_picture_that_exif_turns_is_measured_upright(run: Run) -> None:
    folder, exif = orl_pairs(Path("own")), Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown by a quarter to the right
    straight, scores = run(*TEACHER, f"pairs:{folder}")
    assert straight["num_failed"] == 0
    for path in sorted(folder.rglob("*.pgm")):
        lying = Image.open(path).convert("RGB").transpose(Image.Transpose.ROTATE_90)
        lying.save(path, "PNG", exif=exif)
    turned, again = run(*TEACHER, f"pairs:{folder}")
    assert again == scores and turned["num_failed"] == 0
