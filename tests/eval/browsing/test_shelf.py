"""Shelves: what lies under data/ about a face, and nothing that is of other stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.browsing.shelf import Shelf, grouped, shelf_of
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.gaps import GapTable
from manifests.records.marks import LOW_QUALITY, NEAR_DUPLICATE, Mark, Marks
from manifests.stores.rounds import RoundFiles, open_round
from tests.toys import make_round


def rows_of(files: RoundFiles) -> np.ndarray:
    return np.arange(len(files.faces))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RoundFiles:
    monkeypatch.chdir(tmp_path)
    make_round("mined-1", 60, origin="mined", law="a law", identity_id=np.arange(60) // 20)
    return open_round("mined-1", "toy")


def kinds(shelf: Shelf) -> dict[str, list[str]]:
    return {own.name: [own.labels[code] for code in own.codes] for own in shelf.kinds}


def amounts(shelf: Shelf) -> dict[str, np.ndarray]:
    return {own.name: own.values for own in shelf.amounts}


def gap_table(files: RoundFiles, *, root: str | None = None) -> GapTable:
    """Of every second face, its gap its row / 100, and its region row % 3."""
    rows = np.arange(0, 60, 2)
    some = (rows / 100).astype(np.float32)
    ids = files.require_manifest().face_id[rows]
    region = (rows % 3).astype(np.int32)
    return GapTable(ids, some, some, some, region, some, "st", root or files.teacher.root)


def test_only_usable_faces_stand_there_and_only_chosen_ones(files: RoundFiles) -> None:
    usable = np.flatnonzero(files.faces.ok())
    np.testing.assert_array_equal(shelf_of(files, rows_of(files)).rows, usable)
    some = shelf_of(files, rows_of(files)[slice(10, 50, 2)])
    np.testing.assert_array_equal(
        some.rows, [row for row in usable if 10 <= row < 50 and row % 2 == 0]
    )
    np.testing.assert_allclose(np.linalg.norm(some.vectors, axis=1), 1, rtol=1e-5)
    with pytest.raises(InputError, match="no usable face"):
        shelf_of(files, rows_of(files)[slice(0, 0)])


def test_lineage_marks_gaps_and_regions_are_those_of_the_rows(files: RoundFiles) -> None:
    own = int(np.flatnonzero(files.faces.ok())[5])
    marks = (Mark(own, LOW_QUALITY, 0.1), Mark(own, NEAR_DUPLICATE, 0.9, "pool", 7))
    Marks(marks, files.faces.root, files.teacher.root, {}).write(layout.marks("mined-1", "toy"))
    gap_table(files).write(layout.gap_table("start", "mined-1"))
    gap_table(files).write(layout.regions("mined-1"))
    gap_table(files).write(layout.children_gaps("mined-1"))
    shelf = shelf_of(files, rows_of(files))
    said, measured = kinds(shelf), amounts(shelf)
    assert said["identity"] == [str(row // 20) for row in shelf.rows]
    assert set(said["law"]) == {"a law"} and set(said["origin"]) == {"mined"}
    both = "low_quality, near_duplicate"
    assert said["mark"] == [both if row == own else "none" for row in shelf.rows]
    for name in ("gap of start", "gap of whom it was mined for"):
        expected = [row / 100 if row % 2 == 0 else np.nan for row in shelf.rows]
        np.testing.assert_allclose(measured[name], expected, atol=1e-7)
    expected_regions = [str(row % 3) if row % 2 == 0 else "none" for row in shelf.rows]
    assert said["region of mined-1"] == expected_regions
    assert shelf.left_out == ()


def test_tables_of_other_embeddings_are_left_out_and_named(files: RoundFiles) -> None:
    gap_table(files, root="ab" * 32).write(layout.gap_table("start", "mined-1"))
    gap_table(files, root="ab" * 32).write(layout.regions("mined-1"))
    marks = Marks((), "cd" * 32, files.teacher.root, {})
    marks.write(layout.marks("mined-1", "toy"))
    shelf = shelf_of(files, rows_of(files))
    assert not {"gap of start", "region of mined-1"} & {*amounts(shelf), *kinds(shelf)}
    assert len(shelf.left_out) == 2
    assert "start/mined-1.parquet" in shelf.left_out[1] and "marks" in shelf.left_out[0]


@given(st.lists(st.none() | st.text(max_size=3) | st.integers(0, 3), min_size=1))
def test_groups_keep_every_value_and_go_by_size(values: list[object]) -> None:
    kind = grouped("any", values)
    texts = ["none" if value is None else str(value) for value in values]
    if kind is None:
        assert set(texts) == {"none"}
        return
    assert [kind.labels[code] for code in kind.codes] == texts
    sizes = np.bincount(kind.codes)
    named = [own for own, label in zip(sizes, kind.labels, strict=True) if label != "none"]
    assert named == sorted(named, reverse=True)
    assert "none" not in kind.labels[:-1]


def test_what_none_of_the_faces_has_is_no_order(files: RoundFiles) -> None:
    """A gap is of every second face here: the others' page has no scale for it."""
    gap_table(files).write(layout.gap_table("st", files.name))
    assert "gap of st" in amounts(shelf_of(files, rows_of(files)))
    assert "gap of st" not in amounts(shelf_of(files, rows_of(files)[slice(1, None, 2)]))
