"""Faces of many pictures at once are those of each picture alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.aligners.networks.voting import ONE_FACE, VOTES, overlap, vote

LEAST = 0.3


def candidates(pictures: int, seed: int = 0) -> np.ndarray:
    """Clusters about up to three faces a picture, of scores that often tie."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 3, (pictures, 40, 1)) * 30.0 + rng.normal(0, 3, (pictures, 40, 2))
    half = rng.uniform(8, 12, (pictures, 40, 2))
    boxes = np.concatenate([centres - half, centres + half], axis=2)
    points = np.tile(centres, 5) + rng.normal(0, 2, (pictures, 40, 10))
    scores = rng.integers(0, 10, (pictures, 40, 1)) / 10
    return np.concatenate([scores, boxes, points], axis=2).astype(np.float32)


def one_by_one(rows: np.ndarray) -> np.ndarray:
    """The definition: the best candidate that is left, and who votes with it."""
    rows = rows[np.argsort(-rows[:, 0], kind="stable")].astype(float)
    left, faces = rows[rows[:, 0] > np.float32(LEAST)], []
    while len(left):
        shared = overlap(left[:, 1:5], left[0, 1:5])
        voters = left[shared > VOTES]
        faces.append([left[0, 0], *np.average(voters[:, 1:], axis=0, weights=voters[:, 0])])
        left = left[~(shared > ONE_FACE)]
    return np.array(faces).reshape(-1, 15)


def test_faces_are_those_that_the_definition_gives() -> None:
    rows = candidates(20)
    owners, found = vote(rows, LEAST)
    assert len({(owners == picture).sum() for picture in range(20)}) > 1
    for picture, own in enumerate(rows):
        wanted, here = one_by_one(own), owners == picture
        np.testing.assert_allclose(found.scores[here], wanted[:, 0])
        np.testing.assert_allclose(found.boxes[here], wanted[:, 1:5])
        np.testing.assert_allclose(found.landmarks[here].reshape(-1, 10), wanted[:, 5:])


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_pictures_faces_are_the_same_bits_in_any_company(rows: int) -> None:
    every = candidates(64, seed=1)
    owners, found = vote(every, LEAST)
    for at in range(0, 64, rows):
        others, again = vote(every[at : at + rows], LEAST)
        here = (owners >= at) & (owners < at + rows)
        assert np.array_equal(owners[here] - at, others)
        for part in ("boxes", "landmarks", "scores"):
            assert np.array_equal(getattr(found, part)[here], getattr(again, part))


def test_pictures_without_candidates_have_no_faces() -> None:
    rows = candidates(3)
    rows[1, :, 0] = 0
    owners, found = vote(rows, LEAST)
    assert set(owners.tolist()) == {0, 2} and len(found) == len(owners)
    assert len(vote(rows[1:2], LEAST)[1]) == len(vote(rows[:0], LEAST)[1]) == 0


def test_a_box_without_an_area_is_a_face_of_its_own() -> None:
    rows = np.zeros((1, 2, 15))
    rows[0, :, 0] = 0.9, 0.8
    _, found = vote(rows, LEAST)
    assert found.scores.tolist() == [0.9, 0.8] and not found.boxes.any()
