"""A small round with all that a round may have, in several shards, and files forged from one."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from manifests.building.ledger import LedgerLine
from manifests.building.writing import (
    Column,
    assemble,
    plan_tasks,
    seal_store,
    write_attributes,
    write_images,
    write_metadata,
    write_piece,
)
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.stores.latents import LatentManifest, build
from manifests.stores.passport import SCHEMA_VERSION, Passport
from manifests.takeaway.hdf5 import CONTENTS, LAST_LINE, Form
from manifests.takeaway.packing import export_round
from manifests.takeaway.unpacking import import_round
from pipeline.arrays.frames import WIDE
from tests.toys import PASSPORT, RECIPE, WIDTH

TASK_ROWS, SIZE, DIM = 64, 8, 6
ROUND, TEACHERS = "pool", ("arc-2", "toy")
FEW = f"few/{ROUND}"
GOOD, BAD = Path("good.h5"), Path("bad.h5")
LAST = len(LAST_LINE.format("0" * 64))


@contextmanager
def checkout() -> Iterator[Path]:
    """An empty folder to be the current one."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        yield Path(folder)


def make_round(
    count: int, *, seed: int = 0, name: str = ROUND, version: int = SCHEMA_VERSION
) -> None:
    """Manifest, faces and two teachers of round `name`, with nulls, NaNs and failures."""
    rng = np.random.default_rng(seed)
    manifest = mixed_manifest(count, rng, name)
    manifest.write(layout.manifest(name))
    ok = rng.random(count) < 0.8
    images = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    columns = {
        "ok": ok,
        "reason": (~ok).astype(np.uint8),
        "landmarks": _with_nan(rng.random((count, 5, 2), np.float32), ok),
        "quality": _with_nan(rng.random(count, np.float32), ok),
    }
    links = {"manifest_digest": manifest.digest, "schema_version": version}
    passport = replace(PASSPORT, round=name, **links)
    attributes = {"landmark_scheme": "dlib5", "frame": asdict(WIDE.at(SIZE))}
    faces = _seal(layout.faces(name), passport, attributes, columns, ok, images)
    for at, teacher in enumerate(TEACHERS):
        embeddings = _with_nan(rng.standard_normal((count, 2, DIM)).astype(np.float32), ok)
        columns = {
            "embeddings": embeddings.astype(np.float16),
            "norms": np.linalg.norm(embeddings, axis=2),
        }
        attributes = {"views": ["plain", "flip"], "mean": [0.1 * at] * DIM, "spread": 1 / 3}
        made = replace(passport, kind="teacher", faces_root=faces.merkle_root)
        _seal(layout.teacher(name, teacher), made, attributes, columns, ok)


def mixed_manifest(count: int, rng: np.random.Generator, name: str = ROUND) -> LatentManifest:
    """Nullable columns with nulls here and there; every seventh face is imported."""
    latents = rng.standard_normal((count, WIDTH), np.float32)
    holes = rng.random((5, count)) < 0.5
    key = str(rng.integers(1 << 30))
    made = build(replace(RECIPE, round=name, psi=0.7), latents, origin="mined", key=key)
    imported = np.arange(count) % 7 == 3
    texts = [f"loi-{row}é" if row % 3 else "" for row in range(count)]
    new = {
        "latent": pa.FixedSizeListArray.from_arrays(
            pa.array(latents.reshape(-1)), type=made.table["latent"].type, mask=pa.array(imported)
        ),
        "origin": pa.array(np.where(imported, "imported", "mined"), pa.string()),
        "law": pa.array(texts, pa.string(), mask=holes[0]),
        "score": pa.array(_with_nan(rng.random(count, np.float32), holes[0]), mask=holes[1]),
        "parent_id": pa.array(rng.integers(-(1 << 62), 1 << 62, count), mask=holes[2]),
        "side": pa.array(rng.choice([-1, 1], count).astype(np.int8), mask=holes[3]),
        "identity_id": pa.array(rng.choice([0, 7, 10, 213], count), mask=holes[4]),
    }
    names = made.table.schema.names
    columns = [new.get(column, made.table[column]) for column in names]
    return LatentManifest(made.recipe, pa.Table.from_arrays(columns, schema=made.table.schema))


