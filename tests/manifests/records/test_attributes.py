"""The table of attributes: there and back, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.core.errors import InputError
from manifests.core.tables import write_table
from manifests.records.attributes import (
    FACES,
    KEYS,
    KIND,
    PHOTOGRAPHS,
    Attribute,
    AttributeTable,
    Source,
)

YAW = Attribute("yaw", "degrees", -90.0, 90.0, (-45.0, 0.0, 45.0), "to the right")
LIGHT = Attribute("light", "L*", 0.0, 100.0, (0.0, 50.0, 100.0), "mean")
ANNOTATOR = {"name": "toy", "version": "1"}
ROOT = "ab" * 32


def faces_table(count: int = 4, *, name: str = "pool", root: str = ROOT) -> AttributeTable:
    """Faces of a store; the last row is undefined."""
    values = np.linspace(0, 40, 2 * count, dtype=np.float32).reshape(count, 2)
    values[count - 1 :] = np.nan
    ids = np.arange(count, dtype=np.int64) + (7 << 40)
    source = Source(FACES, name, root)
    return AttributeTable(ANNOTATOR, source, (YAW, LIGHT), values, ids, None, ("",) * count)


def photographs_table(values: np.ndarray, *, name: str = "orl") -> AttributeTable:
    """Photographs of as many people as there are rows, by one attribute."""
    images = tuple(f"s{row}/1.pgm" for row in range(len(values)))
    people = tuple(f"s{row}" for row in range(len(values)))
    return AttributeTable(
        ANNOTATOR, Source(PHOTOGRAPHS, name, name * 8), (YAW,),
        values.astype(np.float32)[:, None], None, images, people,
    )  # fmt: skip


@pytest.mark.parametrize(
    "table", [faces_table(), faces_table(0), photographs_table(np.array([1.0, np.nan]))]
)
def test_a_table_comes_back_as_it_was(tmp_path: Path, table: AttributeTable) -> None:
    table.write(tmp_path / "table.parquet")
    found = AttributeTable.read(tmp_path / "table.parquet")
    for name, value in vars(table).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value)
        else:
            assert getattr(found, name) == value


def test_its_digest_is_of_all_that_it_says(tmp_path: Path) -> None:
    path, table = tmp_path / "table.parquet", faces_table()
    others = [
        replace(table, values=table.values + 1),
        replace(table, annotator={"name": "toy", "version": "2"}),
        replace(table, source=Source(FACES, "pool", "cd" * 32)),
        replace(table, attributes=(replace(YAW, edges=(-45.0, 45.0)), LIGHT)),
        replace(table, subject=("a", "a", "", "")),
    ]
    assert table.write(path) == faces_table().write(path)
    assert len({own.write(path) for own in [table, *others]}) == 6


def test_undefined_is_null_to_other_readers(tmp_path: Path) -> None:
    faces_table().write(tmp_path / "table.parquet")
    assert pq.read_table(tmp_path / "table.parquet")["yaw"].null_count == 1


def test_an_unknown_attribute_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown attribute 'hue'; there are yaw, light"):
        faces_table().column("hue")


def test_rows_are_called_by_what_they_are() -> None:
    assert faces_table(2).label == [str(7 << 40), str((7 << 40) + 1)]
    assert photographs_table(np.zeros(2)).label == ["s0/1.pgm", "s1/1.pgm"]


def test_a_table_of_another_store_names_both() -> None:
    table = faces_table()
    ids = np.asarray(table.face_id)
    table.require_faces(ids, ROOT)
    with pytest.raises(InputError, match=r"pool: measured on face store abab.*is cdcd.*again"):
        table.require_faces(ids, "cd" * 32)


def test_ids_that_are_not_in_the_store_are_named() -> None:
    table = faces_table()
    ids = np.asarray(table.face_id)
    with pytest.raises(InputError, match=f"face {ids[3]} is not in the store"):
        table.require_faces(ids[:3], ROOT)
    with pytest.raises(InputError, match="other rows"):
        table.require_faces(ids[::-1].copy(), ROOT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.full((4, 2), 91.0, np.float32)}, "yaw: value 91, expected -90 to 90"),
        ({"values": np.full((4, 2), np.inf, np.float32)}, "yaw: value inf"),
        ({"face_id": np.zeros(4, np.int64)}, "a face is there twice"),
        ({"face_id": None}, "unlike lengths"),
        ({"subject": ("a",)}, "unlike lengths"),
        ({"attributes": (YAW, YAW)}, "a name twice"),
        ({"attributes": (YAW, replace(LIGHT, name="image"))}, "no attribute may be called"),
        ({"attributes": (YAW,)}, "2 columns for 1"),
    ],
)
def test_what_is_no_table_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(faces_table(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../yaw"}, "a name has letters"),
        ({"name": ""}, "a name has letters"),
        ({"edges": (0.0,)}, "too few"),
        ({"edges": (0.0, 0.0)}, "do not rise"),
        ({"edges": (0.0, float("nan"))}, "do not rise"),
        ({"edges": (0.0, float("inf"))}, "range"),
        ({"low": 90.0}, "range 90"),
    ],
)
def test_what_is_no_attribute_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(YAW, **changes)


def forged(path: Path, **changes: str) -> None:
    """A table whose digest is right and whose metadata says something else."""
    table = faces_table()
    columns = [table.face_id, [None] * 4, [None] * 4, *table.values.T]
    schema = pa.schema([*KEYS.items(), ("yaw", pa.float32()), ("light", pa.float32())])
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    metadata = {
        "annotator": "{}",
        "attributes": json.dumps([asdict(YAW), asdict(LIGHT)]),
        "source_kind": FACES,
        "source_name": "pool",
        "source_digest": ROOT,
        **changes,
    }
    write_table(path, KIND, pa.Table.from_arrays(arrays, schema=schema), metadata)


DECLARED = asdict(YAW)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": "not JSON"}, "attributes are not JSON"),
        ({"attributes": "[]"}, "does not describe the columns"),
        ({"attributes": "{}"}, "declared with other keys"),
        ({"attributes": json.dumps([{**DECLARED, "more": 1}])}, "declared with other keys"),
        ({"attributes": json.dumps([{**DECLARED, "edges": 7}])}, "wrong types"),
        ({"attributes": json.dumps([{**DECLARED, "edges": [True, 2]}])}, "wrong types"),
        ({"attributes": json.dumps([{**DECLARED, "low": "a"}])}, "wrong types"),
        ({"attributes": json.dumps([{**DECLARED, "high": 10**400}])}, "none of float"),
        ({"attributes": json.dumps([{**DECLARED, "unit": 1}])}, "wrong types"),
        ({"attributes": json.dumps([DECLARED, DECLARED])}, "does not describe the columns"),
        ({"annotator": "[]"}, "does not describe the columns"),
        ({"source_kind": "dreams"}, "source 'dreams'"),
        ({"source_kind": PHOTOGRAPHS}, "a face is there twice"),  # images without a name
    ],
)
def test_a_strangers_table_is_read_with_care(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    forged(tmp_path / "table.parquet")
    AttributeTable.read(tmp_path / "table.parquet")
    forged(tmp_path / "table.parquet", **changes)
    with pytest.raises(InputError, match=f"{re.escape('table.parquet')}: .*{message}"):
        AttributeTable.read(tmp_path / "table.parquet")


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        AttributeTable.read(tmp_path / "table.parquet")
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        AttributeTable.read(tmp_path / "table.parquet")
