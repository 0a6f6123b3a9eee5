from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import InputError
from manifests.gaps import GapTable


def gap_table(count: int = 4) -> GapTable:
    ramp = np.arange(count, dtype=np.float32)
    return GapTable(
        np.arange(count, dtype=np.int64) + (7 << 40), ramp / 10, ramp / 5, -ramp,
        np.full(count, -1, np.int32), "ab" * 32, "cd" * 32,
    )  # fmt: skip


@pytest.mark.parametrize("count", [0, 4])
def test_a_table_comes_back_as_it_was(tmp_path: Path, count: int) -> None:
    ours = gap_table(count)
    ours.write(tmp_path / "gap.parquet")
    found = GapTable.read(tmp_path / "gap.parquet", expect_teacher=ours.teacher_root)
    for name, value in vars(ours).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_mean_is_over_both_views() -> None:
    assert gap_table().mean == pytest.approx((0.15 + 0.3) / 2)


def test_mean_of_an_empty_round_is_zero() -> None:
    assert gap_table(0).mean == 0.0


def test_gaps_to_another_teacher_store_name_both(tmp_path: Path) -> None:
    gap_table().write(tmp_path / "gap.parquet")
    with pytest.raises(InputError, match=r"gap\.parquet: .*cdcdcdcdcdcd.*121212121212"):
        GapTable.read(tmp_path / "gap.parquet", expect_teacher="12" * 32)


@pytest.mark.parametrize("column", ["gap", "flip_gap", "impostor_margin"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_student_is_refused(column: str, value: float) -> None:
    with pytest.raises(InputError, match="the student diverged"):
        replace(gap_table(2), **{column: np.array([0.1, value], np.float32)})
