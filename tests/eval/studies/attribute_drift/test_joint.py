"""Joint histograms: cells against loops, dependence by hand, and what is lacking together."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.attributes.coverage import FaceSet
from eval.attributes.divergence import SMOOTHING, kl_divergence, smoothed
from eval.studies.attribute_drift.joint import (
    Cut,
    by_dependence,
    cells_of,
    compare_jointly,
    cut,
    joint_of_many,
    lacking_together,
    marginals,
    pairs_of,
)
from manifests.records.attributes import FACES, Attribute, AttributeTable, Source
from tests import references

EDGES = tuple(np.linspace(-4.0, 4.0, 17).tolist())
ATTRIBUTES = tuple(
    Attribute(name, "units", -9.0, 9.0, EDGES, "more") for name in ("across", "down", "along")
)
YES = Attribute("Smiling", "probability", 0.0, 1.0, (0.0, 0.5, 1.0), "that it has it")
TWO = (Cut(ATTRIBUTES[0], (0.0,)), Cut(ATTRIBUTES[1], (0.0,)))


def face_set(name: str, *columns: np.ndarray, kinds: tuple[Attribute, ...] = ATTRIBUTES) -> FaceSet:
    values = np.stack(columns, axis=1).astype(np.float32)
    ids, nobody = np.arange(len(values)), ("",) * len(values)
    source = Source(FACES, name, name * 8)
    made = AttributeTable({"name": "toy"}, source, kinds[: len(columns)], values, ids, None, nobody)
    return FaceSet(name, (made,))


def normal(seed: int, count: int, num: int = 2) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(0, 1, (num, count)))


def corners(times: dict[tuple[int, int], int]) -> list[np.ndarray]:
    """Faces at (±1, ±1), as many as told."""
    rows = [place for place, count in times.items() for _ in range(count)]
    return list(np.array(rows, float).T)


def test_bounds_part_the_mixture_of_both_sets_evenly() -> None:
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(-2, 1, 50), rng.normal(2, 1, 5000)
    sets = [face_set("r", real), face_set("s", synthetic)]
    bounds = cut(ATTRIBUTES[0], sets, 2).bounds
    assert -0.8 < bounds[0] < 0.8  # the larger set does not pull it over
    four = cut(ATTRIBUTES[0], sets, 4)
    parts = [
        np.bincount(four.part_of(v.astype(np.float32)), minlength=4) for v in (real, synthetic)
    ]
    mixed = (parts[0] / 50 + parts[1] / 5000) / 2
    np.testing.assert_allclose(mixed, 0.25, atol=0.011)


def test_which_set_is_called_real_moves_no_bound() -> None:
    sets = [face_set("r", normal(0, 90)[0]), face_set("s", normal(1, 700)[0] + 1)]
    assert cut(ATTRIBUTES[0], sets, 4) == cut(ATTRIBUTES[0], sets[::-1], 4)


def test_a_shared_value_makes_fewer_parts_and_an_answer_stays_two() -> None:
    same, two = face_set("r", np.zeros(50)), face_set("s", np.repeat([0.0, 1.0], 25))
    assert [cut(ATTRIBUTES[0], [own, own], 4).parts for own in (same, two)] == [1, 2]
    answers = face_set("r", np.linspace(0, 1, 9), kinds=(YES,))
    assert cut(YES, [answers, answers], 4).bounds == (0.5,)


@given(
    st.lists(
        st.tuples(*[st.sampled_from([-2.0, 0.0, 0.5, 1.0, 3.0, float("nan")])] * 2), min_size=1
    )
)
def test_cells_are_those_of_the_loops(rows: list[tuple[float, float]]) -> None:
    bounds = ((0.0, 1.0), (0.5,))
    cuts = [Cut(own, b) for own, b in zip(ATTRIBUTES, bounds, strict=False)]
    columns = np.array(rows, np.float32).T
    expected = references.cells(columns.tolist(), bounds)
    assert cells_of(cuts, face_set("r", *columns)).tolist() == expected


def test_marginals_are_sums_of_the_grid() -> None:
    shares = np.array([[0.1, 0.2, 0.3, 0.0, 0.15, 0.25]])
    cuts = [Cut(ATTRIBUTES[0], (0.0,)), Cut(ATTRIBUTES[1], (0.0, 1.0))]
    across, down = marginals(shares, cuts)
    np.testing.assert_allclose(across, [[0.6, 0.4]])
    np.testing.assert_allclose(down, [[0.1, 0.35, 0.55]])


def test_dependence_by_hand() -> None:
    """Both coins are fair on either side; on one they always agree. D = ln 2, all dependence."""
    p, q = np.array([0.5, 0.0, 0.0, 0.5]), np.full(4, 0.25)
    p = np.maximum(p, 1e-15)
    assert float(by_dependence(p, q, TWO)) == pytest.approx(np.log(2), abs=1e-9)
    independent = np.outer([0.3, 0.7], [0.9, 0.1]).ravel()
    assert float(by_dependence(independent, q, TWO)) == pytest.approx(0.0, abs=1e-12)


def test_a_joint_divergence_is_that_of_its_cells() -> None:
    real = face_set("r", *corners({(1, 1): 50, (-1, -1): 50}))
    synthetic = face_set("s", *corners({p: 100 for p in product((-1, 1), repeat=2)}))
    found = compare_jointly(TWO, real, synthetic)
    assert found["counts"] == {"real": [50, 0, 0, 50], "synthetic": [100] * 4}
    for way, counts in (
        ("kl_real_synthetic", ([50, 0, 0, 50], [100] * 4)),
        ("kl_synthetic_real", ([100] * 4, [50, 0, 0, 50])),
    ):
        expected = references.kl_divergence(*counts, SMOOTHING)
        assert found[way]["value"] == pytest.approx(expected)
        assert found[way]["by_dependence"] == pytest.approx(expected)  # the coins are fair
        assert found[way]["ci95"][0] > 0.3


def test_sets_alike_in_each_attribute_may_differ_in_both_together() -> None:
    a, b = normal(3, 3000)
    real, synthetic = face_set("r", a, a + 0.2 * b), face_set("s", *normal(4, 9000))
    (pair,) = pairs_of(ATTRIBUTES[:2], real, synthetic)
    assert pair["attributes"] == ["across", "down"]
    assert pair["kl_real_synthetic"]["by_dependence"] > 0.5
    assert pair["kl_real_synthetic"]["value"] < pair["kl_real_synthetic"]["by_dependence"] + 0.05


def test_halves_of_a_set_do_not_differ_jointly() -> None:
    a, b, c = normal(5, 4000, 3)
    halves = [face_set(name, *(v[at::2] for v in (a, a + b, c))) for at, name in enumerate("rs")]
    found = joint_of_many(ATTRIBUTES, *halves)
    assert found is not None and found["attributes"] == ["across", "down", "along"]
    for way in ("kl_real_synthetic", "kl_synthetic_real"):
        assert found[way]["ci95"][0] == 0.0
        assert found[way]["value"] < 0.01


def test_a_joint_histogram_has_no_more_cells_than_faces_for_them() -> None:
    few = face_set("r", *normal(6, 30, 3))
    found = joint_of_many(ATTRIBUTES, few, face_set("s", *normal(7, 900, 3)))
    assert found is not None and len(found["attributes"]) == 2  # 30 faces are for 4 cells
    assert joint_of_many(ATTRIBUTES[:1], few, few) is None
    assert joint_of_many((), few, few) is None


def test_too_few_faces_with_both_are_said() -> None:
    a, b = normal(8, 100)
    a[:60], b[60:] = np.nan, np.nan
    assert compare_jointly(TWO, face_set("r", a, b), face_set("s", *normal(9, 100)))["why_not"] == (
        "0 faces of r have all of them, for 4 cells"
    )
    assert pairs_of(ATTRIBUTES[:2], face_set("r", a, b), face_set("s", *normal(9, 100))) == []


def test_a_corner_may_be_empty_though_neither_side_is() -> None:
    """Real faces are as often at each corner; synthetic ones nearly never at (1, 1)."""
    every = list(product((-1, 1), repeat=2))
    real = face_set("r", *corners(dict.fromkeys(every, 100)))
    synthetic = face_set("s", *corners({p: 10 if p == (1, 1) else 300 for p in every}))
    found = lacking_together(ATTRIBUTES[:2], real, synthetic)
    assert found[0]["attributes"] == ["across", "down"]
    assert found[0]["ranges"] == [[1.0, None], [1.0, None]]
    p, q = (smoothed(np.array(counts)) for counts in ([100] * 4, [300, 300, 300, 10]))
    assert found[0]["kl_term"] == pytest.approx(float(p[3] * np.log(p[3] / q[3])))
    assert float(kl_divergence(p, q)) == pytest.approx(
        references.kl_divergence([100] * 4, [300, 300, 300, 10], SMOOTHING)
    )
    assert len(found) == 1 and len(found[0]["synthetic_examples"]) == 8
    assert set(found[0]["real_examples"]) <= {str(row) for row in range(300, 400)}


def test_what_is_lacking_by_itself_is_not_told_again() -> None:
    real = face_set("r", *corners({(1, 1): 100, (-1, -1): 100}))
    synthetic = face_set("s", *corners({(-1, -1): 300, (-1, 1): 300}))
    together = lacking_together(ATTRIBUTES[:2], real, synthetic)
    assert all(gap["ranges"][0] != [1.0, None] for gap in together)
