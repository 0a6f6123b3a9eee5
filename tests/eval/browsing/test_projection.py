"""The map: the same every time, those alike together, and an order that walks over it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.browsing.projection import along, project


def clusters(count: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((count, 16))
    home = np.repeat(np.arange(count), each)
    rows = centres[home] + rng.normal(0, 0.1, (count * each, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), home


def test_clusters_stay_together_and_the_map_is_the_same_every_time() -> None:
    vectors, home = clusters(5, 30)
    places = project(vectors)
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert (home[far.argmin(axis=1)] == home).mean() > 0.98
    np.testing.assert_array_equal(places, project(vectors))
    assert places.min() == 0 and places.max() == 1


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9])
def test_few_faces_have_places_too(count: int) -> None:
    places = project(clusters(1, count)[0])
    assert places.shape == (count, 2) and ((places >= 0) & (places <= 1)).all()


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(0, 9))
def test_the_order_has_everybody_once_and_short_steps(count: int, seed: int) -> None:
    places = np.random.default_rng(seed).random((count, 2))
    order = along(places)
    assert sorted(order) == list(range(count))
    if count > 100:
        steps = np.linalg.norm(np.diff(places[order], axis=0), axis=1).mean()
        assert steps < np.linalg.norm(np.diff(places, axis=0), axis=1).mean() / 3