def _with_nan(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    values[~kept] = np.nan
    return values


def _seal(
    store: Path,
    passport: Passport,
    attributes: Mapping[str, Any],
    columns: Mapping[str, np.ndarray],
    ok: np.ndarray,
    images: np.ndarray | None = None,
) -> Passport:
    tasks, lines, version = plan_tasks(len(ok), TASK_ROWS), [], passport.schema_version
    with tempfile.TemporaryDirectory() as work:
        for task in tasks:
            here = slice(task.start, task.stop)
            write_piece(Path(work), task, {name: rows[here] for name, rows in columns.items()})
            failed = int((~ok[here]).sum())
            failures = {"no_face" if images is not None else "face_not_ok": failed}
            counts = (len(ok[here]), len(ok[here]) - failed, failures if failed else {})
            hashes = {}
            if images is not None:
                hashes = dict([write_images(store, task, images[here], TASK_ROWS)])
            lines.append(LedgerLine(task.shard, f"{task.shard:016x}", hashes, *counts))
        kinds = [Column(name, str(rows.dtype), rows.shape[1:]) for name, rows in columns.items()]
        others = assemble(store, Path(work), tasks, kinds, TASK_ROWS, version)
    if images is not None:
        pictures = Column("images", "uint8", images.shape[1:])
        others |= write_metadata(store, pictures, len(ok), TASK_ROWS, images=True, version=version)
    others |= write_attributes(store, attributes)
    return seal_store(store, lines, others, replace(passport, shard_rows=TASK_ROWS))


Change = Callable[[h5py.File, dict[str, Any]], object]


def text(words: str) -> np.ndarray:
    return np.array([words.encode()], f"S{len(words.encode())}")


def put(file: h5py.File, name: str, rows: np.ndarray, **kept: Any) -> Form:
    """A data set as ours are, in place of what is there; `kept` makes it another."""
    if name in file:
        del file[name]
    form = Form(rows.dtype.str, rows.shape)
    chunked = {"chunks": (form.chunk_rows, *rows.shape[1:]), "fletcher32": True}
    file.create_dataset(name, data=rows, track_times=False, **{**chunked, **kept})
    return form


def swap(name: str, rows: np.ndarray, **kept: Any) -> Change:
    """A change that puts other rows, and says so in the contents."""

    def change(file: h5py.File, values: dict[str, Any]) -> None:
        values["datasets"][name] = asdict(put(file, name, rows, **kept))

    return change


@contextmanager
def packed(count: int) -> Iterator[None]:
    """A checkout with a round, and all of it in a take-away; then BAD is for forgeries of it."""
    with checkout():
        make_round(count)
        export_round(ROUND, GOOD)
        yield


def refused(message: str) -> None:
    """BAD is not imported, for the reason that is given, and nothing is left of it."""
    layout.WORK.mkdir(exist_ok=True)
    before = set(Path().rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        import_round(BAD, FEW)
    assert re.fullmatch(r"bad\.h5: [^\n]*; [^\n]*", str(caught.value))
    assert len(str(caught.value)) < 700
    assert set(Path().rglob("*")) == before


def forge(change: Change) -> None:
    """BAD: what GOOD has, after `change` to the open file and its contents, every digest right."""
    BAD.write_bytes(GOOD.read_bytes()[:-LAST])
    with h5py.File(BAD, "r+") as file:
        values = json.loads(file[CONTENTS][0])
        change(file, values)
        if CONTENTS in file:
            put(file, CONTENTS, text(json.dumps(values)))
    data = BAD.read_bytes()
    BAD.write_bytes(data + LAST_LINE.format(hashlib.sha256(data).hexdigest()).encode())
