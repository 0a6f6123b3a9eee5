from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner, misplaced
from pipeline.aligners.dlib import enlarge
from pipeline.arrays.align import crop_photograph, crop_to_frame, placed
from pipeline.arrays.frames import ARCFACE112, DLIB112, DLIB150, WIDE, Frame

FRAME = WIDE.at(128)


def as_batch(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float()


def as_picture(crop: torch.Tensor) -> np.ndarray:
    return crop.permute(1, 2, 0).to(torch.uint8).contiguous().numpy()


def off(points: np.ndarray, goal: np.ndarray) -> float:
    return float(np.linalg.norm(points - goal, axis=1).mean())


@pytest.fixture(scope="module")
def blank() -> np.ndarray:
    return np.full((200, 300, 3), 128, np.uint8)


def test_aligned_landmarks_land_near_the_frames(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    for picture in photographs[:6]:
        (face,) = aligner.find([picture])
        _, moved = crop_to_frame(as_batch(picture), [face], FRAME)
        assert off(moved[0], aligner.scheme.inside(FRAME)) < 6.0  # of faces turned aside


def test_landmarks_found_anew_in_the_crop_are_the_moved_ones(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    large = WIDE.at(256)  # the smallest face that dlib's detector finds is of 80 pixels
    for picture in photographs[:3]:
        (face,) = aligner.find([picture])
        crops, moved = crop_to_frame(as_batch(picture), [face], large)
        (again,) = aligner.find([as_picture(crops[0])])
        assert again.detected
        assert off(again.landmarks, moved[0]) < 5.0


def test_dlib_finds_a_small_face_at_twice_the_size(
    weights: Path, photographs: list[np.ndarray]
) -> None:
    dlib, picture = load_aligner("dlib", weights), photographs[0]
    small = np.array(Image.fromarray(picture).resize((46, 56), Image.Resampling.BOX))
    assert [len(each) for each in dlib.detect(as_batch(small), size=56, threshold=0.0)] == [0]
    (face,), (large,) = dlib.find([small]), dlib.find([picture])
    assert face.detected and off(face.landmarks * 6, large.landmarks) < 8.0


@pytest.mark.parametrize("name", ["dlib", "yunet-onet"])
def test_landmarks_are_in_the_pictures_own_pixels(
    name: str, weights: Path, photographs: list[np.ndarray]
) -> None:
    square = as_batch(photographs[0][30:306])
    aligner = load_aligner(name, weights)
    own, enlarged = (
        aligner.find_generated(square, size=size, threshold=0.3)[0] for size in (276, 414)
    )
    assert own is not None and enlarged is not None
    assert off(own.landmarks, enlarged.landmarks) < 6.0


def test_enlarging_keeps_the_range_of_pixels(photographs: list[np.ndarray]) -> None:
    sharp = (as_batch(photographs[0][:276]) > 100) * 255.0  # bicubic overshoots at such edges
    big = enlarge(sharp, 300)
    assert big.shape == (1, 300, 300, 3)
    assert (big.min(), big.max()) == (0, 255)


def test_photograph_of_any_size_gives_the_same_crop(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    picture, frame = photographs[0], WIDE.at(64)
    (face,) = aligner.find([picture])
    double = np.array(Image.fromarray(picture).resize((552, 672), Image.Resampling.BICUBIC))
    larger = replace(face, landmarks=face.landmarks * 2)
    crops = [crop_photograph(p, f, frame) for p, f in ((picture, face), (double, larger))]
    assert float((crops[0] - crops[1]).abs().mean()) < 2.0


@pytest.mark.parametrize(
    "stated", [ARCFACE112, DLIB112, DLIB150, WIDE], ids=lambda frame: frame.name
)
def test_pictures_that_are_no_crops_in_a_frame_are_told_from_such(
    aligner: Aligner, photographs: list[np.ndarray], stated: Frame
) -> None:
    faces = aligner.find(photographs)
    cut, narrow, uncut = (
        [as_picture(crop_photograph(*both, frame)) for both in zip(photographs, faces, strict=True)]
        for frame in (stated.at(112), DLIB150.at(112), Frame("scene", 224, -56.0, -56.0, 224.0))
    )
    assert misplaced(aligner, stated, range(len(cut)), cut.__getitem__) is None
    reason = misplaced(aligner, stated, range(len(uncut)), uncut.__getitem__)
    assert reason is not None and f"no crops in the frame {stated.name}" in reason
    if stated != DLIB150:
        assert misplaced(aligner, stated, range(len(narrow)), narrow.__getitem__) is not None


def test_few_faces_speak_neither_for_a_frame_nor_against_it(
    aligner: Aligner, photographs: list[np.ndarray], blank: np.ndarray
) -> None:
    square = blank[:, :200]
    scene = photographs[0][:92, :92]
    read: list[int] = []

    def picture(number: int) -> np.ndarray:
        read.append(number)
        return scene if number < 2 else square

    assert misplaced(aligner, ARCFACE112, range(1000), picture) is None
    assert len(read) == 40 and (read[0], read[-1]) == (0, 999)
    assert misplaced(aligner, ARCFACE112, range(2), picture) is None


def test_a_crop_is_placed_where_its_frame_has_the_points() -> None:
    face = placed(ARCFACE112, 224)
    np.testing.assert_allclose(face.landmarks, 2 * face.scheme.inside(ARCFACE112))
    same = face.scheme.placement(face.landmarks, ARCFACE112.at(224))
    np.testing.assert_allclose(same, np.eye(3)[:2], atol=1e-9)
