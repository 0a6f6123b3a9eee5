"""What lies beside the faces speaks for them: to people, Hugging Face, Croissant and sha256sum."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from PIL import Image

from manifests.core import layout
from manifests.core.files import read_json
from manifests.records.marks import LOW_QUALITY, Mark, Marks
from manifests.stores.rounds import open_round
from manifests.takeaway import beside
from manifests.takeaway.delivering import KINDS, pack_round
from tests.packed import ROUND, TEACHERS, checkout, make_round

pytestmark = pytest.mark.filterwarnings(  # of libraries that mlcroissant calls
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*:ResourceWarning"
)
COUNT, MARKED = 40, 5  # a row that every kind takes
each_kind = pytest.mark.parametrize("kind", sorted(KINDS))


@pytest.fixture(scope="module", autouse=True)
def source() -> Iterator[None]:
    with checkout():
        make_round(COUNT)
        files = open_round(ROUND, TEACHERS[0])
        marks = (Mark(MARKED, LOW_QUALITY, 0.5, "other", 9),)
        table = Marks(marks, files.faces.root, files.teacher.root, {"quality": "0.6"})
        table.write(layout.marks(ROUND, TEACHERS[0]))
        for kind in KINDS:
            pack_round(ROUND, Path(kind), kind)
        yield


@each_kind
def test_hugging_face_reads_the_card(kind: str) -> None:
    card = DatasetCard.load(f"{kind}/README.md")
    assert card.data.license == "other"
    assert card.data.license_name and card.data.tags
    assert card.data.size_categories == ["n<1K"]
    (config,) = card.data.configs
    for split in config["data_files"]:
        patterns = split["path"] if isinstance(split["path"], list) else [split["path"]]
        assert all(any(Path(kind).glob(pattern)) for pattern in patterns)
    assert "# Datasheet of round" in card.text
    for column in read_json(Path(kind) / "pack.json")["columns"]:
        assert f"`{column['name']}`" in card.text and column["meaning"]


@each_kind
def test_sums_passports_and_marks(kind: str) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", beside.SUMS], cwd=kind, check=False
    )
    assert done.returncode == 0
    listed = {line[66:] for line in (Path(kind) / beside.SUMS).read_text().splitlines()}
    there = {p.relative_to(kind).as_posix() for p in Path(kind).rglob("*") if p.is_file()}
    assert listed == there - {beside.SUMS}
    names = {"faces": layout.faces(ROUND)}
    names |= {f"teachers/{name}": layout.teacher(ROUND, name) for name in TEACHERS}
    for name, store in names.items():
        passport = (store / "passport.json").read_bytes()
        assert (Path(kind) / f"passports/{name}.json").read_bytes() == passport
    (mark,) = (Path(kind) / f"marks/{TEACHERS[0]}.jsonl").read_text().splitlines()
    assert Mark(**json.loads(mark)) == Mark(MARKED, LOW_QUALITY, 0.5, "other", 9)


@each_kind
def test_croissant_loads_the_table(kind: str) -> None:
    data = mlcroissant.Dataset(jsonld=Path(kind) / "croissant.json")
    assert not data.metadata.ctx.issues.errors
    table = KINDS[kind].layout.table
    if table is None:
        assert not data.metadata.record_sets
        return
    wanted = pq.read_table(str(next(Path(kind).glob(table)))).to_pylist()
    found = list(data.records("rows"))
    assert len(found) == len(wanted)
    for record, row in zip(found, wanted, strict=True):
        assert record["rows/face_id"] == row["face_id"]
        name = f"embedding_plain_{TEACHERS[1]}"
        np.testing.assert_array_equal(np.array(record[f"rows/{name}"], np.float16), row[name])
    if kind == "parquet":
        expected = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
        np.testing.assert_array_equal(np.asarray(record["rows/image"]), expected)


def test_a_kind_says_what_it_cannot_hold() -> None:
    record = read_json(Path("rec/pack.json"))
    assert record["num_rows"] + record["num_without_place"] == record["num_source_ok"]
    assert all(read_json(Path(kind) / "pack.json")["loses"] for kind in KINDS)
