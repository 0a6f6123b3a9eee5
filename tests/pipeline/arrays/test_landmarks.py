"""Schemes of five points: where a frame has them, and the crop that they ask for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112, DLIB112, DLIB150, WIDE, Frame, similarity
from pipeline.arrays.landmarks import ARCFACE5, DLIB5, SCHEMES, Scheme

# InsightFace's face_align.py: the first pixel's centre is its place 0.
ARCFACE_DST = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
FRAMES = (ARCFACE112, DLIB112, DLIB150, WIDE)


def umeyama(source: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The similarity that takes `source` closest to `goal` (Umeyama 1991, eq. 34 to 42; as
    scikit-image's SimilarityTransform, which `estimate_norm` calls)."""
    mean_s, mean_g = source.mean(axis=0), goal.mean(axis=0)
    covariance = (goal - mean_g).T @ (source - mean_s) / len(source)
    left, values, right = np.linalg.svd(covariance)
    signs = np.ones(2)
    if np.linalg.det(left) * np.linalg.det(right) < 0:
        signs[1] = -1  # no mirror image
    rotation = left @ np.diag(signs) @ right
    scale = (values * signs).sum() / ((source - mean_s) ** 2).sum() * len(source)
    return np.c_[scale * rotation, mean_g - scale * rotation @ mean_s]


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.c_[points, np.ones(len(points))] @ matrix.T


def some_face(rng: np.random.Generator, scheme: Scheme) -> np.ndarray:
    """The points of a face turned, scaled, somewhere in a picture, and not quite a scheme's."""
    angle, scale = rng.uniform(-0.8, 0.8), rng.uniform(0.3, 4)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = scheme.plane + rng.normal(0, 4, (5, 2))
    return points @ turn.T + rng.uniform(-50, 300, 2)


@given(st.integers(0, 10_000))
def test_the_crop_is_the_fields(seed: int) -> None:
    landmarks = some_face(np.random.default_rng(seed), ARCFACE5)
    matrix = ARCFACE5.placement(landmarks, ARCFACE112)
    theirs = umeyama(landmarks - 0.5, ARCFACE_DST)  # picture to crop, both from pixels' centres
    looked_at = np.array([[0, 0], [111, 0], [0, 111], [111, 111], [55.5, 55.5]])
    shown = moved(looked_at + 0.5, matrix) - 0.5  # where in the picture our crop looks
    np.testing.assert_allclose(moved(shown, theirs), looked_at, atol=1e-6)


@given(st.integers(0, 10_000), st.sampled_from(FRAMES))
def test_dlibs_crop_is_that_of_the_first_stores(seed: int, frame: Frame) -> None:
    landmarks = some_face(np.random.default_rng(seed), DLIB5)
    wanted = similarity(landmarks, DLIB5.inside(frame))
    np.testing.assert_array_equal(DLIB5.placement(landmarks, frame), wanted)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_an_aligned_face_stays_where_it_is(scheme: Scheme, frame: Frame) -> None:
    found = scheme.placement(scheme.inside(frame), frame)
    np.testing.assert_allclose(found, np.eye(3)[:2], atol=1e-9)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = ARCFACE5.inside(ARCFACE112) * (-1, 1)
    assert np.linalg.det(ARCFACE5.placement(mirrored, ARCFACE112)[:, :2]) > 0


def test_points_of_the_template_lie_where_arcface_publishes_them() -> None:
    np.testing.assert_allclose(ARCFACE5.inside(ARCFACE112), ARCFACE_DST + 0.5, atol=1e-9)


def test_dlib_chip_has_dlibs_padding() -> None:
    nose = (0.25 + np.array([0.4901, 0.6278])) / 1.5 * 150
    np.testing.assert_allclose(DLIB5.inside(DLIB150)[4], nose, atol=1e-9)


def test_both_schemes_have_the_eyes_in_one_place() -> None:
    eyes = [each.eye_centres(each.plane[None])[0] for each in (ARCFACE5, DLIB5)]
    assert np.abs(eyes[0] - eyes[1]).max() < 2.5  # units of the plane
    for each in (ARCFACE5, DLIB5):
        right, left = each.eye_centres(each.plane[None])[0]
        assert right[0] > left[0] and each.plane[each.nose, 1] > right[1]
        assert len(each.points) == len(each.plane) == 5


def test_eye_distance_is_in_the_landmarks_own_pixels() -> None:
    for scheme in SCHEMES.values():
        (own,) = scheme.eye_distance(scheme.inside(ARCFACE112)[None])
        face = Face(3 * scheme.inside(ARCFACE112), 1.0, scheme=scheme)
        assert face.eye_distance == pytest.approx(3 * own) and 30 < own < 40
