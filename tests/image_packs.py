"""The same images in every kind of set that others publish, written by the libraries that others
write them by; InsightFace's records by a twin of mxnet's, which is installed nowhere any more."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

MARK = struct.pack("<I", 0xCED7230A)


@dataclass(frozen=True)
class Item:
    """An image: who is on it, and its encoded bytes."""

    identity: int
    data: bytes


def pictures(people: int, each: int, side: int = 24) -> list[Item]:
    """PNG pictures of noise, no two alike."""
    rng = np.random.default_rng(0)
    return [
        Item(person, encoded(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)))
        for person in range(people)
        for _ in range(each)
    ]


def encoded(picture: np.ndarray, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()


def write_folder(items: Sequence[Item], folder: Path) -> Path:
    for number, item in enumerate(items):
        (folder / f"{item.identity:04}").mkdir(parents=True, exist_ok=True)
        (folder / f"{item.identity:04}/{number:06}.png").write_bytes(item.data)
    return folder


def write_datasets(items: Sequence[Item], folder: Path) -> Path:
    """Two files, as Hugging Face's datasets writes a split."""
    import datasets

    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    (folder / "data").mkdir(parents=True)
    datasets.disable_progress_bars()
    for part in range(2):
        own = items[part::2]
        images = [{"bytes": item.data, "path": None} for item in own]
        columns = {"image": images, "label": [item.identity for item in own]}
        made = datasets.Dataset.from_dict(columns, features=kinds)
        made.to_parquet(str(folder / f"data/train-{part:05}-of-00002.parquet"), batch_size=7)
    return folder


def write_parquet(items: Sequence[Item], path: Path) -> Path:
    """One file with a column of bytes, packed, in small row groups."""
    table = pa.table({
        "number": range(len(items)),
        "subject": [f"{item.identity:04}" for item in items],
        "face": pa.array([item.data for item in items], pa.binary()),
    })  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=10, compression="zstd")
    return path


def write_webdataset(items: Sequence[Item], folder: Path) -> Path:
    """Two shards, with a JSON file beside each image."""
    folder.mkdir(parents=True)
    for part in range(2):
        with webdataset.TarWriter(str(folder / f"shard-{part:06}.tar")) as writer:
            for number, item in enumerate(items[part::2]):
                said = {"identity": item.identity, "age": 30}
                writer.write({"__key__": f"{number:06}", "png": item.data, "json": said})
    return folder


def write_classes(items: Sequence[Item], path: Path) -> Path:
    """One tar, with a class beside each image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for number, item in enumerate(items):
            key = f"{'deep/' * 30}{number:06}"  # longer than a header has room for
            writer.write({"__key__": key, "png": item.data, "cls": item.identity})
    return path


def write_rec(items: Sequence[Item], folder: Path) -> Path:
    """train.rec, train.idx and property as InsightFace packs them; labels are arrays of two where
    the number is odd."""
    folder.mkdir(parents=True, exist_ok=True)
    count, people = len(items), max(item.identity for item in items) + 1
    records = [(0, header([count + 1, count + 1 + people]))]
    for key, item in enumerate(items, 1):
        label = [float(item.identity), 0.0] if key % 2 else float(item.identity)
        records.append((key, header(label, key) + item.data))
    for person in range(people):
        records.append((count + 1 + person, header([1, 2])))
    lines, rec = [], io.BytesIO()
    for key, data in records:
        lines.append(f"{key}\t{rec.tell()}\n")
        rec.write(record(data))
    (folder / "train.rec").write_bytes(rec.getvalue())
    (folder / "train.idx").write_text("".join(lines))
    (folder / "property").write_text(f"{people},112,112\n")
    return folder


def header(label: float | Sequence[float], number: int = 0) -> bytes:
    """mxnet.recordio.pack's: the number of labels, the only one, two ids; then several."""
    if isinstance(label, float | int):
        return struct.pack("<IfQQ", 0, label, number, 0)
    return struct.pack("<IfQQ", len(label), 0, number, 0) + np.array(label, "<f4").tobytes()


def record(data: bytes) -> bytes:
    """As dmlc's RecordIOWriter writes one: cut where its own mark stands at a multiple of 4."""
    cuts = [at for at in range(0, len(data) - 3, 4) if data[at : at + 4] == MARK]
    starts, ends = [0, *(at + 4 for at in cuts)], [*cuts, len(data)]
    parts = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    kinds = [0] if not cuts else [1, *[2] * (len(cuts) - 1), 3]
    return b"".join(
        MARK + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
        for kind, part in zip(kinds, parts, strict=True)
    )


def write_lmdb(items: Sequence[Item], folder: Path) -> Path:
    """Keys are a folder and a name, values the images; their number is pickled beside them."""
    put_lmdb(folder, (
        (f"{item.identity:04}/{number:06}.png".encode(), item.data)
        for number, item in enumerate(items)
    ))  # fmt: skip
    return folder


def write_pairs(items: Sequence[Item], folder: Path) -> Path:
    """Keys are numbers, values pickled pairs of an image and its label, as folder2lmdb has them."""
    put_lmdb(folder, (
        (str(number).encode(), pickle.dumps((item.data, item.identity)))
        for number, item in enumerate(items)
    ))  # fmt: skip
    return folder


def put_lmdb(folder: Path, values: Iterator[tuple[bytes, bytes]]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=1 << 26) as database:
        for some in (
            values,
            iter([(b"__len__", pickle.dumps(7)), (b"__keys__", pickle.dumps([]))]),
        ):
            with database.begin(write=True) as writing:
                for key, value in some:
                    writing.put(key, value)


Writer = Callable[[Sequence[Item], Path], Path]
WRITERS: dict[str, tuple[str, str, Writer]] = {  # kind, what it is called, and who writes it
    "folder": ("folder", "set", write_folder),
    "datasets": ("parquet", "set", write_datasets),
    "columns": ("parquet", "set.parquet", write_parquet),
    "shards": ("webdataset", "set", write_webdataset),
    "classes": ("webdataset", "set.tar", write_classes),
    "records": ("rec", "set", write_rec),
    "keys": ("lmdb", "set", write_lmdb),
    "pairs": ("lmdb", "set", write_pairs),
}
