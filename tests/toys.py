"""Small manifests and stores, made by the code that makes the real ones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from manifests.building.ledger import LedgerLine
from manifests.building.writing import (
    Column,
    Task,
    assemble,
    plan_tasks,
    seal_store,
    write_attributes,
    write_images,
    write_metadata,
    write_piece,
)
from manifests.core import layout
from manifests.stores.latents import LatentManifest, Recipe, build
from manifests.stores.passport import Fingerprint, Passport, Provenance
from manifests.stores.reading import TASK_ROWS, FaceStore, TeacherStore
from pipeline.arrays.frames import WIDE
from pipeline.building.embeddings import centre_and_spread

WIDTH, EMBEDDING_WIDTH, FACE_SIZE = 4, 16, 32
RECIPE = Recipe("toy", "toy-generator", "ab" * 32, WIDTH)
PASSPORT = Passport(
    kind="faces",
    round="toy",
    num_rows=0,
    num_ok=0,
    failures={},
    merkle_root="",
    manifest_digest="cd" * 32,
    faces_root=None,
    fingerprint=Fingerprint({"name": "toy-generator"}, {"batch": 64}),
    lineage={},
    licences={"toy-generator": "CC0-1.0"},
)


def toy_manifest(num_rows: int = 5, *, seed: int = 0, recipe: Recipe = RECIPE) -> LatentManifest:
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((num_rows, recipe.latent_width), np.float32)
    return build(recipe, latents, origin="prior", key=str(seed))


def toy_faces(
    path: Path,
    images: np.ndarray,
    *,
    ok: np.ndarray | None = None,
    order: Sequence[int] = (),
    passport: Passport = PASSPORT,
    task_rows: int = TASK_ROWS,
    landmarks: tuple[str, np.ndarray] | None = None,
) -> FaceStore:
    """A sealed face store at `path`; `order`: in which its shards are written; `landmarks`: the
    name of their scheme, and where they lie."""
    ok = np.ones(len(images), bool) if ok is None else ok
    quality = np.where(ok, 1.0, np.nan).astype(np.float32)
    columns = {"ok": ok, "reason": (~ok).astype(np.uint8), "quality": quality}
    attributes: dict[str, object] = {"frame": asdict(WIDE.at(images.shape[1]))}
    if landmarks is not None:
        attributes["landmark_scheme"], columns["landmarks"] = landmarks
    shutil.rmtree(path, ignore_errors=True)
    tasks = plan_tasks(len(images), task_rows)
    written = {
        shard: write_images(path, tasks[shard], images[rows(tasks[shard])], task_rows)
        for shard in (order or range(len(tasks)))
    }
    pictures = Column("images", "uint8", images.shape[1:])
    version = passport.schema_version
    others = write_metadata(path, pictures, len(images), task_rows, images=True, version=version)
    others |= write_attributes(path, attributes)
    lines = [_line(task, ok[rows(task)], dict([written[task.shard]])) for task in tasks]
    _finish(path, lines, others, columns, replace(passport, shard_rows=task_rows))
    return FaceStore.open(path)


def rows(task: Task) -> slice:
    return slice(task.start, task.stop)


def toy_teacher(
    path: Path,
    embeddings: np.ndarray,
    *,
    faces_root: str = "ef" * 32,
    passport: Passport = PASSPORT,
    task_rows: int = TASK_ROWS,
) -> TeacherStore:
    """A sealed teacher store of (face, view, width) embeddings; NaN where a face failed."""
    shutil.rmtree(path, ignore_errors=True)
    stored = embeddings.astype(np.float16)
    norms = np.linalg.norm(embeddings, axis=2).astype(np.float32)
    mean, spread = centre_and_spread(lambda: [stored], stored.shape[2])
    others = write_attributes(path, {"mean": mean.tolist(), "spread": spread})
    ok = np.isfinite(stored).all(axis=(1, 2))
    lines = [_line(task, ok[rows(task)], {}) for task in plan_tasks(len(stored), task_rows)]
    made_of = replace(passport, kind="teacher", faces_root=faces_root, shard_rows=task_rows)
    _finish(path, lines, others, {"embeddings": stored, "norms": norms}, made_of)
    return TeacherStore.open(path)


def _line(task: Task, ok: np.ndarray, sha256: dict[str, str]) -> LedgerLine:
    failures = {"no_face": int((~ok).sum())} if not ok.all() else {}
    return LedgerLine(task.shard, "0" * 16, sha256, len(ok), int(ok.sum()), failures)


def make_round(
    name: str,
    count: int,
    *,
    seed: int = 0,
    failed: float = 0.2,
    origin: str = "prior",
    law: str | None = None,
    real_faces: str | None = None,
    alignment: dict[str, str] | None = None,
    **columns: np.ndarray,
) -> tuple[FaceStore, TeacherStore]:
    """A round of random pictures and embeddings where stages look for it, below the current
    folder: manifest, face store and teacher store `toy`; a share of its faces has failed.
    `real_faces`: what the faces' passport states of the people who are on them; `alignment`: of
    how they were found."""
    rng = np.random.default_rng(seed)
    recipe = replace(RECIPE, round=name)
    latents = rng.standard_normal((count, WIDTH), np.float32)
    manifest = build(recipe, latents, origin=origin, law=law, key=str(seed), **columns)
    manifest.write(layout.manifest(name))
    ok = rng.random(count) >= failed
    images = rng.integers(0, 256, (count, FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    embeddings = rng.standard_normal((count, 2, EMBEDDING_WIDTH)).astype(np.float32)
    embeddings[~ok] = np.nan
    passport = replace(PASSPORT, round=name, manifest_digest=manifest.digest)
    told = {"real_faces": real_faces, "alignment": alignment}
    stated = {name: value for name, value in told.items() if value is not None}
    made_by = replace(passport.fingerprint, identity={**passport.fingerprint.identity, **stated})
    own = replace(passport, fingerprint=made_by)
    faces = toy_faces(layout.faces(name), images, ok=ok, passport=own)
    path = layout.teacher(name, "toy")
    return faces, toy_teacher(path, embeddings, faces_root=faces.root, passport=passport)


def _finish(
    path: Path,
    lines: list[LedgerLine],
    others: dict[str, str],
    columns: dict[str, np.ndarray],
    made_of: Provenance,
) -> None:
    tasks = plan_tasks(sum(line.num_rows for line in lines), made_of.shard_rows)
    kinds = [Column(name, str(c.dtype), c.shape[1:]) for name, c in columns.items()]
    with tempfile.TemporaryDirectory() as work:
        for task in tasks:
            write_piece(Path(work), task, {name: c[rows(task)] for name, c in columns.items()})
        form = made_of.shard_rows, made_of.schema_version
        others |= assemble(path, Path(work), tasks, kinds, *form)
    seal_store(path, lines, others, made_of)
