from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.arrays.align import (
    Aligner,
    crop_photograph,
    crop_to_frame,
    enlarge,
    find_faces,
    find_in_photograph,
    misplaced,
)
from pipeline.arrays.frames import ARCFACE112, DLIB150, WIDE, Frame, dlib5_in

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


def test_faces_are_found_on_real_photographs(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    assert all(find_in_photograph(aligner, picture).detected for picture in photographs)


def test_aligned_landmarks_land_near_the_frames(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    for picture in photographs[:6]:
        face = find_in_photograph(aligner, picture)
        _, moved = crop_to_frame(as_batch(picture), face.landmarks[None], FRAME)
        assert off(moved[0], dlib5_in(FRAME)) < 4.0


def test_landmarks_found_anew_in_the_crop_are_the_moved_ones(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    large = WIDE.at(256)  # the detector's smallest face is 80 pixels
    for picture in photographs[:3]:
        face = find_in_photograph(aligner, picture)
        crops, moved = crop_to_frame(as_batch(picture), face.landmarks[None], large)
        again = aligner.most_central(as_picture(crops[0]))
        assert again is not None
        assert off(again.landmarks, moved[0]) < 5.0


def test_blank_picture_falls_back_to_its_middle(aligner: Aligner, blank: np.ndarray) -> None:
    face = find_in_photograph(aligner, blank)
    assert not face.detected
    assert np.isnan(face.score)
    low, high = np.array([0.3, 0.3]) * (300, 200), np.array([0.7, 0.7]) * (300, 200)
    assert (low < face.landmarks.mean(axis=0)).all()
    assert (face.landmarks.mean(axis=0) < high).all()


def test_blank_generated_picture_is_reported_as_none(aligner: Aligner) -> None:
    blank = torch.full((2, 3, 64, 64), 128.0)
    assert find_faces(aligner, blank, detect_size=96) == [None, None]


def test_most_central_of_two_faces_is_taken(
    aligner: Aligner, photographs: list[np.ndarray], blank: np.ndarray
) -> None:
    left, right = photographs[:2]
    margin = np.full((336, 200, 3), 128, np.uint8)
    wide = np.concatenate([left, right, margin], axis=1)  # the right face is nearer to the middle
    face = aligner.most_central(wide)
    alone = aligner.most_central(right)
    assert face is not None
    assert alone is not None
    assert off(face.landmarks, alone.landmarks + np.array([276, 0])) < 8.0


def test_small_face_is_found_at_twice_the_size(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    picture = photographs[0]
    small = np.array(Image.fromarray(picture).resize((46, 56), Image.Resampling.BOX))
    assert aligner.most_central(small) is None
    face = find_in_photograph(aligner, small)
    assert face.detected
    assert off(face.landmarks * 6, find_in_photograph(aligner, picture).landmarks) < 8.0


def test_landmarks_are_in_the_pictures_own_pixels(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    square = photographs[0][30:306]
    (face,) = find_faces(aligner, as_batch(square), detect_size=276)
    (enlarged,) = find_faces(aligner, as_batch(square), detect_size=414)
    assert face is not None
    assert enlarged is not None
    assert off(face.landmarks, enlarged.landmarks) < 6.0


def test_enlarging_keeps_the_range_of_pixels(photographs: list[np.ndarray]) -> None:
    sharp = (as_batch(photographs[0][:276]) > 100) * 255.0  # bicubic overshoots at such edges
    big = enlarge(sharp, 300)
    assert big.shape == (1, 300, 300, 3)
    assert (big.min(), big.max()) == (0, 255)


def test_photograph_of_any_size_gives_the_same_crop(
    aligner: Aligner, photographs: list[np.ndarray]
) -> None:
    picture, frame = photographs[0], WIDE.at(64)
    face = find_in_photograph(aligner, picture)
    double = np.array(Image.fromarray(picture).resize((552, 672), Image.Resampling.BICUBIC))
    larger = type(face)(face.landmarks * 2, face.score)
    crops = [crop_photograph(p, f, frame) for p, f in ((picture, face), (double, larger))]
    assert float((crops[0] - crops[1]).abs().mean()) < 2.0


@pytest.mark.parametrize("stated", [ARCFACE112, DLIB150, WIDE], ids=lambda frame: frame.name)
def test_pictures_that_are_no_crops_in_a_frame_are_told_from_such(
    aligner: Aligner, photographs: list[np.ndarray], stated: Frame
) -> None:
    faces = [find_in_photograph(aligner, picture) for picture in photographs]
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
