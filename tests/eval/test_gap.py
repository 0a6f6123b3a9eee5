"""Gaps against loops, and the guard on the probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.gap import (
    NEIGHBOURS,
    check_never_trained_on,
    check_one_width,
    figures,
    gap_table,
    gaps,
    impostor_margins,
    in_words,
    student_embeddings,
)
from manifests.core.errors import InputError
from manifests.stores.latents import LatentManifest
from tests import references
from tests.toys import EMBEDDING_WIDTH as OUT
from tests.toys import make_round
from train.checkpoint import Student, StudentCard
from train.students import build_student


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embeddings(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def student(stores: str = "{}") -> Student:
    torch.manual_seed(0)
    card = StudentCard(
        "small-resnet",
        64,
        0.25,
        OUT,
        "arcface112",
        "cosine",
        "plain",
        stores,
        "",
        "",
        0,
    )
    network = build_student("small-resnet", input_size=64, width=0.25, embedding_width=OUT)
    return Student(Path("runs/x"), card, network.eval(), "f" * 64)


def test_gap_is_one_minus_cosine_for_each_face_and_view() -> None:
    outputs, targets = embeddings(1, 5, 2, 8), embeddings(2, 5, 2, 8)
    expected = 1 - (unit(outputs) * unit(targets)).sum(-1)
    np.testing.assert_allclose(gaps(outputs, targets), expected, atol=1e-5)


def test_margin_is_own_cosine_less_the_best_strangers() -> None:
    outputs, targets = embeddings(3, 1500, 8), embeddings(4, 1500, 8)  # more than one block
    found = impostor_margins(outputs, targets)
    cosine = unit(outputs) @ unit(targets).T
    for row in (0, 7, 1023, 1024, 1499):
        others = np.delete(cosine[row], row)
        assert found[row] == pytest.approx(cosine[row, row] - others.max(), abs=1e-5)


def test_a_gap_table_has_one_row_for_every_usable_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("probe", 90)
    manifest = LatentManifest.read(Path("manifests/rounds/probe.parquet"))
    table = gap_table(student(), manifest, faces, teacher, teacher.centre())
    assert table.face_id.tolist() == manifest.face_id[faces.ok()].tolist()
    assert 0.5 < table.mean < 1.5  # an untrained student: about 1
    assert figures(table)["num_faces"] == int(faces.ok().sum())


def test_a_gap_table_says_whose_neighbours_the_student_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("probe", 90)
    manifest = LatentManifest.read(Path("manifests/rounds/probe.parquet"))
    ok, centre = faces.ok(), teacher.centre()
    table = gap_table(student(), manifest, faces, teacher, centre)
    targets = unit(teacher.embeddings()[ok, 0].astype(np.float32) - centre)
    outputs = unit(student_embeddings(student(), faces)[ok, 0])
    wanted = references.disagreement(targets, outputs, NEIGHBOURS)
    np.testing.assert_allclose(table.neighbour_disagreement, wanted, atol=1e-6)
    assert 0.5 < table.neighbour_disagreement.mean() < 1.0  # an untrained student's are by chance


def test_a_student_that_is_its_teacher_changes_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("probe", 90)
    manifest = LatentManifest.read(Path("manifests/rounds/probe.parquet"))
    centred = teacher.embeddings().astype(np.float32) - teacher.centre()
    monkeypatch.setattr("eval.gap.student_embeddings", lambda *_: centred * 7)  # of any length
    table = gap_table(student(), manifest, faces, teacher, teacher.centre())
    assert table.neighbour_disagreement.max() == 0 and abs(table.gap).max() < 1e-6


def test_an_empty_round_has_an_empty_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("probe", 0)
    manifest = LatentManifest.read(Path("manifests/rounds/probe.parquet"))
    table = gap_table(student(), manifest, faces, teacher, teacher.centre())
    assert figures(table) == {
        "num_faces": 0, "mean": None, "standard_error": None, "p95": None, "confused": None,
    }  # fmt: skip


def test_a_student_trained_on_the_probe_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("probe", 90)
    check_never_trained_on(student(), teacher)
    trained = student()
    for root in (teacher.root, faces.root):
        card = replace(trained.card, stores=f'{{"elsewhere": "{root}"}}')
        with pytest.raises(InputError, match="was trained on it"):
            check_never_trained_on(replace(trained, card=card), teacher)


def test_a_student_of_another_width_has_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, teacher = make_round("probe", 90)
    check_one_width(student(), teacher)
    other = replace(student(), card=replace(student().card, embedding_width=OUT + 8))
    with pytest.raises(InputError, match=r"runs/x: embeddings of width 24, .* have 16"):
        check_one_width(other, teacher)


def test_a_run_ends_with_its_gap_in_words() -> None:
    found = {"num_faces": 1640, "mean": 0.25, "standard_error": 0.005}
    assert in_words(found) == "gap 0.2500 [0.2402, 0.2598] of 1,640 faces"
    assert in_words({"num_faces": 0}) == "no usable faces"
