"""Pose of projected models of known pose, against a search over all angles, and under noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.attributes.pose import (
    LANDMARK_SD,
    LONGER,
    MIRRORED,
    NOSE_SD,
    PITCH_SD,
    five_point_model,
    head_pose,
    project,
)
from pipeline.arrays.frames import ARCFACE112, DLIB150
from pipeline.arrays.landmarks import ARCFACE5, DLIB5, SCHEMES, Scheme
from tests import references

EYES = 36.0  # pixels between the outer corners, as in a picture of 112 pixels
BOTH = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))


def landmarks(
    scheme: Scheme,
    yaw: np.ndarray,
    pitch: np.ndarray,
    roll: np.ndarray | float = 0.0,
    *,
    scale: float = EYES,
) -> np.ndarray:
    """The model's points in a picture of that pose (degrees)."""
    seen, _, _ = project(scheme, np.radians(yaw), np.radians(pitch))
    points = seen * scale * np.exp(1j * np.radians(np.broadcast_to(roll, yaw.shape)))[:, None]
    return np.stack([points.real + 60, points.imag + 50], axis=2)


def one(scheme: Scheme, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    return landmarks(scheme, np.array([yaw]), np.array([pitch]), np.array([roll]))


@BOTH
@given(
    yaw=st.floats(-30, 30), pitch=st.floats(-15, 20), roll=st.floats(-170, 170),
    scale=st.floats(5, 500),
)  # fmt: skip
def test_the_pose_of_a_projection_comes_back(
    scheme: Scheme, yaw: float, pitch: float, roll: float, scale: float
) -> None:
    points = landmarks(scheme, np.array([yaw]), np.array([pitch]), np.array([roll]), scale=scale)
    error = np.abs(head_pose(points, scheme)[0] - [yaw, pitch, roll])
    np.testing.assert_array_less(error, [2, 6, 1.5])  # pitch is pulled to 0, and yaw with it


@BOTH
@settings(max_examples=40)
@given(yaw=st.floats(-50, 50), roll=st.floats(-170, 170))
def test_a_level_face_is_found_exactly(scheme: Scheme, yaw: float, roll: float) -> None:
    found = head_pose(one(scheme, yaw, 0, roll), scheme)[0]
    np.testing.assert_allclose(found, [yaw, 0, roll], atol=1e-3)


@BOTH
def test_signs_are_those_of_the_picture(scheme: Scheme) -> None:
    straight, right, up = (one(scheme, *angles)[0] for angles in [(0, 0), (30, 0), (0, 20)])
    assert right[scheme.nose, 0] > straight[scheme.nose, 0]  # the nose goes to the right
    assert up[scheme.nose, 1] < straight[scheme.nose, 1]  # the nose goes up
    ((on_the_right, on_the_left),) = scheme.eye_centres(one(scheme, 0, 0, 30))
    assert on_the_right[1] > on_the_left[1]  # clockwise: the eye on the right comes down


def test_the_mean_shape_looks_straight_ahead() -> None:
    pose = head_pose(DLIB5.inside(DLIB150)[None], DLIB5)[0]
    np.testing.assert_allclose(pose, 0.0, atol=0.5)
    assert np.ptp(five_point_model(DLIB5)[:4, 0]) == pytest.approx(1.0)


def test_the_fields_template_looks_straight_ahead_and_a_little_up() -> None:
    yaw, pitch, roll = head_pose(ARCFACE5.inside(ARCFACE112)[None], ARCFACE5)[0]
    np.testing.assert_allclose([yaw, roll], 0.0, atol=0.5)
    assert 5 < pitch < 7  # aligners find the tip of the nose lower than it has it


def test_both_models_are_of_one_face() -> None:
    """Its eyes' centres are as far apart, and as far behind the nose."""
    models = {scheme: five_point_model(scheme) for scheme in (DLIB5, ARCFACE5)}
    apart = [scheme.eye_distance(model[None, :, :2])[0] for scheme, model in models.items()]
    assert apart[0] == pytest.approx(apart[1], rel=0.05)
    base, tip = (model[scheme.nose, 2] - model[0, 2] for scheme, model in models.items())
    assert 0 < base < tip < 0.5  # from an eye, in units of the outer corners' distance


@BOTH
def test_a_mirrored_face_has_the_mirrored_pose(scheme: Scheme) -> None:
    rng = np.random.default_rng(0)
    points = one(scheme, 20, -10, 5) + rng.normal(0, 0.5, (40, 5, 2))
    mirrored = (points * [-1, 1])[:, MIRRORED[scheme]]
    expected = head_pose(points, scheme) * [-1, 1, -1]
    np.testing.assert_allclose(head_pose(mirrored, scheme), expected, atol=1e-4)


@BOTH
def test_no_other_angle_fits_noisy_landmarks_better(scheme: Scheme) -> None:
    points = one(scheme, 25, 10, 20)[0] + np.random.default_rng(1).normal(0, 0.5, (5, 2))
    deviations = (LANDMARK_SD, NOSE_SD, PITCH_SD)
    model, longer = five_point_model(scheme), np.array(LONGER[scheme])
    expected = references.head_pose(points, model, longer, deviations)
    found = head_pose(points[None], scheme)[0, :2]
    np.testing.assert_allclose(found, expected, atol=2)  # it tries every 2


@pytest.mark.parametrize(
    ("scheme", "most"), [(DLIB5, [3.6, 3.7, 1.6]), (ARCFACE5, [2.5, 2.4, 1.0])],
    ids=["dlib5", "arcface5"],
)  # fmt: skip
def test_half_a_pixel_of_noise_costs_few_degrees(scheme: Scheme, most: list[float]) -> None:
    rng = np.random.default_rng(2)
    yaw, pitch = rng.uniform(-30, 30, 2000), rng.uniform(-15, 20, 2000)
    points = landmarks(scheme, yaw, pitch)
    found = head_pose(points + rng.normal(0, 0.5, points.shape), scheme)
    error = found - np.stack([yaw, pitch, 0 * yaw], axis=1)
    np.testing.assert_array_less(np.sqrt((error**2).mean(axis=0)), most)
    np.testing.assert_array_less(np.abs(error.mean(axis=0)), 0.3)


def test_a_long_nose_does_not_turn_the_head() -> None:
    points = one(DLIB5, 0, 0)
    points[0, 4, 1] += 5  # a quarter longer
    yaw, pitch, roll = head_pose(points, DLIB5)[0]
    assert abs(yaw) < 0.1 and abs(roll) < 0.1
    assert -15 < pitch < -5


@pytest.mark.parametrize("longer", [0.92, 1.08])
def test_a_long_or_a_short_face_is_level(longer: float) -> None:
    points = one(ARCFACE5, 0, 0) * [1, longer]
    yaw, pitch, roll = head_pose(points, ARCFACE5)[0]
    assert abs(yaw) < 0.1 and abs(roll) < 0.1
    assert abs(pitch) < 3  # not the 22 degrees by which a face of 0.92 is turned


@BOTH
def test_unknown_landmarks_have_no_pose(scheme: Scheme) -> None:
    points = np.concatenate([one(scheme, 10, 0), one(scheme, 10, 0)])
    points[0, 3, 1] = np.nan
    assert np.isnan(head_pose(points, scheme)).tolist() == [[True] * 3, [False] * 3]
    assert head_pose(np.empty((0, 5, 2)), scheme).shape == (0, 3)
    assert np.isnan(head_pose(np.full((1, 5, 2), 7.0), scheme)).all()  # all in one place


@BOTH
def test_beyond_the_range_is_its_end(scheme: Scheme) -> None:
    assert head_pose(one(scheme, 75, 0), scheme)[0, 0] == pytest.approx(60)
