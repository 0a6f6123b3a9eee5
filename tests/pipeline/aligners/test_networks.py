"""Parts of the aligners: O-Net's file, voting, canvases."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from manifests.core.errors import InputError
from pipeline.aligners.base import Found
from pipeline.aligners.networks import onet
from pipeline.aligners.networks.canvases import (
    SIDES,
    STEP,
    CanvasAligner,
    batch_of,
    canvas_of,
    on_canvases,
)
from pipeline.aligners.networks.voting import ONE_FACE, overlap

LEAST = 0.3


class Told(CanvasAligner):
    """Whose network says what it is told."""

    name, weights_sha256, licence = "told", "0" * 64, "MIT"

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = torch.from_numpy(rows)

    def to(self, device: torch.device) -> None: ...

    def candidates(self, canvases: torch.Tensor) -> torch.Tensor:
        return self.rows.expand(len(canvases), -1, -1)


def vote(boxes: np.ndarray, landmarks: np.ndarray, scores: np.ndarray, least: float) -> Found:
    rows = np.column_stack([scores, boxes, landmarks.reshape(-1, 10)])
    (found,) = Told(rows).detect(torch.zeros(1, 3, 64, 64), size=64, threshold=least)
    return found


@pytest.mark.parametrize("held", [{}, {"conv1.weight": torch.zeros(1)}, [1, 2], torch.zeros(3)])
def test_weights_of_another_network_are_not_taken_for_onets(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "onet.pt")
    with pytest.raises(InputError, match=r"onet\.pt: not the weights of MTCNN's O-Net") as caught:
        onet.load_network(tmp_path / "onet.pt")
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_not_taken_for_onets(tmp_path: Path, weights: Path) -> None:
    path = Path(shutil.copy(weights / onet.WEIGHTS, tmp_path))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="not the weights of MTCNN's O-Net"):
        onet.load_network(path)


def candidates(draw: st.DrawFn, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers = st.floats(0, 40)
    starts = np.array(draw(st.lists(st.tuples(numbers, numbers), min_size=count, max_size=count)))
    sides = np.array(
        draw(st.lists(st.tuples(*[st.floats(5, 30)] * 2), min_size=count, max_size=count))
    )
    boxes = np.concatenate([starts, starts + sides], axis=1)
    landmarks = starts[:, None] + sides[:, None] * np.linspace(0.1, 0.9, 10).reshape(5, 2)
    scores = draw(st.lists(st.integers(1, 999), min_size=count, max_size=count, unique=True))
    return boxes, landmarks, np.array(scores) / 1000


@st.composite
def some(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return candidates(draw, draw(st.integers(1, 9)))


Given = tuple[np.ndarray, np.ndarray, np.ndarray]


@given(some())
def test_one_candidate_comes_out_as_it_is(given: Given) -> None:
    boxes, landmarks, _ = (each[:1] for each in given)
    found = vote(boxes, landmarks, np.array([0.7]), LEAST)
    np.testing.assert_allclose(found.boxes, boxes)
    np.testing.assert_allclose(found.landmarks, landmarks)
    assert found.scores == [0.7] and len(vote(boxes, landmarks, np.array([LEAST]), LEAST)) == 0


@given(some(), st.randoms(use_true_random=False))
def test_order_of_candidates_changes_nothing(given: Given, random: object) -> None:
    order = np.arange(len(given[2]))
    random.shuffle(order)  # type: ignore[attr-defined]
    boxes, landmarks, scores = given
    found = vote(*given, LEAST)
    again = vote(boxes[order], landmarks[order], scores[order], LEAST)
    for part in ("boxes", "landmarks", "scores"):
        np.testing.assert_allclose(getattr(found, part), getattr(again, part))


@given(some())
def test_faces_lie_among_their_candidates_and_the_best_comes_first(given: Given) -> None:
    boxes, landmarks, scores = given
    found = vote(*given, LEAST)
    assert (len(found) > 0) == bool((scores > LEAST).any())
    assert (np.diff(found.scores) <= 0).all() and (found.scores > LEAST).all()
    for box, points, score in zip(found.boxes, found.landmarks, found.scores, strict=True):
        best = int(np.flatnonzero(scores == score)[0])
        own = overlap(boxes, boxes[best]) > 0.5
        assert (box >= boxes[own].min(axis=0) - 1e-9).all()
        assert (box <= boxes[own].max(axis=0) + 1e-9).all()
        assert (points >= landmarks[own].min(axis=0) - 1e-9).all()


@given(some())
def test_faces_that_do_not_touch_stay_apart(given: Given) -> None:
    boxes, landmarks, _ = given
    away = 100.0 * np.arange(len(boxes))[:, None]
    scores = np.linspace(0.9, 0.5, len(boxes))
    found = vote(boxes + away, landmarks + away[:, None], scores, LEAST)
    np.testing.assert_allclose(found.boxes, boxes + away)


def test_a_face_is_where_its_candidates_are_on_average() -> None:
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [0, 30, 10, 40.0]])
    landmarks = boxes[:, None, :2].repeat(5, axis=1)
    found = vote(boxes, landmarks, np.array([0.8, 0.4, 0.6]), LEAST)
    wanted = np.array([[2 / 3, 0, 32 / 3, 10], [0, 30, 10, 40]])
    np.testing.assert_allclose(found.boxes, wanted)
    assert found.scores.tolist() == [0.8, 0.6]
    assert overlap(boxes[1:2], boxes[0])[0] == pytest.approx(2 / 3) and ONE_FACE < 2 / 3


@given(st.integers(8, 200), st.integers(8, 200), st.integers(16, 160))
def test_canvases_hold_the_whole_picture_at_its_own_proportions(
    height: int, width: int, size: int
) -> None:
    canvases = on_canvases(torch.full((1, 3, height, width), 200.0), size)
    side = canvases.shape[-1]
    assert canvases.shape[-2] == side and side % STEP == 0 and side - STEP < size <= side
    lit = canvases[0, 0] > 100
    ratio = size / max(height, width)
    assert abs(int(lit.any(dim=1).sum()) - height * ratio) <= 1
    assert abs(int(lit.any(dim=0).sum()) - width * ratio) <= 1
    assert canvases[0, 0, 0, 0] > 100  # it starts at the corner


def test_pictures_of_the_size_itself_keep_their_pixels() -> None:
    pictures = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 255
    assert torch.equal(on_canvases(pictures, 64)[:, :, :, :48], pictures)
    image = pictures[0].permute(1, 2, 0).byte().numpy()
    assert np.array_equal(canvas_of(image, 64)[:, :, :48].permute(1, 2, 0).byte(), image)


@pytest.mark.parametrize("side", SIDES)
def test_photographs_are_averaged_where_they_shrink(side: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (800, 1200, 3), dtype=np.uint8)
    canvas = canvas_of(image, side)
    assert canvas.shape == (3, side, side)
    small = canvas[:, : round(side * 2 / 3)].permute(1, 2, 0).double().numpy()
    wanted = Image.fromarray(image).resize((side, round(side * 2 / 3)), Image.Resampling.BILINEAR)
    assert np.abs(small - np.array(wanted, float)).max() < 3 and small.std() < image.std()


def test_a_network_sees_fewer_large_canvases_at_once() -> None:
    sizes = [batch_of(side) for side in (64, 96, 128, 160, 320, 640, 1024)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 1
