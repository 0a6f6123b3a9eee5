"""Small manifests and stores, made by the code that makes the real ones."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from manifests import layout
from manifests.building import (
    Column,
    Task,
    assemble,
    create_images,
    create_store,
    plan_tasks,
    set_attributes,
    write_images,
    write_piece,
)
from manifests.latents import LatentManifest, Recipe, build
from manifests.ledger import LedgerLine
from manifests.passport import Fingerprint, Passport
from manifests.stores import FaceStore, TeacherStore
from pipeline.embed import centre_and_spread
from pipeline.frames import WIDE
from pipeline.shards import Workshop, seal

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
) -> FaceStore:
    """A sealed face store at `path`; `order`: in which its shards are written."""
    ok = np.ones(len(images), bool) if ok is None else ok
    quality = np.where(ok, 1.0, np.nan).astype(np.float32)
    columns = {"ok": ok, "reason": (~ok).astype(np.uint8), "quality": quality}
    shop = _workshop(path)
    create_images(shop.store, len(images), images.shape[1])
    tasks = plan_tasks(len(images))
    for task in [tasks[shard] for shard in order] or tasks:
        write_images(shop.store, task, images[task.start : task.stop])
    set_attributes(shop.store, {"frame": asdict(WIDE.at(images.shape[1]))})
    failures = {"no_face": int((~ok).sum())}
    passport = replace(passport, num_ok=int(ok.sum()), failures=failures)
    _finish(shop, tasks, columns, passport)
    return FaceStore.open(path)


def toy_teacher(
    path: Path,
    embeddings: np.ndarray,
    *,
    faces_root: str = "ef" * 32,
    passport: Passport = PASSPORT,
) -> TeacherStore:
    """A sealed teacher store of (face, view, width) embeddings."""
    shop = _workshop(path)
    rows = embeddings.astype(np.float16)
    columns = {"embeddings": rows, "norms": np.linalg.norm(embeddings, axis=2).astype(np.float32)}
    mean, spread = centre_and_spread([rows])
    set_attributes(shop.store, {"mean": mean.tolist(), "spread": spread})
    passport = replace(passport, kind="teacher", faces_root=faces_root, num_ok=len(rows))
    _finish(shop, plan_tasks(len(rows)), columns, passport)
    return TeacherStore.open(path)


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
    """A round of random pictures and embeddings where stages look for it, below the current
    folder: manifest, face store and teacher store `toy`; a share of its faces has failed."""
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
    faces = toy_faces(layout.faces(name), images, ok=ok, passport=passport)
    path = layout.teacher(name, "toy")
    return faces, toy_teacher(path, embeddings, faces_root=faces.root, passport=passport)


def _workshop(path: Path) -> Workshop:
    shop = Workshop(path.parent / f".work-{path.name}" / "only", path)
    shutil.rmtree(shop.work, ignore_errors=True)
    shop.work.mkdir(parents=True)
    create_store(shop.store)
    return shop


def _finish(
    shop: Workshop, tasks: list[Task], columns: dict[str, np.ndarray], passport: Passport
) -> None:
    lines = []
    for task in tasks:
        rows = slice(task.start, task.stop)
        write_piece(shop.work, task, {name: column[rows] for name, column in columns.items()})
        count = task.stop - task.start
        lines.append(LedgerLine(task.shard, "0" * 16, {}, count, count, {}))
    layout = [Column(name, str(c.dtype), c.shape[1:]) for name, c in columns.items()]
    assemble(shop.store, shop.work, tasks, layout)
    seal(shop, lines, replace(passport, num_rows=sum(line.num_rows for line in lines)))
