"""Differences of rows: against loops, and the same however the rows are cut into blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from manifests.stores.differences import (
    BOTH,
    ONLY_A,
    ONLY_B,
    Difference,
    compare_rows,
    describe,
    unequal,
)

FORMS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "images": (np.uint8, (2, 2, 3)),
    "ok": (np.bool_, ()),
    "reason": (np.uint8, ()),
    "landmarks": (np.float32, (5, 2)),
    "quality": (np.float32, ()),
    "embeddings": (np.float16, (2, 3)),
    "norms": (np.float32, (2,)),
}
FEW_VALUES = {"f": [0.0, 1.0, -2.5, float("nan")], "u": [0, 1, 255], "b": [False, True]}


@st.composite
def pairs(draw: Callable[..., Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of as many rows, of few values, so that rows are alike now and then."""
    dtype, shape = FORMS[name]
    cells = st.sampled_from(FEW_VALUES[np.dtype(dtype).kind])
    form = (draw(st.integers(0, 6)), *shape)
    one, other = (draw(arrays(dtype, form, elements=cells, fill=cells)) for _ in "ab")
    other = np.where(draw(arrays(bool, form)), other, one).astype(dtype)
    return one, other


def same_text(a: np.ndarray, b: np.ndarray) -> bool:
    return a.tolist() == b.tolist() or str(a.tolist()) == str(b.tolist())  # nan is "nan"


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=40)
@given(data=st.data())
def test_rows_are_counted_as_by_a_loop(name: str, data: st.DataObject) -> None:
    a, b = data.draw(pairs(name))
    rows = [row for row in range(len(a)) if not same_text(a[row], b[row])]
    found = compare_rows(name, a, b, start=100)
    assert (found.num_rows, found.num_differing) == (len(a), len(rows))
    assert found.first == (100 + rows[0] if rows else None)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=40)
@given(data=st.data(), cut=st.integers(0, 6))
def test_blocks_add_up_to_the_whole(name: str, data: st.DataObject, cut: int) -> None:
    a, b = data.draw(pairs(name))
    whole = compare_rows(name, a, b)
    parts = Difference() + compare_rows(name, a[:cut], b[:cut])
    parts += compare_rows(name, a[cut:], b[cut:], start=min(cut, len(a)))
    assert parts.total == pytest.approx(whole.total)
    assert vars(parts) | {"total": 0} == vars(whole) | {"total": 0}


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=20)
@given(data=st.data())
def test_sides_change_places_with_the_stores(name: str, data: st.DataObject) -> None:
    a, b = data.draw(pairs(name))
    one, other = compare_rows(name, a, b), compare_rows(name, b, a)
    assert one.num_differing == other.num_differing
    assert one.largest == other.largest
    assert one.smallest == other.smallest
    assert (one.counts[ONLY_A], one.counts[ONLY_B]) == (other.counts[ONLY_B], other.counts[ONLY_A])


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=20)
@given(data=st.data())
def test_an_array_does_not_differ_from_itself(name: str, data: st.DataObject) -> None:
    a, _ = data.draw(pairs(name))
    found = compare_rows(name, a, a.copy())
    assert (found.num_differing, found.first, found.largest) == (0, None, 0.0)
    assert not unequal(a, a.copy()).any()


def test_pictures_tell_the_share_and_the_largest_step() -> None:
    a = np.zeros((10, 2, 2, 3), np.uint8)
    b = a.copy()
    b[4, 0, 0] = (255, 1, 0)
    found = compare_rows("images", a, b)
    assert found.largest == 255  # and not 1, as uint8 would have it
    text = describe("images", found)
    assert text == "images: 1 of 10 rows differ, the first is row 4; 1.7 % of all values, by " + (
        "at most 255"
    )


def test_landmarks_tell_pixels_and_lost_faces() -> None:
    a = np.zeros((4, 5, 2), np.float32)
    b = a.copy()
    b[1, 2] = (3.0, 4.0)
    b[2] = np.nan
    text = describe("landmarks", compare_rows("landmarks", a, b))
    assert text.endswith(
        "2 of 4 rows differ, the first is row 1; at most 5 pixels apart; "
        "found: 1 only in A, 0 only in B"
    )


def test_flags_and_reasons_are_counted_each_way() -> None:
    a = np.array([True, True, False, True])
    b = np.array([False, True, True, False])
    assert describe("ok", compare_rows("ok", a, b)).endswith("true: 2 only in A, 1 only in B")
    reasons = compare_rows("reason", (~a).astype(np.uint8), (~b).astype(np.uint8))
    assert reasons.counts == {"ok → no_face": 2, "no_face → ok": 1}
    strange = compare_rows("reason", np.array([0], np.uint8), np.array([9], np.uint8))
    assert strange.counts == {"ok → 9": 1}


def test_cosines_are_those_of_rows_finite_in_both() -> None:
    a = np.array([[[1, 0]], [[1, 0]], [[np.nan, np.nan]], [[2, 2]]], np.float16)
    b = np.array([[[0, 1]], [[3, 0]], [[1, 0]], [[np.nan, np.nan]]], np.float16)
    found = compare_rows("embeddings", a, b)
    assert (found.smallest, found.total, found.counts["cosines"]) == (0.0, 1.0, 2)
    assert (found.counts[ONLY_A], found.counts[ONLY_B], found.counts[BOTH]) == (1, 1, 2)
    assert "cosine 0.000000 or more, 0.500000 on average, of 2 rows" in describe(
        "embeddings", found
    )


def test_no_row_finite_in_both_is_said() -> None:
    a, b = np.full((1, 2, 3), np.nan, np.float16), np.ones((1, 2, 3), np.float16)
    text = describe("embeddings", compare_rows("embeddings", a, b))
    assert "no row is finite in both; finite: 0 only in A, 1 only in B" in text
