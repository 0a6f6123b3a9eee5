"""Stage render: a round's manifest -> data/ROUND/faces.zarr.

    python -m pipeline.render ROUND [--workers N]

Every row is rendered by the generator, detected (unless the generator declares a frame) and
cut to the stored frame. A face that is not found keeps its row, with ok=False and a reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from manifests import layout
from manifests.building import (
    Column,
    Task,
    assemble,
    plan_tasks,
    write_attributes,
    write_images,
    write_metadata,
    write_piece,
)
from manifests.costs import timed
from manifests.errors import InputError, Parser, run_command
from manifests.latents import LatentManifest
from manifests.ledger import LedgerLine
from manifests.params import Params, Render, load_params
from manifests.passport import Fingerprint, Passport
from manifests.rounds import read_manifest
from manifests.stores import CHUNK_ROWS, OK, REASONS
from pipeline.align import (
    LANDMARK_SCHEME,
    Aligner,
    alignment_identity,
    load_aligner,
)
from pipeline.crews import Crew, add_options, crew_of
from pipeline.faces import COLUMNS, Faces, render_faces
from pipeline.frames import WIDE
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.numerics import device_of, numerics, require_numerics
from pipeline.shards import Workshop, open_workshop, relink, run_tasks, seal

VERSION = 1  # raise it when the same inputs would give other faces


@dataclass(frozen=True)
class RenderJob:
    """Renders one shard; travels to worker processes, where it loads its own backends."""

    work: Path
    manifest: Path
    manifest_digest: str
    weights: Path
    generator: str
    frame_size: int
    detect_size: int
    detect_threshold: float
    shard_rows: int
    device: str
    numerics: tuple[tuple[str, Any], ...]  # which every worker must compute with
    input_hash: str

    def __call__(self, task: Task) -> LedgerLine:
        generator, aligner, manifest = _tools(self)
        latents = np.array(manifest.latents[task.start : task.stop])
        frame = WIDE.at(self.frame_size)
        batches = render_faces(generator, aligner, latents, frame, detect_size=self.detect_size)
        return self._record(task, list(batches))

    def _record(self, task: Task, batches: list[Faces]) -> LedgerLine:
        columns = {
            column.name: np.concatenate([getattr(batch, column.name) for batch in batches])
            for column in COLUMNS
        }
        images = np.concatenate([batch.images for batch in batches])
        shard, sha256 = write_images(self.work / "store", task, images, self.shard_rows)
        piece, piece_sha256 = write_piece(self.work, task, columns)
        hashes = {f"store/{shard}": sha256, piece: piece_sha256}
        failures = Counter(REASONS[int(code)] for code in columns["reason"] if code != OK)
        num_ok = int(columns["ok"].sum())
        rows = task.stop - task.start
        return LedgerLine(task.shard, self.input_hash, hashes, rows, num_ok, dict(failures))


@lru_cache(maxsize=1)
def _tools(job: RenderJob) -> tuple[Generator, Aligner, LatentManifest]:
    require_numerics(dict(job.numerics), numerics_of(job.device))
    generator = load_generator(job.generator, job.weights)
    generator.to(device_of(job.device))
    manifest = LatentManifest.read(job.manifest, expect=job.manifest_digest)
    return generator, load_aligner(job.weights, job.detect_threshold), manifest


def main() -> None:
    parser = Parser(description="Render a round's faces.")
    parser.add_argument("round", help="name of a round under manifests/rounds/")
    add_options(parser)
    args = parser.parse_args()
    render_round(args.round, load_params(), crew=crew_of(args))


def render_round(name: str, params: Params, *, crew: Crew) -> None:
    """Builds, resumes or relinks the face store of round `name`."""
    manifest = read_manifest(name)
    generator = load_generator(params.generator, layout.WEIGHTS)
    manifest.require(
        generator=generator.name,
        sha256=generator.weights_sha256,
        latent_width=generator.latent_width,
        space=generator.latent_space,
    )
    made_by = fingerprint(generator, params.render, params.device)
    inputs = {"version": VERSION, "manifest": manifest.digest, **asdict(made_by)}
    inputs["shard_rows"] = params.render.shard_rows
    with open_workshop(f"render-{name}", inputs, layout.faces(name)) as shop:
        if shop.finished:
            relink(shop)
            return
        job = _job(shop, name, manifest, made_by, params)
        with timed(f"render@{name}", rows=len(manifest)):
            lines, others = _build(shop, manifest, job, crew)
            seal(shop, lines, others, _passport(manifest, generator, made_by, lines))


def _job(
    shop: Workshop, name: str, manifest: LatentManifest, made_by: Fingerprint, params: Params
) -> RenderJob:
    if params.render.shard_rows % CHUNK_ROWS:
        raise InputError(
            f"params.yaml: render: shard_rows {params.render.shard_rows}, expected a multiple "
            f"of {CHUNK_ROWS}"
        )
    return RenderJob(
        work=shop.work,
        manifest=layout.manifest(name),
        manifest_digest=manifest.digest,
        weights=layout.WEIGHTS,
        generator=params.generator,
        frame_size=params.render.frame_size,
        detect_size=params.render.detect_size,
        detect_threshold=params.render.detect_threshold,
        shard_rows=params.render.shard_rows,
        device=params.device,
        numerics=tuple(made_by.numerics.items()),
        input_hash=shop.work.name,
    )


def fingerprint(generator: Generator, settings: Render, device: str) -> Fingerprint:
    """What the faces of a store depend on beside their manifest."""
    identity: dict[str, Any] = {"stored_frame": asdict(WIDE.at(settings.frame_size))}
    if generator.frame is None:
        identity["alignment"] = alignment_identity(layout.WEIGHTS) | {
            "detect_size": settings.detect_size,
            "detect_threshold": settings.detect_threshold,
        }
    return Fingerprint(generator.identity() | identity, numerics_of(device))


def numerics_of(device: str) -> dict[str, Any]:
    return numerics(device) | {"dlib": dlib.__version__}


def _build(
    shop: Workshop, manifest: LatentManifest, job: RenderJob, crew: Crew
) -> tuple[list[LedgerLine], dict[str, str]]:
    """Ledger lines of all shards, and {relative path: sha256} of the store's other files."""
    rows, size = job.shard_rows, job.frame_size
    tasks = plan_tasks(len(manifest), rows)
    title = f"render {manifest.recipe.round}"
    lines = run_tasks(shop, tasks, job, crew=crew, title=title)
    pictures = Column("images", "uint8", (size, size, 3))
    others = write_metadata(shop.store, pictures, len(manifest), rows, images=True)
    others |= assemble(shop.store, shop.work, tasks, COLUMNS, rows)
    frame = asdict(WIDE.at(size))
    others |= write_attributes(shop.store, {"frame": frame, "landmark_scheme": LANDMARK_SCHEME})
    return lines, others


def _passport(
    manifest: LatentManifest, generator: Generator, made_by: Fingerprint, lines: list[LedgerLine]
) -> Passport:
    failures: Counter[str] = Counter()
    for line in lines:
        failures.update(line.failures)
    return Passport(
        kind="faces",
        round=manifest.recipe.round,
        num_rows=len(manifest),
        num_ok=sum(line.num_ok for line in lines),
        failures=dict(failures),
        merkle_root="",  # sealing fills it in
        manifest_digest=manifest.digest,
        faces_root=None,
        fingerprint=made_by,
        lineage={"generator": asdict(manifest.recipe)},
        licences={generator.name: generator.licence},
    )


if __name__ == "__main__":
    from pipeline.render import main as command  # workers know the job by this module's name

    run_command(command)
