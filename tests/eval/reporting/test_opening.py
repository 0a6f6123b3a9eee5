"""The first screen's figures."""

from __future__ import annotations

from typing import Any

import pytest

from eval.reporting.opening import MOST_TOLD, distance, falls, shares, unlike

KNOWN = {"subject_rule": "folder", "num_subjects": 40}


def model(accuracy: float) -> dict[str, Any]:
    near, far = [accuracy - 0.01, accuracy + 0.01], [accuracy - 0.02, accuracy + 0.02]
    return {"accuracy": accuracy, "accuracy_ci95": near, "accuracy_ci95_identity": far, **KNOWN}


def test_errors_are_told_of_a_teacher_that_makes_some() -> None:
    behind = {"value": 0.03, "ci95": [0.01, 0.05]}
    found = distance({"student": model(0.96), "teacher": model(0.99)}, behind)
    assert found["errors"] == pytest.approx(4.0)
    assert found["roles"]["student"]["ci95"] == (0.94, 0.98)
    assert found["over"] == "over 40 people"
    assert distance({"student": model(0.96), "teacher": model(1.0)}, behind)["errors"] is None


def test_shares_are_of_what_is_known_of_both() -> None:
    student, teacher = {"num_params": 1, "macs": 2}, {"num_params": 4, "macs": None}
    assert shares({"student": student, "teacher": teacher}) == {"parameters": 0.25}


@pytest.mark.parametrize(("last", "still"), [(0.40, True), (0.499, False), (0.6, False)])
def test_a_run_was_still_learning_where_it_fell_by_more_than_chance(
    last: float, still: bool
) -> None:
    gaps = {"start": {"mean": 0.5}, "mined-1": {"mean": last, "standard_error": 0.01}}
    assert falls(gaps) == {"means": [0.5, last], "still": still}
    assert falls({"start": gaps["start"]}) is None


def attribute(value: float, low: float, chance: float) -> dict[str, Any]:
    divergence = {"value": value, "ci95": [low, 9.0], "null_first": chance}
    ends = {"real": {"median": 1.0}, "synthetic": {"median": 2.0}}
    return {"kl_real_synthetic": divergence, "unit": "L*", "edges": [0, 10], **ends}


def test_only_what_is_further_apart_than_chance_is_told_the_furthest_first() -> None:
    attributes = {
        "near": attribute(0.3, 0.1, 0.2),
        "far": attribute(0.9, 0.8, 0.2),
        "farther": attribute(2.0, 1.5, 0.2),
        "far-too": attribute(0.5, 0.4, 0.2),
    }
    found = unlike({"real": {"empty": {"attributes": {}}, "orl": {"attributes": attributes}}})
    assert found == [("orl", key, "L*", "1.0", "2.0") for key in ("farther", "far")]
    assert len(found) == MOST_TOLD
    assert unlike(None) == []
