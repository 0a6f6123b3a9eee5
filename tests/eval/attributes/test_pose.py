"""Pose of projected models of known pose, against a search over all angles, and under noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.attributes.pose import (
    LANDMARK_SD,
    NOSE_SD,
    PITCH_SD,
    five_point_model,
    head_pose,
    project,
)
from pipeline.arrays.frames import DLIB150, dlib5_in
from tests import references

EYES = 36.0  # pixels between the outer corners, as in a picture of 112 pixels


def landmarks(
    yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray | float = 0.0, *, scale: float = EYES
) -> np.ndarray:
    """The model's points in a picture of that pose (degrees)."""
    seen, _, _ = project(np.radians(yaw), np.radians(pitch))
    points = seen * scale * np.exp(1j * np.radians(np.broadcast_to(roll, yaw.shape)))[:, None]
    return np.stack([points.real + 60, points.imag + 50], axis=2)


def one(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    return landmarks(np.array([yaw]), np.array([pitch]), np.array([roll]))


@given(
    yaw=st.floats(-30, 30), pitch=st.floats(-15, 20), roll=st.floats(-170, 170),
    scale=st.floats(5, 500),
)  # fmt: skip
def test_the_pose_of_a_projection_comes_back(
    yaw: float, pitch: float, roll: float, scale: float
) -> None:
    points = landmarks(np.array([yaw]), np.array([pitch]), np.array([roll]), scale=scale)
    error = np.abs(head_pose(points)[0] - [yaw, pitch, roll])
    np.testing.assert_array_less(error, [2, 6, 1.5])  # pitch is pulled to 0, and yaw with it


@settings(max_examples=40)
@given(yaw=st.floats(-50, 50), roll=st.floats(-170, 170))
def test_a_level_face_is_found_exactly(yaw: float, roll: float) -> None:
    np.testing.assert_allclose(head_pose(one(yaw, 0, roll))[0], [yaw, 0, roll], atol=1e-3)


def test_signs_are_those_of_the_picture() -> None:
    straight, right, up = (one(*angles)[0] for angles in [(0, 0), (30, 0), (0, 20)])
    assert right[4, 0] > straight[4, 0]  # the nose goes to the right
    assert up[4, 1] < straight[4, 1]  # the nose goes up
    tilted = one(0, 0, 30)[0]
    assert tilted[0, 1] > tilted[2, 1]  # clockwise: the eye on the right comes down


def test_the_mean_shape_looks_straight_ahead() -> None:
    pose = head_pose(dlib5_in(DLIB150)[None])[0]
    np.testing.assert_allclose(pose, 0.0, atol=0.5)
    assert np.ptp(five_point_model()[:4, 0]) == pytest.approx(1.0)


def test_a_mirrored_face_has_the_mirrored_pose() -> None:
    rng = np.random.default_rng(0)
    points = one(20, -10, 5) + rng.normal(0, 0.5, (40, 5, 2))
    mirrored = (points * [-1, 1])[:, [2, 3, 0, 1, 4]]
    np.testing.assert_allclose(head_pose(mirrored), head_pose(points) * [-1, 1, -1], atol=1e-4)


def test_no_other_angle_fits_noisy_landmarks_better() -> None:
    points = one(25, 10, 20)[0] + np.random.default_rng(1).normal(0, 0.5, (5, 2))
    deviations = (LANDMARK_SD, NOSE_SD, PITCH_SD)
    expected = references.head_pose(points, five_point_model(), deviations)
    np.testing.assert_allclose(head_pose(points[None])[0, :2], expected, atol=2)  # it tries every 2


def test_half_a_pixel_of_noise_costs_three_degrees() -> None:
    rng = np.random.default_rng(2)
    yaw, pitch = rng.uniform(-30, 30, 2000), rng.uniform(-15, 20, 2000)
    points = landmarks(yaw, pitch)
    found = head_pose(points + rng.normal(0, 0.5, points.shape))
    error = found - np.stack([yaw, pitch, 0 * yaw], axis=1)
    np.testing.assert_array_less(np.sqrt((error**2).mean(axis=0)), [3.6, 3.7, 1.6])
    np.testing.assert_array_less(np.abs(error.mean(axis=0)), 0.3)


def test_a_long_nose_does_not_turn_the_head() -> None:
    points = one(0, 0)
    points[0, 4, 1] += 5  # a quarter longer
    yaw, pitch, roll = head_pose(points)[0]
    assert abs(yaw) < 0.1 and abs(roll) < 0.1
    assert -15 < pitch < -5


def test_unknown_landmarks_have_no_pose() -> None:
    points = np.concatenate([one(10, 0), one(10, 0)])
    points[0, 3, 1] = np.nan
    assert np.isnan(head_pose(points)).tolist() == [[True] * 3, [False] * 3]
    assert head_pose(np.empty((0, 5, 2))).shape == (0, 3)
    assert np.isnan(head_pose(np.full((1, 5, 2), 7.0))).all()  # all in one place


def test_beyond_the_range_is_its_end() -> None:
    assert head_pose(one(75, 0))[0, 0] == pytest.approx(60)
