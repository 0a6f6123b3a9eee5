"""Sheets: every face lies where its place says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.browsing.sheets import Sheets, blocks_of, large_of, sheet
from tests.toys import toy_faces


def plain_faces(count: int, side: int) -> np.ndarray:
    """Of one colour each."""
    colours = np.random.default_rng(0).integers(0, 256, (count, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (count, side, side, 3)).copy()


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_a_face_is_cut_out_where_its_place_is(count: int) -> None:
    layout, faces = Sheets("small", 5, 3), plain_faces(count, 8)
    canvas = sheet(faces, layout)
    assert canvas.shape == (-(-count // 3) * 5, 15, 3)
    for place, face in enumerate(faces):
        cut = canvas[place // 3 * 5 :, place % 3 * 5 :][:5, :5]
        assert (cut == face[0, 0]).all()


def test_pictures_come_in_the_order_asked_for(tmp_path: Path) -> None:
    faces = plain_faces(150, 32)
    store = toy_faces(tmp_path / "faces.zarr", faces)
    rows = np.random.default_rng(1).permutation(150)[:90]
    found = list(blocks_of(store, rows, 40))
    assert list(map(len, found)) == [40, 40, 10]
    np.testing.assert_array_equal(np.concatenate(found), faces[rows])


def test_large_faces_are_the_stores_own_up_to_a_bound() -> None:
    assert (large_of(96).side, large_of(512).side) == (96, 128)
    assert large_of(96).count(257) == 2
