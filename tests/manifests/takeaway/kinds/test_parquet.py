"""Parquet shards as `datasets`, DuckDB and pandas read them: all that the stores say."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from manifests.takeaway.delivering import pack_round
from tests.manifests.takeaway.kinds.conftest import COUNT, PART_ROWS, check_face
from tests.packed import ROUND, TEACHERS

OUT = Path("as-parquet")
SHARDS = [f"train-{at:05d}-of-00003.parquet" for at in range(3)]


@pytest.fixture(scope="module", autouse=True)
def packed(source: None) -> None:
    pack_round(ROUND, OUT, "parquet")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library `datasets`, which reaches nobody and leaves nothing behind."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    datasets.disable_progress_bars()
    yield datasets


def test_a_row_of_all_shards_is_a_row_of_the_round() -> None:
    assert sorted(path.name for path in (OUT / "data").iterdir()) == SHARDS
    sizes = [pq.read_metadata(OUT / "data" / name).num_rows for name in SHARDS]
    assert sizes == [PART_ROWS, PART_ROWS, COUNT - 2 * PART_ROWS]


@pytest.mark.filterwarnings("ignore")  # of the library's own
def test_datasets_reads_every_face_as_it_is_stored(hub: Any, truth: list[dict[str, Any]]) -> None:
    faces = hub.load_dataset(str(OUT), split="train")
    assert len(faces) == COUNT
    assert isinstance(faces.features["image"], hub.Image)
    assert faces.features[f"embedding_plain_{TEACHERS[0]}"].length == 6
    for found, wanted in zip(faces, truth, strict=True):
        check_face(found | {"pixels": np.asarray(found["image"])}, wanted)


def test_duckdb_and_pandas_read_the_same(truth: list[dict[str, Any]]) -> None:
    wanted = [face for face in truth if face["ok"] and face["identity_id"] == 213]
    found = duckdb.sql(
        "SELECT * FROM 'as-parquet/data/*.parquet' WHERE ok AND identity_id = 213 ORDER BY row"
    )
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    assert len(rows) == len(wanted) > 50
    for row, face in zip(rows, wanted, strict=True):
        check_face(row | {"pixels": _pixels(row["image"])}, face)
    frame = pd.read_parquet(OUT / "data", dtype_backend="pyarrow")
    assert frame["parent_id"].tolist()[:50] == [face["parent_id"] or pd.NA for face in truth[:50]]
    assert os.path.basename(frame["image"][3]["path"]) == f"{truth[3]['face_id']:019d}.png"


def _pixels(image: dict[str, bytes]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image["bytes"])))
