from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.core.tables import write_table
from manifests.records.qualities import KIND, SCHEMA, QualityTable, table_of

ROOT = "ef" * 32


def table(quality: list[float]) -> QualityTable:
    ids = np.arange(len(quality), dtype=np.int64) + (7 << 40)
    values = np.array(quality, np.float32)
    return QualityTable(ids, values, "runs/x", "ab" * 32, "cd" * 32, "paper", ROOT)


TABLE = table([0.5, float("nan"), 0.25, 0.75, 0.25])
USABLE = np.array([0, 2, 3, 4])


@pytest.mark.parametrize("ours", [TABLE, table([])], ids=["faces", "none"])
def test_a_table_comes_back_as_it_was(tmp_path: Path, ours: QualityTable) -> None:
    digest = ours.write(tmp_path / "q.parquet")
    found, same = QualityTable.read(tmp_path / "q.parquet", faces_root=ROOT)
    assert same == digest
    for name, value in vars(ours).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_the_worst_share_is_marked_and_of_equals_the_first() -> None:
    assert TABLE.worst(USABLE, 0.25).tolist() == [2]
    assert TABLE.worst(USABLE, 0.5).tolist() == [2, 4]
    assert TABLE.worst(USABLE, 0.75).tolist() == [0, 2, 4]
    assert TABLE.worst(USABLE, 0.2).tolist() == []


def test_weights_by_hand() -> None:
    """Brought to 0.5, 0, 1, 0, whose mean is 0.375."""
    assert TABLE.weights(USABLE).tolist() == pytest.approx([4 / 3, 0.0, 8 / 3, 0.0])
    assert TABLE.weights(USABLE[[1, 3]]).tolist() == [1.0, 1.0]
    assert TABLE.weights(USABLE[:0]).tolist() == []


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20))
def test_weights_have_mean_one_and_the_order_of_the_qualities(quality: list[float]) -> None:
    weights = table(quality).weights(np.arange(len(quality)))
    assert weights.mean() == pytest.approx(1.0) and weights.min() >= 0
    order = np.argsort(np.array(quality, np.float32), kind="stable")
    assert (np.diff(weights[order]) >= -1e-9).all()


def test_a_usable_face_needs_a_quality() -> None:
    TABLE.require(USABLE, Path("q"))
    with pytest.raises(InputError, match="q: row 1 is a usable face without a quality"):
        TABLE.require(np.arange(5), Path("q"))
    with pytest.raises(InputError, match="q: 5 rows, and row 5 is a usable face"):
        TABLE.require(np.array([0, 5]), Path("q"))


def test_other_faces_and_other_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    TABLE.write(path)
    with pytest.raises(InputError, match=r"of faces efefefefefef, at hand are 1234.*qualities` ag"):
        QualityTable.read(path, faces_root="1234" * 16)
    write_table(path, KIND, pa.table({"face_id": [1], "quality": pa.array([1.0], pa.float32())},
                schema=SCHEMA), {"faces_root": ROOT})  # fmt: skip
    with pytest.raises(InputError, match="does not say its model; make it again"):
        QualityTable.read(path, faces_root=ROOT)
    with pytest.raises(InputError, match="row 2 is not finite"):
        replace(TABLE, quality=np.array([0, 0, np.inf, 0, 0], np.float32))


def test_a_teams_round_lies_beside_the_others() -> None:
    assert table_of(Path("t"), "teamA/pool") == Path("t/teamA.pool.parquet")
