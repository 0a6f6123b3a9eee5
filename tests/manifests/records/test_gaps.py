from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.core.errors import InputError
from manifests.core.tables import write_table
from manifests.records.gaps import FIRST_KIND, FIRST_SCHEMA, KIND, SCHEMA, GapTable


def gap_table(count: int = 4) -> GapTable:
    ramp = np.arange(count, dtype=np.float32)
    return GapTable(
        np.arange(count, dtype=np.int64) + (7 << 40), ramp / 10, ramp / 5, -ramp / 2,
        np.full(count, -1, np.int32), ramp / max(count, 1), "ab" * 32, "cd" * 32,
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


@pytest.mark.parametrize("column", ["gap", "flip_gap"])
@pytest.mark.parametrize("value", [-0.1, 2.1, 1e30])
def test_a_gap_that_no_cosine_gives_is_refused(column: str, value: float) -> None:
    with pytest.raises(InputError, match=r"gaps of .* to .*, expected 0\.\.2; run gap again"):
        replace(gap_table(2), **{column: np.array([0.1, value], np.float32)})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("impostor_margin", 2.1), ("impostor_margin", -2.1), ("region", -2),
        ("neighbour_disagreement", 1.1), ("neighbour_disagreement", -0.1),
        ("neighbour_disagreement", np.inf),
    ],
)  # fmt: skip
def test_figures_beyond_what_they_can_be_are_refused(column: str, value: float) -> None:
    values = getattr(gap_table(2), column).copy()
    values[1] = value
    with pytest.raises(InputError, match=r"gap table: .* run gap again"):
        replace(gap_table(2), **{column: values})


def test_rounding_is_no_fault() -> None:
    replace(gap_table(2), gap=np.array([-1e-6, 2 + 1e-6], np.float32))


def forged(path: Path, kind: str, schema: pa.Schema, **columns: list) -> None:
    """A table of other hands: whatever it says, its digest is right."""
    ours = gap_table(3)
    given = {name: getattr(ours, name) for name in schema.names} | columns
    arrays = [pa.array(given[field.name], field.type) for field in schema]
    links = {"student_digest": "ab" * 32, "teacher_root": "cd" * 32}
    write_table(path, kind, pa.Table.from_arrays(arrays, schema=schema), links)


@pytest.mark.parametrize("count", [0, 3])
def test_a_table_of_version_one_opens_without_neighbours(tmp_path: Path, count: int) -> None:
    ours, path = gap_table(count), tmp_path / "gap.parquet"
    columns = {name: getattr(ours, name).tolist() for name in FIRST_SCHEMA.names}
    forged(path, FIRST_KIND, FIRST_SCHEMA, **columns)
    found = GapTable.read(path, expect_teacher="cd" * 32)
    for name in FIRST_SCHEMA.names:
        np.testing.assert_array_equal(getattr(found, name), getattr(ours, name))
    assert found.neighbour_disagreement.shape == (count,)
    assert np.isnan(found.neighbour_disagreement).all()


def test_a_table_of_version_one_is_written_again_as_version_two(tmp_path: Path) -> None:
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    forged(first, FIRST_KIND, FIRST_SCHEMA)
    GapTable.read(first).write(second)
    assert np.isnan(GapTable.read(second).neighbour_disagreement).all()


@pytest.mark.parametrize(("kind", "schema"), [(FIRST_KIND, SCHEMA), (KIND, FIRST_SCHEMA)])
def test_a_version_must_have_its_own_columns(tmp_path: Path, kind: str, schema: pa.Schema) -> None:
    forged(tmp_path / "gap.parquet", kind, schema)
    with pytest.raises(InputError, match=r"gap\.parquet: columns .*, expected "):
        GapTable.read(tmp_path / "gap.parquet")


def test_a_later_version_is_named(tmp_path: Path) -> None:
    forged(tmp_path / "gap.parquet", "gap-table-3", SCHEMA)
    with pytest.raises(InputError, match=r"gap\.parquet: holds gap-table-3, not gap-table-2"):
        GapTable.read(tmp_path / "gap.parquet")


@pytest.mark.parametrize("gap", [[0.1, None, 0.2], [0.1, float("nan"), 0.2], [0.1, 7.0, 0.2]])
def test_a_forged_gap_is_refused_by_the_files_name(tmp_path: Path, gap: list) -> None:
    forged(tmp_path / "gap.parquet", KIND, SCHEMA, gap=gap)
    with pytest.raises(InputError, match=r"gap\.parquet: gap table: "):
        GapTable.read(tmp_path / "gap.parquet")
