"""parquet: shards that are a Hugging Face dataset as they stand, and tables to everyone else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.core.files import replacing
from manifests.takeaway.blocks import BLOCK_ROWS, Block, Part
from manifests.takeaway.choosing import ALL, Chosen
from manifests.takeaway.kinds.contract import Kind, Layout, Place
from manifests.takeaway.pictures import decode, encode

IMAGE = "image"
IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
PATTERN = "data/train-*.parquet"
TYPES = {"halffloat": "float16", "float": "float32", "double": "float64"}  # as NumPy calls them
READING = """\
```python
import datasets

faces = datasets.load_dataset("OUT", split="train").with_format("numpy")
faces[0]["image"], faces[0]["identity_id"]
```

The same in SQL and as a data frame:

```python
import duckdb

duckdb.sql("SELECT face_id, quality FROM 'OUT/data/*.parquet' WHERE ok").df()
```
"""


@final
class Parquet(Kind):
    """A row group is BLOCK_ROWS faces, so that readers may skip to some of them."""

    layout = Layout(
        rows=ALL,
        data=(PATTERN,),
        table=PATTERN,
        picture=IMAGE,
        loads_as={"data_files": [{"split": "train", "path": PATTERN}]},
        nobody="",
        loses=("Readers but Arrow's may see lists of any length where a row has a fixed one.",),
        reading=READING,
        following='datasets.load_dataset("OUT") reads it',
    )

    def arrange(self, chosen: Chosen, table: pa.Table) -> tuple[Chosen, pa.Table]:
        return chosen, table

    def write(self, part: Part, faces: Iterable[Block], place: Place) -> list[Path]:
        path = _path(part, place)
        write_table(path, (_with_pictures(block) for block in faces))
        return [path]

    def read(self, part: Part, schema: pa.Schema, place: Place) -> Iterator[Block]:
        for table in read_table(_path(part, place)):
            pictures = table[IMAGE].combine_chunks().field("bytes").to_pylist()
            yield Block(decode(pictures, place.size), table.drop_columns([IMAGE]))

    def finish(self, parts: Sequence[Part], table: pa.Table, place: Place) -> None:
        """Shards are all there is."""


def _path(part: Part, place: Place) -> Path:
    return place.finished / f"data/train-{part.number:05d}-of-{part.of:05d}.parquet"


def _with_pictures(block: Block) -> pa.Table:
    names = [f"{face:019d}.png" for face in block.table["face_id"].to_pylist()]
    fields = [pa.array(encode(block.images), pa.binary()), pa.array(names, pa.string())]
    pictures = pa.StructArray.from_arrays(fields, fields=list(IMAGE_TYPE))
    table = block.table.add_column(0, IMAGE, pictures)
    said = json.dumps({"info": {"features": _features(table.schema)}})
    return table.replace_schema_metadata({"huggingface": said})


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The columns in the words of the library `datasets`, of any version."""
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE_TYPE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        item = _feature(kind.value_type)
        return {"feature": item, "length": kind.list_size, "_type": "Sequence"}
    return {"dtype": TYPES.get(str(kind), str(kind)), "_type": "Value"}


def write_table(path: Path, tables: Iterable[pa.Table]) -> None:
    """One file, a row group a table; pictures, which are small already, are not compressed."""
    tables = iter(tables)
    first = next(tables)
    schema = first.schema
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    packed = {leaf: "zstd" for leaf in _leaves(schema)} | {f"{IMAGE}.bytes": "none"}
    with (
        replacing(path) as scratch,
        pq.ParquetWriter(
            scratch,
            schema,
            compression=packed,
            use_dictionary=texts,
            write_page_index=True,
            write_page_checksum=True,
        ) as writer,
    ):
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _leaves(schema: pa.Schema) -> Iterator[str]:
    """The columns as Parquet calls them."""
    for field in schema:
        if pa.types.is_struct(field.type):
            yield from (f"{field.name}.{inner.name}" for inner in field.type)
        elif pa.types.is_fixed_size_list(field.type):
            yield f"{field.name}.list.element"
        else:
            yield field.name


def read_table(path: Path) -> Iterator[pa.Table]:
    """In blocks of BLOCK_ROWS, without what the schema says beside names and types."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).replace_schema_metadata(None)
            for at in range(0, table.num_rows, BLOCK_ROWS):
                yield table.slice(at, BLOCK_ROWS)
