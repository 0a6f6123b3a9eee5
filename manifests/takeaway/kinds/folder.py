"""folder: a folder an identity, as ImageFolder, arcface_torch and most other code read faces.

images/IDENTITY/FACE.png    IDENTITY is the identity_id, with zeros: so names sort as numbers
unlabelled/FACE.png         faces without an identity: below images they would be a person
metadata.parquet            all else that is known of a face, by its file_name
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa

from manifests.core.errors import InputError
from manifests.photographs.sources.folder import UNLABELLED
from manifests.takeaway.blocks import Block, Part
from manifests.takeaway.choosing import USABLE, Chosen
from manifests.takeaway.kinds.contract import Kind, Layout, Place
from manifests.takeaway.kinds.parquet import read_table, write_table
from manifests.takeaway.pictures import decode, encode

FILE, LABEL = "file_name", "label"
METADATA = "metadata.parquet"
READING = """\
```python
import torchvision

faces = torchvision.datasets.ImageFolder("OUT/images")  # a face, and the number of its identity
```

`metadata.parquet` has the embeddings and all else by `file_name`; its `label` is that number.
`datasets.load_dataset("OUT")` reads both together. Faces without an identity lie in `unlabelled`;
where none has one, there is no `images`.
"""


@final
class Folder(Kind):
    layout = Layout(
        rows=USABLE,
        data=("images/**/*.png", "unlabelled/*.png"),
        table=METADATA,
        picture=None,
        loads_as={
            "data_files": [
                {"split": "train", "path": ["images/**", "unlabelled/**", METADATA]},
            ]
        },
        nobody="in unlabelled/",
        loses=("Nothing, but a file system stores a million small files slowly.",),
        reading=READING,
        following='datasets.load_dataset("OUT") reads it; ImageFolder("OUT/images") any people',
    )

    def arrange(self, chosen: Chosen, table: pa.Table) -> tuple[Chosen, pa.Table]:
        label = labels(table)
        width = len(str(table["identity_id"].drop_null().to_numpy().max(initial=0)))
        columns = (table[name].to_pylist() for name in ("face_id", "identity_id"))
        names = [
            f"{UNLABELLED}/{face:019d}.png"
            if identity is None
            else f"images/{identity:0{width}d}/{face:019d}.png"
            for face, identity in zip(*columns, strict=True)
        ]
        table = table.add_column(0, FILE, pa.array(names, pa.string()))
        return chosen, table.append_column(LABEL, label)

    def write(self, part: Part, faces: Iterable[Block], place: Place) -> list[Path]:
        written = [part_table(part, place)]
        write_table(written[0], _with_files(faces, place, written))
        return written

    def read(self, part: Part, schema: pa.Schema, place: Place) -> Iterator[Block]:
        for table in read_table(part_table(part, place)):
            files = [place.finished / name for name in table[FILE].to_pylist()]
            yield Block(decode([path.read_bytes() for path in files], place.size), table)

    def finish(self, parts: Sequence[Part], table: pa.Table, place: Place) -> None:
        join_tables(parts, place)


def _with_files(faces: Iterable[Block], place: Place, written: list[Path]) -> Iterator[pa.Table]:
    """Writes the pictures of each block, notes their files, and gives what stands beside them."""
    for block in faces:
        names = block.table[FILE].to_pylist()
        for name, picture in zip(names, encode(block.images), strict=True):
            path = place.finished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
            written.append(path)
        yield block.table


def labels(table: pa.Table) -> pa.Array:
    """The place of each face's identity among all that are chosen, ascending; empty where it has
    none. Raises InputError for an identity below zero."""
    column = table["identity_id"].combine_chunks()
    there = np.asarray(column.is_valid())
    found, places = np.unique(column.drop_null().to_numpy(), return_inverse=True)
    if len(found) and found[0] < 0:
        raise InputError(f"identity_id {found[0]}, expected 0 or more; pack it as parquet")
    label = np.zeros(len(column), np.int64)
    label[there] = places
    return pa.array(label, mask=~there)


def part_table(part: Part, place: Place) -> Path:
    return place.scratch / f"table-{part.number:05d}.parquet"


def join_tables(parts: Sequence[Part], place: Place) -> None:
    """metadata.parquet, of the parts' own."""
    tables = (table for part in parts for table in read_table(part_table(part, place)))
    write_table(place.finished / METADATA, tables)
