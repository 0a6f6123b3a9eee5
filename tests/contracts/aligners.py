"""What every aligner must keep."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from manifests.core.digests import canonical_json
from pipeline.aligners.base import CHOICES, Aligner, Found
from pipeline.arrays.frames import WIDE
from pipeline.arrays.landmarks import Scheme
from tests.contracts.backends import SHA256


class AlignerContract:
    """Needs the fixtures `aligner`; `generated`, pictures that a face each fills, "face 3 side
    side"; and `photographs`, RGB ones of a person each. tests/pipeline/conftest.py has both."""

    SIZE, THRESHOLD = 128, 0.5  # pixels that pictures are looked at, and the score of a face

    @pytest.fixture
    def found(self, aligner: Aligner, generated: Tensor) -> list[Found]:
        return self.detect(aligner, generated)

    def detect(self, aligner: Aligner, pictures: Tensor) -> list[Found]:
        return aligner.detect(pictures, size=self.SIZE, threshold=self.THRESHOLD)

    def test_faces_are_found(
        self,
        aligner: Aligner,
        found: list[Found],
        generated: Tensor,
        photographs: list[np.ndarray],
    ) -> None:
        assert len(found) == len(generated)
        assert np.mean([len(each) > 0 for each in found]) > 0.7
        faces = aligner.find(photographs)
        assert [face.detected for face in faces] == [True] * len(photographs)
        assert all(face.scheme == aligner.scheme for face in faces)

    def test_faces_are_finite_rows_of_stated_shapes(
        self, aligner: Aligner, found: list[Found], photographs: list[np.ndarray]
    ) -> None:
        for each in [*found, *aligner.photographs(photographs)]:
            shapes = {(4,): each.boxes, (5, 2): each.landmarks, (): each.scores}
            for shape, values in shapes.items():
                assert values.dtype == np.float64 and values.shape == (len(each), *shape)
                assert np.isfinite(values).all()
            assert (each.boxes[:, :2] < each.boxes[:, 2:]).all()

    def test_scores_are_above_the_threshold_and_the_best_comes_first(
        self, found: list[Found]
    ) -> None:
        for each in found:
            assert (each.scores > self.THRESHOLD).all()
            assert (np.diff(each.scores) <= 0).all()

    def test_points_lie_about_their_box(self, found: list[Found]) -> None:
        boxes = np.concatenate([each.boxes for each in found])[:, None]
        points = np.concatenate([each.landmarks for each in found])
        margin = (boxes[..., 2:] - boxes[..., :2]) / 4  # grown by half
        inside = (points > boxes[..., :2] - margin) & (points < boxes[..., 2:] + margin)
        assert inside.mean() > 0.98

    def test_points_lie_as_their_scheme_has_them(
        self, aligner: Aligner, photographs: list[np.ndarray]
    ) -> None:
        goal, scheme = aligner.scheme.inside(WIDE), aligner.scheme
        for face in aligner.find(photographs):
            there = moved(goal, scheme.placement(face.landmarks, WIDE))
            assert apart(face.landmarks, there, scheme) < 0.3

    @pytest.mark.parametrize("picture", [np.zeros, np.ones, "noise"])
    def test_nothing_is_found_where_nobody_is(self, aligner: Aligner, picture: Any) -> None:
        shape = (8, 3, 96, 96)
        if picture == "noise":
            rng = np.random.default_rng(0)
            pixels = rng.integers(0, 256, shape).astype(np.float32)
        else:
            pixels = 128 * picture(shape, np.float32)
        assert not any(map(len, self.detect(aligner, torch.from_numpy(pixels))))
        images = list(pixels.astype(np.uint8).transpose(0, 2, 3, 1))
        for face, image in zip(aligner.find(images), images, strict=True):
            assert not face.detected and np.isnan(face.score)
            middle = face.landmarks.mean(axis=0) / image.shape[0]
            assert ((middle > 0.3) & (middle < 0.7)).all()

    def test_nothing_gives_nothing(self, aligner: Aligner, generated: Tensor) -> None:
        assert self.detect(aligner, generated[:0]) == []
        assert aligner.find([]) == []

    def test_the_second_time_no_bit_differs(
        self, aligner: Aligner, generated: Tensor, found: list[Found]
    ) -> None:
        assert_same(self.detect(aligner, generated), found)

    def test_order_and_company_change_no_bit(
        self, aligner: Aligner, generated: Tensor, found: list[Found]
    ) -> None:
        order = torch.randperm(len(generated), generator=torch.Generator().manual_seed(1))
        others = torch.stack([255.0 - generated, generated[order]], dim=1).flatten(0, 1)
        assert_same(self.detect(aligner, others)[1::2], [found[row] for row in order])
        assert_same(self.detect(aligner, generated[7:10]), found[7:10])
        assert_same(self.detect(aligner, generated[9:10]), found[9:10])

    def test_company_of_a_photograph_changes_no_bit(
        self, aligner: Aligner, photographs: list[np.ndarray]
    ) -> None:
        black = np.zeros((50, 90, 3), np.uint8)  # looked at again
        one, found = photographs[3], aligner.photographs(photographs)
        assert_same(aligner.photographs([one]), found[3:4])
        assert_same(
            aligner.photographs([black, one, black, one[:, ::-1], one])[1::3], [found[3]] * 2
        )

    def test_pictures_are_left_as_they_were(
        self, aligner: Aligner, generated: Tensor, photographs: list[np.ndarray]
    ) -> None:
        before, one = generated[:3].clone(), photographs[0].copy()
        self.detect(aligner, generated[:3])
        aligner.find(photographs[:1])
        assert torch.equal(generated[:3], before) and np.array_equal(photographs[0], one)

    def test_pictures_need_not_be_square(
        self, aligner: Aligner, photographs: list[np.ndarray]
    ) -> None:
        tall = torch.from_numpy(photographs[0]).permute(2, 0, 1)[None].float()
        size = max(tall.shape[-2:])
        (found,) = aligner.detect(tall, size=size, threshold=self.THRESHOLD)
        (face,) = aligner.find(photographs[:1])
        assert apart(found.landmarks[0], face.landmarks, aligner.scheme) < 0.2

    def test_of_two_faces_the_rule_says_which_is_meant(
        self, aligner: Aligner, photographs: list[np.ndarray]
    ) -> None:
        large, other = photographs[:2]
        small = np.array(Image.fromarray(other).resize((207, 252)))
        scene = np.full((336, 690, 3), 128, np.uint8)
        scene[:, :276], scene[42:294, 276:483] = large, small  # it stands in the middle
        assert [len(each) for each in aligner.photographs([scene])] == [2]
        alone = [face.landmarks for face in aligner.find([large, other])]
        wanted = {"largest": alone[0], "central": alone[1] * 0.75 + (276, 42)}
        for choice, landmarks in wanted.items():
            (face,) = aligner.find([scene], choice)
            assert face.detected and face.others == 1
            assert apart(face.landmarks, landmarks, aligner.scheme) < 0.25

    def test_a_face_may_fill_its_picture(
        self, aligner: Aligner, photographs: list[np.ndarray]
    ) -> None:
        """Its points are about where they are found in the whole photograph; it may be small."""
        (face,), (seen,) = aligner.find(photographs[:1]), aligner.photographs(photographs[:1])
        left, top, right, bottom = seen.boxes[0].round().astype(int).clip(0)
        tight = photographs[0][top:bottom, left:right]
        (whole,) = aligner.find([tight], "whole")
        assert whole.detected and whole.others == 0
        assert apart(np.add(whole.landmarks, (left, top)), face.landmarks, aligner.scheme) < 0.25
        (tiny,) = aligner.find([np.array(Image.fromarray(tight).resize((9, 12)))], "whole")
        assert np.isfinite(tiny.landmarks).all() and tiny.eye_distance > 0

    @pytest.mark.parametrize("change", ["shifted", "scaled", "mirrored"])
    def test_points_move_with_the_picture(
        self, aligner: Aligner, photographs: list[np.ndarray], change: str
    ) -> None:
        changed = [getattr(self, change)(each, aligner.scheme) for each in photographs]
        faces, there = (aligner.find(each) for each in (photographs, [each[0] for each in changed]))
        off = [
            apart(move(face.landmarks), now.landmarks, aligner.scheme)
            for (_, move), face, now in zip(changed, faces, there, strict=True)
        ]
        assert np.median(off) < MOST_APART

    def shifted(self, picture: np.ndarray, _: Scheme) -> tuple[np.ndarray, Any]:
        wider = np.pad(picture, ((40, 0), (70, 0), (0, 0)), "edge")
        return wider, lambda points: np.add(points, (70, 40))

    def scaled(self, picture: np.ndarray, _: Scheme) -> tuple[np.ndarray, Any]:
        double = Image.fromarray(picture).resize((552, 672), Image.Resampling.BICUBIC)
        return np.array(double), lambda points: points * 2

    def mirrored(self, picture: np.ndarray, scheme: Scheme) -> tuple[np.ndarray, Any]:
        wide, plane = picture.shape[1], scheme.plane
        other = (2 * plane[:, 0].mean(), 0) + plane * (-1, 1)  # which point each comes to be
        order = np.linalg.norm(plane[:, None] - other, axis=2).argmin(axis=1)
        return picture[:, ::-1].copy(), lambda points: ((wide, 0) + points * (-1, 1))[order]

    def test_points_in_a_box_are_those_of_its_face(
        self, aligner: Aligner, photographs: list[np.ndarray]
    ) -> None:
        found = aligner.photographs(photographs)
        off = [
            apart(aligner.place(picture, each.boxes[0].tolist()), each.landmarks[0], aligner.scheme)
            for picture, each in zip(photographs, found, strict=True)
        ]
        assert np.median(off) < 0.25

    def test_identity_survives_json(self, aligner: Aligner) -> None:
        for identity in (aligner.identity(), aligner.photographs_identity()):
            assert json.loads(canonical_json(identity)) == identity
            assert identity["landmark_scheme"] == aligner.scheme.name
            assert aligner.weights_sha256 in identity.values()
        assert SHA256.fullmatch(aligner.weights_sha256)

    def test_rule_is_one_line_that_names_the_choice(self, aligner: Aligner) -> None:
        rules = {choice: aligner.rule(choice) for choice in CHOICES}
        for choice, words in CHOICES.items():
            assert words in rules[choice] and "\n" not in rules[choice]
        assert len(set(rules.values())) == len(CHOICES)

    def test_licence_is_stated(self, aligner: Aligner) -> None:
        assert aligner.licence.strip()


# Eye distances that points may move by where the picture moves in a known way: of twelve
# photographs, the median.
MOST_APART = 0.1


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.c_[points, np.ones(len(points))] @ matrix.T


def apart(one: np.ndarray, other: np.ndarray, scheme: Scheme) -> float:
    """The mean distance between points, in eye distances."""
    return float(np.linalg.norm(one - other, axis=1).mean() / scheme.eye_distance(other[None])[0])


def assert_same(one: list[Found], other: list[Found]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for part in ("boxes", "landmarks", "scores"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
