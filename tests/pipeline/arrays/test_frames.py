from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.arrays.frames import (
    ARCFACE112,
    DLIB112,
    DLIB150,
    WIDE,
    Frame,
    between,
    similarity,
    to_frame,
    warp,
)
from pipeline.arrays.landmarks import ARCFACE5, DLIB5
from tests import references

PLACES = st.floats(-50, 50)
FRAMES = st.builds(
    Frame, st.just("any"), st.integers(16, 200), PLACES, PLACES, extent=st.floats(20, 200)
)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def whole(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


@settings(max_examples=30)
@given(angle=st.floats(-3, 3), zoom=st.floats(0.3, 3), x=st.floats(-9, 20), y=st.floats(-9, 20))
def test_warp_equals_its_slow_twin(angle: float, zoom: float, x: float, y: float) -> None:
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    image = noise(3, 12, 15)
    found = warp(image[None], torch.from_numpy(matrix).float()[None], 9)[0]
    np.testing.assert_allclose(found, references.warp(image.numpy(), matrix, 9), atol=1e-4)


def test_warp_by_the_identity_changes_nothing() -> None:
    images = noise(2, 3, 20, 20)
    matrix = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    torch.testing.assert_close(warp(images, matrix, 20), images, atol=1e-5, rtol=0)


def test_warp_takes_a_matrix_of_its_own_for_each_picture() -> None:
    images = noise(2, 3, 8, 8)
    matrices = torch.tensor(
        [[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 3.0]]]
    )
    both = warp(images, matrices, 8)
    for row in range(2):
        alone = warp(images[row : row + 1], matrices[row : row + 1], 8)
        assert torch.equal(both[row : row + 1], alone)


@given(FRAMES, FRAMES)
def test_there_and_back_is_the_identity(a: Frame, b: Frame) -> None:
    both = whole(between(a, b)) @ whole(between(b, a))
    np.testing.assert_allclose(both, np.eye(3), atol=1e-6)


@given(FRAMES, FRAMES, FRAMES)
def test_a_detour_leads_to_the_same_place(a: Frame, b: Frame, c: Frame) -> None:
    detour = whole(between(a, b)) @ whole(between(b, c))
    np.testing.assert_allclose(detour, whole(between(a, c)), atol=1e-6)


@given(FRAMES, FRAMES)
def test_landmarks_move_with_the_pixels(a: Frame, b: Frame) -> None:
    moved = np.c_[DLIB5.inside(b), np.ones(5)] @ between(a, b).T
    np.testing.assert_allclose(moved, DLIB5.inside(a), atol=1e-6)


@pytest.mark.parametrize("inner", [ARCFACE112, DLIB112, DLIB150], ids=lambda frame: frame.name)
def test_the_stored_crop_contains(inner: Frame) -> None:
    assert WIDE.left <= inner.left
    assert WIDE.top <= inner.top
    assert inner.left + inner.extent <= WIDE.left + WIDE.extent
    assert inner.top + inner.extent <= WIDE.top + WIDE.extent


def test_another_number_of_pixels_is_the_same_region() -> None:
    np.testing.assert_allclose(DLIB5.inside(WIDE.at(64)) * 2, DLIB5.inside(WIDE.at(128)))


def test_mirrored_crop_is_the_crop_of_the_mirrored_picture() -> None:
    images = noise(2, 3, 96, 96)  # both regions have one middle line
    stored, wanted = WIDE.at(96), DLIB112.at(64)
    crops, mirrored = (to_frame(view, stored, wanted) for view in (images, images.flip(3)))
    torch.testing.assert_close(mirrored, crops.flip(3), atol=1e-4, rtol=0)


def test_a_crop_shows_its_part_of_the_picture() -> None:
    columns = torch.arange(128.0).expand(1, 1, 128, 128)
    crop = to_frame(columns, WIDE, DLIB112)  # one pixel a unit, 8 units further right
    torch.testing.assert_close(crop, columns[:, :, :112, 8:120], atol=1e-3, rtol=0)


@given(angle=st.floats(-3, 3), zoom=st.floats(0.1, 10), x=PLACES, y=PLACES)
def test_similarity_is_found_again(angle: float, zoom: float, x: float, y: float) -> None:
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    goal = ARCFACE5.inside(ARCFACE112)
    points = np.c_[goal, np.ones(5)] @ matrix.T
    np.testing.assert_allclose(similarity(points, goal), matrix, atol=1e-6)


def test_similarity_never_mirrors() -> None:
    goal = ARCFACE5.inside(ARCFACE112)
    matrix = similarity(goal * (-1.0, 1.0), goal)
    assert np.linalg.det(matrix[:, :2]) > 0
