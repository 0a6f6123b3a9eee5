"""Every aligner of the project, with its real weights, keeps what aligners promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core.errors import InputError
from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner, Found, Picture, check_aligner
from pipeline.arrays.frames import WIDE
from pipeline.arrays.landmarks import ARCFACE5, Scheme
from tests.contracts import AlignerContract, FileContract


class Contract(AlignerContract, FileContract):
    NAME: str

    @pytest.fixture
    def aligner(self, weights: Path) -> Aligner:
        return load_aligner(self.NAME, weights)

    @pytest.fixture
    def backend(self, aligner: Aligner) -> Aligner:
        return aligner


class TestYunetOnet(Contract):
    NAME = "yunet-onet"


class TestYunet(Contract):
    NAME = "yunet"


class TestDlib(Contract):
    NAME = "dlib"
    THRESHOLD = 0.0  # of its own scores


def test_unknown_aligner_is_answered_with_the_valid_ones(weights: Path) -> None:
    wanted = "unknown aligner 'mtcnn'; valid names: dlib, onnx, yunet, yunet-onet"
    with pytest.raises(InputError, match=wanted):
        load_aligner("mtcnn", weights)


@pytest.mark.parametrize("name", ["dlib", "yunet", "yunet-onet"])
def test_weights_that_are_missing_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="missing weight file; run `facestill weights`"):
        load_aligner(name, tmp_path)


def on_ground(pictures: Sequence[tuple[Picture, int, int]], shape: tuple[int, int]) -> Picture:
    """Pictures, each with its top row and left column, on a grey one of so many pixels."""
    ground = np.full((*shape, 3), 128, np.uint8)
    for picture, top, left in pictures:
        ground[top : top + len(picture), left : left + picture.shape[1]] = picture
    return ground


@pytest.mark.parametrize("name", ["yunet", "yunet-onet"])
def test_a_small_face_in_the_middle_is_meant_beside_a_large_one(
    weights: Path, photographs: list[np.ndarray], name: str
) -> None:
    aligner, large, small = load_aligner(name, weights), *photographs[:2]
    large = np.repeat(np.repeat(large, 4, axis=0), 4, axis=1)
    scene = on_ground([(large, 0, 0), (small, 1400, 1900)], (3000, 4000))
    (face,) = aligner.find([scene])
    assert face.others == 1
    assert 1900 < face.landmarks[:, 0].mean() < 1900 + small.shape[1]
    (other,) = aligner.find([scene], "largest")
    assert other.landmarks[:, 0].mean() < large.shape[1]


@pytest.mark.parametrize("name", ["yunet", "yunet-onet"])
def test_a_face_is_found_that_is_a_fortieth_of_its_picture(
    weights: Path, photographs: list[np.ndarray], name: str
) -> None:
    scene = on_ground([(photographs[0][::3, ::3], 1400, 1900)], (3000, 4000))
    (face,) = load_aligner(name, weights).find([scene])
    assert face.detected and 1900 < face.landmarks[:, 0].mean() < 2000


@pytest.mark.parametrize("threshold", [-0.4, 1.0, float("nan")])
def test_a_threshold_of_another_scale_is_refused(weights: Path, threshold: float) -> None:
    pictures = torch.zeros(1, 3, 64, 64)
    for name in ("yunet", "yunet-onet"):
        with pytest.raises(InputError, match=r"its scores are 0 to 1; set render\.detect_thresh"):
            load_aligner(name, weights).detect(pictures, size=64, threshold=threshold)


def test_what_a_threshold_is_moves_no_face(weights: Path, generated: torch.Tensor) -> None:
    aligner = load_aligner("yunet-onet", weights)
    low, high = (aligner.detect(generated, size=64, threshold=each) for each in (0.3, 0.9))
    for some, fewer in zip(low, high, strict=True):
        strict = some.kept(some.scores > 0.9)
        assert np.array_equal(strict.landmarks, fewer.landmarks)
        assert np.array_equal(strict.scores, fewer.scores)


def test_faces_that_no_crop_can_be_cut_by_are_none() -> None:
    box = np.array([10.0, 10.0, 50.0, 50.0])
    points = 10 + 40 * np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.4, 0.7], [0.6, 0.7]])
    faces = [
        (box, points), (box, np.full((5, 2), 30.0)), (box, points + 1e6),
        (box * 1e30, points * 1e30), (box, points + 30),
    ]  # fmt: skip
    found = Found(*(np.stack(each) for each in zip(*faces, strict=True)), np.ones(len(faces)))
    kept = found.sound(64, 64)
    assert np.array_equal(kept.landmarks, np.stack([points, points + 30]))


class Brightest(Aligner):
    """Of another package: takes the brighter half of a picture for its face."""

    name, weights_sha256, licence = "brightest", "0" * 64, "MIT"
    scheme, looks, falls_back = ARCFACE5, "brightest half", "none"

    def to(self, device: torch.device) -> None: ...

    def detect(self, pictures: torch.Tensor, *, size: int, threshold: float) -> list[Found]:
        return [self.half_of(picture) for picture in pictures]

    def photographs(self, pictures: Sequence[Picture]) -> list[Found]:
        return [self.half_of(torch.from_numpy(each).permute(2, 0, 1)) for each in pictures]

    def place(self, picture: Picture, box: Sequence[float]) -> np.ndarray:
        return np.zeros((5, 2)) + box[:2]

    def half_of(self, picture: torch.Tensor) -> Found:
        height, width = picture.shape[1:]
        middle = width // 2
        left, right = picture[:, :, :middle].double().mean(), picture[:, :, middle:].double().mean()
        start = 0.0 if left > right else width / 2
        box = np.array([[start, 0.0, start + width / 2, float(height)]])
        return Found(box, ARCFACE5.inside(WIDE)[None] + start, np.array([0.9]))


class Strangers:
    """An aligner that does not keep what it promises."""

    @staticmethod
    def moody() -> Aligner:
        class Moody(Brightest):
            def half_of(self, picture: torch.Tensor) -> Found:
                self.seen = getattr(self, "seen", 0) + 1
                found = super().half_of(picture)
                return replace(found, scores=found.scores / self.seen)

        return Moody()

    @staticmethod
    def sociable() -> Aligner:
        class Sociable(Brightest):
            def detect(self, pictures: torch.Tensor, *, size: int, threshold: float) -> list[Found]:
                found = super().detect(pictures, size=size, threshold=threshold)
                return [each.scaled(1 + float(pictures.mean()) / 255) for each in found]

        return Sociable()

    @staticmethod
    def turned() -> Aligner:
        class Turned(Brightest):
            def half_of(self, picture: torch.Tensor) -> Found:
                found = super().half_of(picture)
                return replace(found, boxes=found.boxes[:, ::-1])

        return Turned()

    @staticmethod
    def lost() -> Aligner:
        class Lost(Brightest):
            def half_of(self, picture: torch.Tensor) -> Found:
                found = super().half_of(picture)
                return replace(found, landmarks=found.landmarks * np.nan)

        return Lost()

    @staticmethod
    def foreign() -> Aligner:
        class Foreign(Brightest):
            scheme = Scheme("theirs", ("a",) * 5, np.zeros((5, 2)), ((0,), (1,)), 2)

        return Foreign()

    @staticmethod
    def misnamed() -> Aligner:
        class Misnamed(Brightest):
            looks = "yunet, as it is"

        return Misnamed()

    @staticmethod
    def short() -> Aligner:
        class Short(Brightest):
            def photographs(self, pictures: Sequence[Picture]) -> list[Found]:
                return super().photographs(pictures)[1:]

        return Short()


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, make: Callable[[], Aligner]) -> None:
    """A package with the entry point `theirs`."""
    info = folder / "someface-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someface\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[facestill.aligners]\ntheirs = tests.pipeline.aligners.test_aligners:Package\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(Package, "make", staticmethod(make))


class Package:
    """Stands for a module with `load`."""

    make: Callable[[], Aligner] = Brightest

    @classmethod
    def load(cls, weights: Path) -> Aligner:
        return cls.make()


def test_an_aligner_of_an_installed_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, tmp_path, Brightest)
    assert isinstance(load_aligner("theirs", tmp_path), Brightest)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Strangers.moody, "aligner theirs: finds other faces in the same pictures the second time"),
        (Strangers.sociable, "aligner theirs: what it finds .* depends on the others of its batch"),
        (Strangers.turned, "aligner theirs: boxes that do not go from left to right"),
        (Strangers.lost, "aligner theirs: landmarks of float64 that are no finite float64 numbers"),
        (Strangers.short, "aligner theirs: faces of 3 pictures, 4 were given"),
        (Strangers.foreign, "aligner theirs: points of scheme 'theirs'; expected one of arcface5"),
        (Strangers.misnamed, "aligner theirs: calls itself 'brightest' and looks by 'yunet, as"),
    ],
)
def test_one_that_does_not_keep_its_promises_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Aligner], message: str
) -> None:
    installed(monkeypatch, tmp_path, make)
    with pytest.raises(InputError, match=message) as caught:
        load_aligner("theirs", tmp_path)
    assert "\n" not in str(caught.value)


def test_the_projects_own_would_pass(weights: Path) -> None:
    for name in ("dlib", "yunet-onet"):
        check_aligner(load_aligner(name, weights), name)


def test_dlibs_rule_is_that_of_the_first_protocols(weights: Path) -> None:
    wanted = "dlib HOG, score > 0, + dlib5; most central face; retry at 2x; then the box 0.3..0.7"
    assert load_aligner("dlib", weights).rule("central") == wanted
