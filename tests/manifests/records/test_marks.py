from __future__ import annotations

from pathlib import Path

import pytest

from manifests.core.errors import InputError
from manifests.records.marks import LOW_QUALITY, NEAR_DUPLICATE, REASONS, Mark, Marks

ROOTS = {"faces_root": "ab" * 32, "teacher_root": "cd" * 32}
MARKS = Marks(
    (
        Mark(9, NEAR_DUPLICATE, 0.5, "pool", 4),
        Mark(2, LOW_QUALITY, -0.5),
        Mark(9, LOW_QUALITY, -0.25),
    ),
    *ROOTS.values(),
    {"least_cosine": "0.95"},
)


def test_marks_come_back_in_order_of_rows(tmp_path: Path) -> None:
    digest = MARKS.write(tmp_path / "marks.parquet")
    read, same = Marks.read(tmp_path / "marks.parquet", **ROOTS, num_rows=10)
    assert same == digest
    assert [(mark.row, mark.reason) for mark in read.marks] == [
        (2, LOW_QUALITY), (9, LOW_QUALITY), (9, NEAR_DUPLICATE),
    ]  # fmt: skip
    assert read.marks[2] == MARKS.marks[0] and read.rule == MARKS.rule


def test_rows_are_named_once_for_any_reason() -> None:
    assert MARKS.rows([NEAR_DUPLICATE, LOW_QUALITY]).tolist() == [2, 9]
    assert MARKS.rows([NEAR_DUPLICATE]).tolist() == [9]
    assert MARKS.rows([]).tolist() == []
    counts = {**dict.fromkeys(REASONS, 0), NEAR_DUPLICATE: 1, LOW_QUALITY: 2}
    assert MARKS.counts == counts


@pytest.mark.parametrize("link", list(ROOTS))
def test_marks_of_other_stores_are_refused(tmp_path: Path, link: str) -> None:
    MARKS.write(tmp_path / "marks.parquet")
    with pytest.raises(InputError, match=r"at hand are .*123412341234"):
        Marks.read(tmp_path / "marks.parquet", **{**ROOTS, link: "1234" * 16}, num_rows=10)


def test_an_unknown_reason_is_refused(tmp_path: Path) -> None:
    Marks((Mark(1, "ugly", 0.0),), *ROOTS.values(), {}).write(tmp_path / "marks.parquet")
    with pytest.raises(InputError, match="reason 'ugly'"):
        Marks.read(tmp_path / "marks.parquet", **ROOTS, num_rows=10)


@pytest.mark.parametrize("row", [-1, 10, 1 << 40])
def test_a_row_that_the_round_does_not_have_is_refused(tmp_path: Path, row: int) -> None:
    path = tmp_path / "marks.parquet"
    Marks((Mark(row, LOW_QUALITY, 0.0),), *ROOTS.values(), {}).write(path)
    with pytest.raises(InputError, match=f"marks row {row} of 10 faces; run facestill screen"):
        Marks.read(path, **ROOTS, num_rows=10)


def test_no_marks_are_legal(tmp_path: Path) -> None:
    Marks((), *ROOTS.values(), {}).write(tmp_path / "marks.parquet")
    assert Marks.read(tmp_path / "marks.parquet", **ROOTS, num_rows=10)[0].marks == ()
