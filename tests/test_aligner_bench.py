"""The benchmark of aligners in tiny sizes, so that it cannot rot; and that what it measures is
what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112, WIDE
from pipeline.arrays.landmarks import ARCFACE5, DLIB5
from tests.bench.aligners import compare, costs
from tests.bench.aligners.__main__ import summary
from tests.bench.aligners.contenders import ALIGNERS, Seen
from tests.bench.aligners.errors import _distance, place_in_the_plane, similarities
from tests.bench.aligners.shares import TERCILES, _turn, scrambled, share, tercile, yaw_groups

UPRIGHT = Face(ARCFACE5.inside(WIDE), 1.0)


def test_a_tiny_run(pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "TURNS", 1)
    found = compare([pairs], faces=48)
    assert set(found["settings"]) == set(ALIGNERS)
    for name in ALIGNERS:
        own = found["found"][name]
        assert own["all"]["of"] == sum(third["of"] for third in own["brightness"].values()) == 48
        assert own["all"]["found"] == sum(third["found"] for third in own["yaw"].values()) > 30
        assert found["false_alarms"][name]["noise"]["found"] == 0
        assert 0 < found["crop_errors"][name]["found_by_all"]["value"] < 5
        assert all(found["same_bytes"][name].values())
        assert found["rendering"][name]["usable_faces_per_second"]["median"] > 0
        photographs = found["photographs"]["photos"][name]
        assert photographs["found"]["found"] == photographs["found"]["of"] == 8
        assert 0 <= photographs["eer"] <= 1
    assert found["field_crop_in_the_plane"]["median"]["extent"] == pytest.approx(
        ARCFACE112.extent, abs=4
    )
    assert all(name in summary(found) for name in ALIGNERS)


def test_terciles_are_of_all_faces_and_those_without_points_stand_apart() -> None:
    values = np.array([0.1, np.nan, 0.9, 0.5, 0.2, 0.8, 0.4])
    assert yaw_groups(values).tolist() == [
        "low", "without points", "high", "middle", "low", "high", "middle"
    ]  # fmt: skip
    counts = dict(zip(*np.unique(tercile(np.arange(2048.0)), return_counts=True), strict=True))
    assert set(counts) == set(TERCILES) and max(counts.values()) - min(counts.values()) <= 1
    assert share(np.array([True, False]))["share"] == 0.5


def test_a_face_is_turned_as_much_in_the_mirror() -> None:
    turned = ARCFACE5.inside(WIDE) + np.eye(5)[2][:, None] * (6.0, 0.0)
    mirrored = turned[[1, 0, 2, 4, 3]] * (-1, 1)
    assert _turn(turned) == pytest.approx(_turn(mirrored))
    assert _turn(turned) > 5 * _turn(ARCFACE5.inside(WIDE))


def test_scrambling_moves_blocks_and_loses_none() -> None:
    pictures = torch.arange(2 * 3 * 64 * 64).reshape(2, 3, 64, 64).float()
    for block in (8, 16):
        moved = scrambled(pictures, block)
        assert not torch.equal(moved, pictures)
        assert torch.equal(moved.flatten(1).sort().values, pictures.flatten(1).sort().values)
        corner = moved[0, :, :block, :block]
        assert torch.equal(corner - corner[0, 0, 0], pictures[0, :, :block, :block])


@pytest.mark.parametrize("name", similarities(128))
def test_an_aligner_that_follows_a_warp_has_no_error(name: str) -> None:
    matrix = similarities(128)[name]
    points = UPRIGHT.landmarks
    if matrix is None:
        moved, allowed = (
            points[[1, 0, 2, 4, 3]] * (-1, 1) + np.array([128, 0]),
            0.2,
        )  # no mirrored template
    else:
        moved, allowed = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T, 1e-9
    assert _distance(UPRIGHT, Face(moved, 1.0), matrix, 128) <= allowed
    assert np.isnan(_distance(UPRIGHT, None, matrix, 128))


def test_an_error_is_in_pixels_of_the_crop() -> None:
    """Two pixels of the picture, of which 1.12 ÷ 1.1451 make one of the crop."""
    still, off = (
        np.array([[1.0, 0, 0], [0, 1, 0]]),
        Face(UPRIGHT.landmarks + np.array([2.0, 0.0]), 1.0),
    )
    found = _distance(UPRIGHT, off, still, 128)
    assert found == pytest.approx(2 * ARCFACE112.scale / WIDE.scale)


def test_the_crop_of_a_face_that_lies_as_the_constants_say() -> None:
    by_dlib = Seen([Face(DLIB5.inside(WIDE), 1.0, scheme=DLIB5), None], [0, 0])
    by_field = Seen([UPRIGHT, UPRIGHT], [0, 0])
    found = place_in_the_plane(by_dlib, by_field)
    assert found["faces"] == 1
    assert found["median"] == pytest.approx(found["constants"])
