"""FRCSyn: figures against their slow twins, caps by the number, submission files line by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.scoring.scored import ScoredPairs
from eval.suites.frcsyn import (
    SUBTASKS,
    best_threshold,
    check_subtask,
    gap,
    mean_over_sets,
    over_groups,
    write_submission,
)
from eval.suites.trained_on import TrainingFaces
from manifests.core.errors import InputError
from tests.eval.suites.entrants import FACES
from tests.references import competitions

TENTHS = st.integers(0, 10).map(lambda number: number / 10)


def scored(scores: list[float], same: list[bool]) -> ScoredPairs:
    count = len(scores)
    return ScoredPairs(
        np.arange(count, dtype=np.int32), np.zeros(count, np.int16),
        [f"{row}.png" for row in range(count)], [f"{row}b.png" for row in range(count)],
        np.array(same), np.array(scores), np.zeros(count, bool),
    )  # fmt: skip


@given(st.lists(TENTHS, min_size=2, max_size=8))
def test_groups_are_averaged_and_their_spread_taken_off(values: list[float]) -> None:
    found = over_groups({f"group {row}": value for row, value in enumerate(values)})
    average, deviation = competitions.average(values), competitions.population_deviation(values)
    assert found.average == pytest.approx(average)
    assert found.deviation == pytest.approx(deviation, abs=1e-9)
    assert found.trade_off == pytest.approx(average - deviation)


def test_the_spread_is_the_population_s_and_the_worst_group_is_named() -> None:
    found = over_groups({"a": 0.90, "b": 0.98})
    assert (found.deviation, found.worst) == (pytest.approx(0.04), "a")  # a sample's is 0.0566


def test_every_set_counts_once_and_none_may_be_missing() -> None:
    accuracy = {"agedb": 0.9, "bupt": 0.8, "cfp-fp": 0.7, "rof": 1.0}
    assert mean_over_sets(accuracy) == pytest.approx(competitions.average([0.9, 0.8, 0.7, 1.0]))
    with pytest.raises(InputError, match="no accuracy on cfp-fp, rof"):
        mean_over_sets({"agedb": 0.9, "bupt": 0.8})


def test_a_gap_is_negative_where_synthetic_faces_serve_better() -> None:
    assert gap(real=0.90, synthetic=0.80) == pytest.approx(0.125)
    assert gap(real=0.90, synthetic=0.95) == pytest.approx(-0.0526316)
    with pytest.raises(InputError, match="above 0"):
        gap(real=0.9, synthetic=0.0)


@pytest.mark.parametrize("accuracy", [{"a": 0.9}, {"a": 0.9, "b": 93.5}, {"a": 0.9, "b": np.nan}])
def test_what_is_no_spread_of_shares_is_refused(accuracy: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"^frcsyn: "):
        over_groups(accuracy)


@pytest.mark.parametrize("name", ["1.1", "1.3", "2.1", "2.3"])
def test_a_set_over_the_cap_is_refused_with_the_number(name: str) -> None:
    check_subtask(name, replace(FACES, used=500_000, synthetic=500_000))
    over = replace(FACES, used=512_345, synthetic=600_000)
    with pytest.raises(InputError, match=f"512,345 .* 12,345 more than the 500,000 .* {name}"):
        check_subtask(name, over)


@pytest.mark.parametrize("name", ["1.2", "2.2"])
def test_two_sub_tasks_have_no_cap(name: str) -> None:
    check_subtask(name, replace(FACES, used=4_000_000, synthetic=4_000_000))


@pytest.mark.parametrize("name", SUBTASKS)
def test_photographs_are_refused_but_for_casia_where_real_faces_may_be(name: str) -> None:
    real = replace(FACES, photographs=490_000)
    casia, other = (
        replace(real, statements=(text,)) for text in ("of CASIA WebFace", "of our staff")
    )
    both = replace(real, statements=("CASIA-WebFace", "of our staff"))
    for faces in (casia, other, both):
        if name in ("1.3", "2.3") and faces is casia:
            check_subtask(name, faces)
        else:
            with pytest.raises(InputError, match="490,000 photographs"):
                check_subtask(name, faces)


@pytest.mark.parametrize("name", SUBTASKS)
def test_faces_that_nobody_speaks_for_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="1,234 of its training faces have no stated source"):
        check_subtask(name, replace(FACES, unknown=1234))


def test_an_unknown_sub_task_is_named() -> None:
    with pytest.raises(InputError, match=r"'3\.1'"):
        check_subtask("3.1", FACES)


@given(st.lists(st.tuples(TENTHS, st.booleans()), min_size=2, max_size=12))
def test_the_threshold_decides_as_many_rightly_as_any_can(pairs: list[tuple[float, bool]]) -> None:
    scores, same = map(list, zip(*pairs, strict=True))
    if len(set(same)) == 2:
        threshold = best_threshold(scored(scores, same))
        right = sum((score > threshold) == label for score, label in pairs)
        assert right == competitions.most_right(scores, same)
        assert threshold not in scores


def test_a_submission_has_a_line_a_comparison_in_its_order(tmp_path: Path) -> None:
    pairs = scored([0.5, -0.25, 0.75], [True, False, True])
    turned = replace(pairs, pair_id=np.array([2, 0, 1], np.int32))
    (path,) = write_submission(tmp_path, "1.2", {"bupt": turned}, 0.5)
    assert path == tmp_path / "1.2/bupt/proposed.txt"
    assert path.read_text() == "-0.25000000,0\n0.75000000,1\n0.50000000,0\n"


def test_task_two_hands_in_four_sets_and_a_baseline_beside(tmp_path: Path) -> None:
    pairs = scored([0.5, 0.1], [True, False])
    tables = dict.fromkeys(("agedb", "bupt", "cfp-fp", "rof"), pairs)
    write_submission(tmp_path, "2.1", tables, 0.3)
    write_submission(tmp_path, "2.1", tables, 0.3, "baseline")
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt"))
    sets = ("agedb", "bupt", "cfp-fp", "rof")
    assert names == [f"2.1/{own}/{end}.txt" for own in sets for end in ("baseline", "proposed")]


@pytest.mark.parametrize(
    ("tables", "threshold", "message"),
    [
        ({"bupt": [0, 1], "rof": [0, 1]}, 0.3, "expected exactly bupt"),
        ({}, 0.3, "scores of nothing"),
        ({"bupt": [0, 2]}, 0.3, "comparison 1 is missing or there twice"),
        ({"bupt": [0, 0]}, 0.3, "comparison 1 is missing or there twice"),
        ({"bupt": [0, 1]}, np.nan, "threshold nan"),
    ],
)
def test_a_submission_that_would_be_misread_is_not_written(
    tables: dict[str, list[int]], threshold: float, message: str, tmp_path: Path
) -> None:
    pairs = scored([0.5, 0.1], [True, False])
    given = {name: replace(pairs, pair_id=np.array(ids)) for name, ids in tables.items()}
    with pytest.raises(InputError, match=message):
        write_submission(tmp_path, "1.1", given, threshold)
    assert not list(tmp_path.iterdir())


def test_the_faces_of_a_mixture_are_at_most_those_that_were_used() -> None:
    faces: TrainingFaces = replace(FACES, used=400_000, synthetic=700_000)
    assert faces.synthetic_used == 400_000
    check_subtask("1.1", faces)
