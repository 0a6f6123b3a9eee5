"""Embedding retention: cases worked by hand, and the command on stored faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.retention import (
    mean_with_interval,
    neighbour_overlaps,
    retention_figures,
    retention_text,
    round_figures,
)
from pipeline.arrays.neighbours import unit_rows
from tests.eval.test_gap import student
from tests.references import nearest_rows
from tests.toys import make_round


def test_cosine_by_hand() -> None:
    outputs = np.array([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0], [0.0, 1.0]]])
    targets = np.array([[[2.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 5.0]]])
    found = retention_figures(outputs, targets)
    assert found["cosine"]["plain"]["value"] == pytest.approx((1.0 + 0.6) / 2)
    assert found["cosine"]["mirrored"]["value"] == pytest.approx((0.0 + 1.0) / 2)
    assert found["neighbour_overlap"] == {
        "1": {"value": 1.0, "ci95": [1.0, 1.0], "chance": 1.0},  # of two faces
        "5": None, "10": None, "50": None,
    }  # fmt: skip


@given(st.integers(0, 10_000))
def test_overlaps_are_what_counting_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    student, teacher = (unit_rows(rng.standard_normal((20, width))) for width in (3, 5))
    found = neighbour_overlaps(student, teacher, (1, 4))
    for k in (1, 4):
        both = zip(nearest_rows(student, k), nearest_rows(teacher, k), strict=True)
        assert found[k].tolist() == [len({*own} & {*other}) / k for own, other in both]


def test_a_student_that_is_its_teacher_keeps_everything() -> None:
    rows = np.random.default_rng(0).standard_normal((60, 1, 8)).astype(np.float32)
    found = retention_figures(3 * rows, rows)
    assert found["cosine"]["plain"]["value"] == pytest.approx(1.0)
    assert all(entry["value"] == 1.0 for entry in found["neighbour_overlap"].values())
    assert set(found["cosine"]) == {"plain"}


def test_unrelated_embeddings_overlap_by_chance() -> None:
    rng = np.random.default_rng(1)
    found = retention_figures(*(rng.standard_normal((400, 1, 16)) for _ in range(2)))
    overlap = found["neighbour_overlap"]["50"]
    assert overlap["value"] == pytest.approx(overlap["chance"], abs=0.01)


def test_a_mean_and_its_interval() -> None:
    found = mean_with_interval(np.array([1.0, 2.0, 3.0]))
    half = 1.96 / np.sqrt(3)
    assert found == {"value": 2.0, "ci95": pytest.approx([2 - half, 2 + half], abs=1e-4)}
    assert mean_with_interval(np.array([0.5])) == {"value": 0.5, "ci95": [0.5, 0.5]}


@pytest.mark.parametrize("rows", [0, 90])
def test_stored_faces_are_measured_by_the_usable_ones(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("probe", rows)
    found = round_figures(student(), faces, teacher, teacher.centre())
    assert found["num_faces"] == int(faces.ok().sum())
    assert found["teacher_root"] == teacher.root
    if rows:  # an untrained student
        assert abs(found["cosine"]["plain"]["value"]) < 0.5


def test_a_round_without_usable_faces_has_no_figures() -> None:
    empty = np.empty((0, 2, 8), np.float32)
    assert retention_figures(empty, empty) == {"num_faces": 0}
    assert retention_text({"num_faces": 0}) == "no usable faces"
