"""The gate of an identities round: what it judges, what it refuses, what it lets pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval import quality
from eval.photos.models import Model
from eval.quality import (
    broken,
    judge_round,
    main,
    open_identities,
    report_of,
    require_independent,
    seen_by,
)
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.core.layout import IDENTITIES
from manifests.records.exports import FLOAT, INT8
from manifests.settings.params import Params, Screen, load_params
from manifests.stores.rounds import open_round
from pipeline.arrays.frames import Frame
from pipeline.screen import screen_round
from tests.conftest import ROOT
from tests.exports import RENDERED, toy_export
from tests.toys import EMBEDDING_WIDTH, PASSPORT, make_round, toy_teacher

PER_SIDE, REFERENCES = 6, 10
TEACHER_SHA = "7e" * 32


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Rounds pool and identities of a teacher that tells identities apart; one face is nobody's."""
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "params.yaml")
    params = replace(params, teacher="toy", screen=Screen(1.0, -1.0, 0.5))
    make_round("pool", 40, seed=4)
    identity = np.repeat(np.arange(2 * REFERENCES), PER_SIDE)
    columns = {"identity_id": identity, "parent_id": 1000 + identity // 2}
    faces, teacher = make_round(IDENTITIES, len(identity), seed=1, origin="boundary", **columns)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2 * REFERENCES, 2, EMBEDDING_WIDTH))[identity]
    rows = rows + 0.15 * rng.standard_normal(rows.shape)
    rows[stray(faces.ok())] *= -1
    rows[~faces.ok()] = np.nan
    digest = teacher.passport.manifest_digest
    made_by = replace(PASSPORT.fingerprint, identity={"name": "toy", "weights_sha256": TEACHER_SHA})
    passport = replace(PASSPORT, round=IDENTITIES, manifest_digest=digest, fingerprint=made_by)
    toy_teacher(teacher.path, rows.astype(np.float32), faces_root=faces.root, passport=passport)
    screen_round(IDENTITIES, [], params)
    monkeypatch.setattr(quality, "load_params", lambda: params)
    return params


def stray(ok: np.ndarray) -> int:
    return int(np.flatnonzero(ok)[7])


def test_faces_off_their_identity_are_marked_and_left_out(params: Params) -> None:
    found = open_identities(IDENTITIES, "toy")
    row = stray(found.files.faces.ok())
    assert found.rows[~found.kept].tolist() == [row]
    report = report_of(found, judge_round(found, None, params), params.quality)
    kept, everything = (report["judges"]["teacher"][which] for which in ("kept", "all"))
    assert kept["num_faces"] == everything["num_faces"] - 1
    assert kept["genuine"]["mean"] > everything["genuine"]["mean"]
    assert report["share_kept"] == pytest.approx(kept["num_faces"] / report["num_rows"])


