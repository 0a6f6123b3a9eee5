"""Small rounds of random pictures and embeddings, written through the product's own writers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from manifests import layout
from manifests.building import (
    Column,
    assemble,
    create_images,
    create_store,
    plan_tasks,
    set_attributes,
    write_images,
    write_piece,
)
from manifests.digests import folder_hashes, merkle_root
from manifests.latents import LatentManifest, Recipe, build
from manifests.passport import Fingerprint, Passport
from manifests.stores import FaceStore, TeacherStore
from pipeline.embed import centre_and_spread
from pipeline.frames import WIDE

SIZE, WIDTH = 32, 16
FACE_COLUMNS = (Column("ok", "bool"), Column("reason", "uint8"), Column("quality", "float32"))


def make_round(
    name: str,
    count: int,
    *,
    seed: int = 0,
    failed: float = 0.2,
    origin: str = "prior",
    law: str | None = None,
    **columns: np.ndarray,
) -> tuple[FaceStore, TeacherStore]:
    """A round below the current folder: manifest, face store and teacher store `toy`."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((count, 8)).astype(np.float32)
    manifest = build(
        Recipe(name, "toy", "0" * 64, 8), latents, origin=origin, law=law, key=str(seed), **columns
    )
    manifest.write(layout.manifest(name))
    ok = rng.random(count) >= failed
    images = rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    embeddings = rng.standard_normal((count, 2, WIDTH)).astype(np.float16)
    embeddings[~ok] = np.nan
    faces = _faces(layout.faces(name), manifest, images, ok)
    return faces, _teacher(layout.teacher(name, "toy"), faces, embeddings)


def _faces(path: Path, manifest: LatentManifest, images: np.ndarray, ok: np.ndarray) -> FaceStore:
    create_store(path)
    create_images(path, len(ok), SIZE)
    columns = {"ok": ok, "reason": (~ok).astype(np.uint8), "quality": ok.astype(np.float32)}
    for task in plan_tasks(len(ok)):
        rows = slice(task.start, task.stop)
        write_images(path, task, images[rows])
        write_piece(path.parent, task, {name: values[rows] for name, values in columns.items()})
    assemble(path, path.parent, plan_tasks(len(ok)), FACE_COLUMNS)
    set_attributes(path, {"frame": asdict(WIDE.at(SIZE))})
    _seal(path, "faces", manifest.recipe.round, ok, manifest.digest, None)
    return FaceStore.open(path)


def _teacher(path: Path, faces: FaceStore, embeddings: np.ndarray) -> TeacherStore:
    create_store(path)
    for task in plan_tasks(len(embeddings)):
        write_piece(path.parent, task, {"embeddings": embeddings[task.start : task.stop]})
    column = Column("embeddings", "float16", embeddings.shape[1:])
    assemble(path, path.parent, plan_tasks(len(embeddings)), (column,))
    mean, spread = centre_and_spread([embeddings])
    set_attributes(path, {"mean": mean.tolist(), "spread": spread})
    passport = faces.passport
    _seal(path, "teacher", passport.round, faces.ok(), passport.manifest_digest, faces.root)
    return TeacherStore.open(path)


def _seal(
    path: Path, kind: str, name: str, ok: np.ndarray, manifest: str, faces_root: str | None
) -> None:
    Passport(
        kind=kind,
        round=name,
        num_rows=len(ok),
        num_ok=int(ok.sum()),
        failures={"no_face": int((~ok).sum())},
        merkle_root=merkle_root(folder_hashes(path)),
        manifest_digest=manifest,
        faces_root=faces_root,
        fingerprint=Fingerprint({"name": "toy"}, {}),
        lineage={},
        licences={"toy": "none"},
    ).write(path)
