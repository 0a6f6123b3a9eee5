"""webdataset: tar shards that are read from one end to the other, also over a network.

KEY.png            the picture; KEY is the face_id with 19 digits
KEY.json           all that is known of the face but the numbers below: a column that is empty
                   is not in it, null is a number that is none (NaN)
KEY.TEACHER.npy    (view, width) float16 as stored
KEY.latent.npy     (width,) float32, where the face has one
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa

from manifests.core.errors import InputError
from manifests.core.files import replacing
from manifests.takeaway.blocks import BLOCK_ROWS, EMBEDDING, Block, Part, column_of, to_column
from manifests.takeaway.choosing import USABLE, Chosen
from manifests.takeaway.kinds.contract import Kind, Layout, Place
from manifests.takeaway.pictures import decode, encode

LATENT = "latent"
TAKEN = {LATENT, "png", "json"}  # a teacher of such a name would be taken for another file
LONGEST_TEACHER = 70  # USTAR has 100 characters for a name
READING = """\
```python
import webdataset

faces = webdataset.WebDataset("OUT/faces-{000000..LAST}.tar", shardshuffle=100).shuffle(4096)
for face in faces.decode("rgb8"):
    face["png"], face["json"].get("identity_id"), face["TEACHER.npy"][0]  # plain; [1] is mirrored
```
"""


@final
class WebDataset(Kind):
    layout = Layout(
        rows=USABLE,
        data=("faces-*.tar",),
        table=None,
        picture=None,
        loads_as={"data_files": [{"split": "train", "path": "faces-*.tar"}]},
        nobody="",
        loses=("JSON has no types: 0.5 of float32 is read as a float of 64 bits, of equal value.",),
        reading=READING,
        following='webdataset.WebDataset("OUT/faces-{000000..LAST}.tar") reads it',
    )

    def arrange(self, chosen: Chosen, table: pa.Table) -> tuple[Chosen, pa.Table]:
        names = [teacher.lower() for teacher in chosen.teachers]  # as webdataset reads them
        for name in names:
            if name in TAKEN or len(name) > LONGEST_TEACHER or names.count(name) > 1:
                raise InputError(
                    f"teacher {name!r}: no name that tells its files from others in a tar; take "
                    "others (--teacher), or pack it as parquet"
                )
        return chosen, table

    def write(self, part: Part, faces: Iterable[Block], place: Place) -> list[Path]:
        path = _path(part, place)
        with (
            replacing(path) as scratch,
            tarfile.open(scratch, "w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for block in faces:
                for name, data in _files(block):
                    entry = tarfile.TarInfo(name)  # of no time, and nobody's
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        return [path]

    def read(self, part: Part, schema: pa.Schema, place: Place) -> Iterator[Block]:
        with tarfile.open(_path(part, place), "r:") as tar:
            samples: list[dict[str, bytes]] = []
            for _, entries in groupby(tar, lambda entry: entry.name.partition(".")[0]):
                samples.append({each.name.partition(".")[2]: _data(tar, each) for each in entries})
                if len(samples) == BLOCK_ROWS:
                    yield _block(samples, schema, place.size)
                    samples = []
            if samples:
                yield _block(samples, schema, place.size)

    def finish(self, parts: Sequence[Part], table: pa.Table, place: Place) -> None:
        """Shards are all there is."""


def _path(part: Part, place: Place) -> Path:
    return place.finished / f"faces-{part.number:06d}.tar"


def _views(schema: pa.Schema) -> dict[str, list[str]]:
    """{teacher: its columns, a view each}"""
    found: dict[str, list[str]] = {}
    for name in schema.names:
        if name.startswith(f"{EMBEDDING}_"):
            found.setdefault(name.split("_", 2)[2], []).append(name)
    return found


def _files(block: Block) -> Iterator[tuple[str, bytes]]:
    table, teachers = block.table, _views(block.table.schema)
    arrays = {
        teacher: np.stack([column_of(table, name) for name in names], axis=1)
        for teacher, names in teachers.items()
    }
    latents = table[LATENT].combine_chunks()
    others = table.drop_columns([LATENT, *(name for names in teachers.values() for name in names)])
    pictures = encode(block.images)
    for row, (picture, facts) in enumerate(zip(pictures, others.to_pylist(), strict=True)):
        key = f"{facts['face_id']:019d}"
        yield f"{key}.png", picture
        yield f"{key}.json", _json(facts)
        for teacher, rows in arrays.items():
            yield f"{key}.{teacher}.npy", _npy(rows[row])
        if latents[row].is_valid:
            yield f"{key}.{LATENT}.npy", _npy(np.array(latents[row].as_py(), np.float32))


def _json(facts: Mapping[str, Any]) -> bytes:
    kept = {name: _number(value) for name, value in facts.items() if value is not None}
    try:
        return json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise InputError(
            f"face {facts['face_id']}: an infinite number, which JSON has not; pack it as parquet"
        ) from None


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _data(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    opened = tar.extractfile(entry)
    assert opened is not None
    return opened.read()


def _block(samples: Sequence[Mapping[str, bytes]], schema: pa.Schema, size: int) -> Block:
    """The inverse of `_files`, in the types of before."""
    columns: dict[str, pa.Array] = {}
    for teacher, names in _views(schema).items():
        rows = np.stack([_array(sample[f"{teacher}.npy"]) for sample in samples])
        columns |= {name: to_column(rows[:, at]) for at, name in enumerate(names)}
    lists = [_array(s[f"{LATENT}.npy"]) if f"{LATENT}.npy" in s else None for s in samples]
    columns[LATENT] = pa.array(lists, schema.field(LATENT).type)
    facts = [json.loads(sample["json"]) for sample in samples]
    arrays = [columns.get(f.name, _column(f, facts)) for f in schema]
    images = decode([sample["png"] for sample in samples], size)
    return Block(images, pa.Table.from_arrays(arrays, schema=schema))


def _array(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _column(field: pa.Field, facts: Sequence[Mapping[str, Any]]) -> pa.Array:
    values = [_with_nan(each[field.name]) if field.name in each else None for each in facts]
    return pa.array(values, field.type)


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(each) for each in value]
    return math.nan if value is None else value
