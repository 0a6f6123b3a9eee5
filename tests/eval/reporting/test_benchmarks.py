"""Which interval the report quotes, and how far a student is behind its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.reporting.benchmarks import behind_teacher, drawn_over, interval_of, subjects_of
from eval.scoring.metrics import MIN_PEOPLE
from eval.scoring.scored import ScoredPairs

PEOPLE = 12


@pytest.mark.parametrize(
    ("rule", "people", "over"),
    [
        ("folder", 40, "over 40 people"),
        ("folder", MIN_PEOPLE - 1, "over pairs as if independent"),
        ("image", 400, "over pairs as if independent"),
    ],
)
def test_the_interval_is_over_people_where_they_are_known(
    rule: str, people: int, over: str
) -> None:
    figures: dict[str, Any] = {
        "accuracy_ci95": [0.95, 0.96], "accuracy_ci95_identity": [0.9, 0.99],
        "subject_rule": rule, "num_subjects": people,
    }  # fmt: skip
    assert drawn_over(figures) == over
    assert interval_of(figures) == ((0.9, 0.99) if "people" in over else (0.95, 0.96))


def scored(noise: float) -> ScoredPairs:
    """Genuine and impostor pairs of PEOPLE people in two folds."""
    rows = np.arange(20 * PEOPLE)
    left = [f"p{row % PEOPLE:02}/{row}.png" for row in rows]
    same = rows % 4 < 2
    right = [
        f"p{(row if own else row + 1 + row % 5) % PEOPLE:02}/{row + 1000}.png"
        for row, own in zip(rows.tolist(), same.tolist(), strict=True)
    ]
    score = np.random.default_rng(0).normal(same.astype(float), noise)
    fold = (rows // 4 % 2).astype(np.int16)
    return ScoredPairs(rows, fold, left, right, same, score, np.zeros(len(rows), bool))


def write(folder: Path, student: ScoredPairs, teacher: ScoredPairs, rule: str = "folder") -> None:
    facts = {"metric": "cosine", "subject_rule": rule}
    for role, pairs in (("student", student), ("teacher", teacher)):
        pairs.write(folder / role / "scores.parquet", facts)


@pytest.mark.parametrize("rule", ["folder", "image"])
def test_a_student_is_behind_by_the_difference_of_the_accuracies(tmp_path: Path, rule: str) -> None:
    write(tmp_path, scored(0.6), scored(0.0), rule)
    found = behind_teacher(tmp_path)
    low, high = found["ci95"]
    assert 0.0 < low < found["value"] < high < 1.0
    write(tmp_path, scored(0.0), scored(0.6), rule)
    assert behind_teacher(tmp_path)["value"] == pytest.approx(-found["value"])


def test_a_student_that_decides_alike_is_not_behind(tmp_path: Path) -> None:
    write(tmp_path, scored(0.6), scored(0.6))
    assert behind_teacher(tmp_path) == {"value": 0.0, "ci95": [0.0, 0.0]}


def test_people_are_drawn_where_names_tell_them_and_pairs_elsewhere() -> None:
    pairs = scored(0.0)
    assert subjects_of(pairs, "folder").count == PEOPLE
    assert subjects_of(pairs, "image").count == len(pairs)