def test_a_good_round_passes_and_is_described(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lenient = replace(params, quality=replace(params.quality, most_genuine=1.0, most_eer=0.1))
    monkeypatch.setattr(quality, "load_params", lambda: lenient)
    monkeypatch.setattr("sys.argv", ["quality"])
    assert main() == 0
    assert "identities has EER 0.0" in capsys.readouterr().out
    report = read_json(layout.quality_report())
    files = open_round(IDENTITIES, "toy")
    assert (report["faces_root"], report["broken"]) == (files.faces.root, [])
    assert layout.quality_figure().read_bytes().startswith(b"\x89PNG")


def test_broken_thresholds_fail_the_pipeline_in_one_line(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = replace(params.quality, most_genuine=0.5, least_kept=0.99, most_eer=0.1)
    monkeypatch.setattr(quality, "load_params", lambda: replace(params, quality=strict))
    monkeypatch.setattr("sys.argv", ["quality", IDENTITIES])
    assert main() == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "below least_kept 0.99; genuine mean 0." in line
    assert (
        "; raise identities: jitter; lower identities: jitter or screen: least_identity (" in line
    )
    assert line.endswith("the limit under quality; figures in reports/quality.json\n")
    assert len(read_json(layout.quality_report())["broken"]) == 2


def test_the_error_counts_for_every_judge_and_cosines_for_the_teacher(params: Params) -> None:
    fine = {"eer": 0.01, "genuine": {"mean": 0.5}, "duplicates": {"share": 0.0}}
    fine |= {"num_genuine": 200, "num_impostors": 200}  # 10 / most_eer
    narrow = {"genuine": {"mean": 0.9}, "duplicates": {"share": 0.5}}
    judges = {"teacher": fine, "independent": fine | narrow}
    assert broken(judges, 1.0, params.quality) == []
    judges = {"teacher": fine | narrow, "independent": fine | {"eer": 0.3}}
    assert broken(judges, 1.0, params.quality) == [
        "genuine mean 0.900 above most_genuine 0.75 (teacher)",
        "duplicate identities 0.500 above most_duplicates 0.02 (teacher)",
        "EER 0.300 above most_eer 0.05 (independent)",
    ]


@pytest.mark.parametrize(
    ("name", "kind"), [("num_genuine", "genuine"), ("num_impostors", "impostor")]
)
def test_a_good_error_of_too_few_pairs_is_no_pass(params: Params, name: str, kind: str) -> None:
    figures = {"eer": 0.0, "num_genuine": 200, "num_impostors": 200, name: 199}
    assert broken({"independent": figures}, 1.0, params.quality) == [
        f"199 {kind} pairs too few for most_eer 0.05 (independent)"
    ]


def test_the_teacher_does_not_judge_itself_twice() -> None:
    with pytest.raises(InputError, match="drew the boundaries; name another network"):
        require_independent("teacher:toy", IDENTITIES, "toy")


def test_a_student_of_the_round_is_no_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Card:
        stores = '{"data/identities/faces.zarr": "ab"}'

    class Trained:
        card = Card

    (tmp_path / "student.safetensors").write_bytes(b"")
    monkeypatch.setattr(quality, "load_student", lambda _: Trained)
    with pytest.raises(InputError, match="was trained on round identities; name another"):
        require_independent(str(tmp_path), IDENTITIES, "toy")
    require_independent(str(tmp_path), "other", "toy")


def test_an_export_of_a_student_of_the_round_is_no_judge(tmp_path: Path) -> None:
    toy_export(tmp_path, stores=(replace(RENDERED, path="data/identities/faces.zarr"),))
    for file in (FLOAT, INT8):
        judge = f"onnx:{tmp_path / file}"
        with pytest.raises(InputError, match="was trained on round identities; name another"):
            require_independent(judge, IDENTITIES, "toy")
        require_independent(judge, "other", "toy")
    (tmp_path / "foreign.onnx").write_text("another network")
    require_independent(f"onnx:{tmp_path / 'foreign.onnx'}", IDENTITIES, "toy")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/link.onnx").symlink_to(tmp_path / FLOAT)
    with pytest.raises(InputError, match="was trained on round identities; name another"):
        require_independent(f"onnx:{tmp_path / 'elsewhere/link.onnx'}", IDENTITIES, "toy")
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(InputError, match=r"export\.json: schema version"):
        require_independent(f"onnx:{tmp_path / FLOAT}", IDENTITIES, "toy")
    (tmp_path / "export.json").unlink()
    require_independent(f"onnx:{tmp_path / FLOAT}", IDENTITIES, "toy")


def test_the_teacher_does_not_judge_itself_under_another_name(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Frame(**open_round(IDENTITIES, "toy").faces.frame)

    def load(text: str, _: Path) -> Model:
        return Model(
            text, TEACHER_SHA, frame, "cosine", False, lambda crops: crops.mean(dim=(2, 3))
        )

    monkeypatch.setattr(quality, "load_model", load)
    monkeypatch.setattr("sys.argv", ["quality", "--judge", "onnx:w600k_r50.onnx"])
    with pytest.raises(InputError, match="its weights are those of the teacher, which drew the"):
        main()
    assert not layout.quality_report().exists()


def test_a_round_without_identities_is_refused(params: Params) -> None:
    with pytest.raises(InputError, match="round pool: no face has an identity"):
        open_identities("pool", "toy")


def test_a_judge_sees_the_rows_in_their_order(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = open_round(IDENTITIES, "toy").faces
    images = faces.images(0, len(faces)).astype(np.float64)

    def brightness(crops: torch.Tensor) -> torch.Tensor:
        return crops.mean(dim=(2, 3))

    model = Model("brightness", "", Frame(**faces.frame), "cosine", False, brightness)
    monkeypatch.setattr(quality, "READ_ROWS", 7)
    rows = np.flatnonzero(faces.ok())
    wanted = images[rows].mean(axis=(1, 2))
    found = seen_by(model, faces, rows)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
