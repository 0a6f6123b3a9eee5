"""Stage render: a round's manifest -> data/ROUND/faces.zarr.

    python -m pipeline.render ROUND [--workers N | --scheduler ADDRESS]

Every row is rendered by the generator, detected (unless the generator declares a frame) and
cut to the stored frame. A face that is not found keeps its row, with ok=False and a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
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
    write_attributes,
    write_images,
    write_metadata,
    write_piece,
)
from manifests.costs import timed
from manifests.errors import InputError, Parser, run_command
from manifests.latents import FOLDER, LatentManifest
from manifests.ledger import LedgerLine
from manifests.params import Params, Render, load_params
from manifests.passport import Fingerprint, Passport
from manifests.rounds import read_manifest
from manifests.stores import CHUNK_ROWS
from pipeline.align import LANDMARK_SCHEME, alignment_identity, load_aligner
from pipeline.crews import Crew, add_options, crew_of
from pipeline.faces import COLUMNS, Detector, Faces, count, pictures_of, render_faces
from pipeline.frames import WIDE
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.numerics import device_of, numerics, require_numerics
from pipeline.shards import Build, Job, Making, Workshop, open_workshop, relink, run_tasks, seal

VERSION = 1  # raise it when the same inputs would give other faces


@dataclass(frozen=True)
class Rendering(Making):
    """A round's faces before they are made: all that they depend on."""

    name: str
    manifest: LatentManifest
    generator: Generator
    made_by: Fingerprint
    params: Params

    @property
    def build(self) -> Build:
        inputs = {"version": VERSION, "manifest": self.manifest.digest, **asdict(self.made_by)}
        inputs["shard_rows"] = self.params.render.shard_rows
        return Build(f"render-{self.name}", inputs, layout.faces(self.name))

    @property
    def source(self) -> str:
        return self.manifest.digest

    @property
    def task_rows(self) -> int:
        return self.params.render.shard_rows

    @property
    def num_rows(self) -> int:
        return len(self.manifest)

    @property
    def columns(self) -> Sequence[Column]:
        return COLUMNS

    @property
    def pictures(self) -> Column:
        return pictures_of(self.params.render.frame_size)

    def count(self, columns: Mapping[str, np.ndarray]) -> tuple[int, int, dict[str, int]]:
        return count(columns)

    def finish(self, shop: Workshop, crew: Crew) -> Passport:
        with timed(f"render@{self.name}", rows=None if shop.begun else self.num_rows):
            return build_faces(shop, self, self.job(shop.work), crew)

    def job(self, work: Path) -> RenderJob:
        return RenderJob(
            work=work,
            manifest=layout.manifest(self.name),
            manifest_digest=self.manifest.digest,
            weights=layout.WEIGHTS,
            generator=self.params.generator,
            render=self.params.render,
            device=self.params.device,
            numerics=tuple(self.made_by.numerics.items()),
            input_hash=work.name,
        )


def open_rendering(name: str, params: Params) -> Rendering:
    """Reads the manifest and the generator, which must fit each other."""
    check_shard_rows(params.render)
    manifest = read_manifest(name)
    recipe = manifest.recipe
    if recipe.generator == FOLDER:
        raise InputError(
            f"round {name}: imported from images, which nothing renders; `python -m "
            "pipeline.adopt` with the same images makes the same bytes"
        )
    generator = load_generator(params.generator, layout.WEIGHTS)
    if (generator.name, generator.weights_sha256) == (recipe.generator, recipe.generator_sha256):
        generator = generator.settled(recipe.latent_space, recipe.psi)
    manifest.require(
        generator=generator.name,
        sha256=generator.weights_sha256,
        latent_width=generator.latent_width,
        space=generator.latent_space,
    )
    made_by = fingerprint(generator, params.render, params.device)
    return Rendering(name, manifest, generator, made_by, params)


def check_shard_rows(settings: Render) -> None:
    """A shard is whole chunks."""
    if settings.shard_rows % CHUNK_ROWS:
        raise InputError(
            f"params.yaml: render: shard_rows: {settings.shard_rows}, expected a multiple "
            f"of {CHUNK_ROWS}"
        )


@dataclass(frozen=True)
class RenderJob:
    """Renders one shard; travels to worker processes, where it loads its own backends."""

    work: Path
    manifest: Path
    manifest_digest: str
    weights: Path
    generator: str
    render: Render
    device: str
    numerics: tuple[tuple[str, Any], ...]  # which every worker must compute with
    input_hash: str

    def __call__(self, task: Task) -> LedgerLine:
        return self.record(task, self.faces(np.arange(task.start, task.stop)))

    def faces(self, rows: np.ndarray, *, first_attempt: int = 0) -> Faces:
        """These rows of the manifest, rendered; detections before `first_attempt` are passed
        over."""
        generator, detectors, manifest = _tools(self)
        latents = np.array(manifest.latents[rows])
        frame = WIDE.at(self.render.frame_size)
        batches = list(render_faces(generator, detectors[first_attempt:], latents, frame))
        return Faces(
            *(np.concatenate([getattr(b, field.name) for b in batches]) for field in fields(Faces))
        )

    def record(self, task: Task, faces: Faces) -> LedgerLine:
        """Writes a shard's files."""
        columns = {column.name: getattr(faces, column.name) for column in COLUMNS}
        shard, sha256 = write_images(
            self.work / "store", task, faces.images, self.render.shard_rows
        )
        piece, piece_sha256 = write_piece(self.work, task, columns)
        hashes = {f"store/{shard}": sha256, piece: piece_sha256}
        return LedgerLine(task.shard, self.input_hash, hashes, *count(columns))


@lru_cache(maxsize=1)
def _tools(job: RenderJob) -> tuple[Generator, list[Detector], LatentManifest]:
    require_numerics(dict(job.numerics), numerics_of(job.device))
    manifest = LatentManifest.read(job.manifest, expect=job.manifest_digest)
    generator = load_generator(job.generator, job.weights)
    generator = generator.settled(manifest.recipe.latent_space, manifest.recipe.psi)
    generator.to(device_of(job.device))
    detectors = [
        Detector(load_aligner(job.weights, attempt.detect_threshold), attempt.detect_size)
        for attempt in job.render.detections
    ]
    return generator, detectors, manifest


def main() -> None:
    parser = Parser(description="Render a round's faces.")
    parser.add_argument("round", help="name of a round under manifests/rounds/")
    add_options(parser)
    args = parser.parse_args()
    render_round(args.round, load_params(), crew=crew_of(args))


def render_round(name: str, params: Params, *, crew: Crew) -> None:
    """Builds, resumes or relinks the face store of round `name`."""
    rendering = open_rendering(name, params)
    with open_workshop(rendering.build) as shop:
        if not shop.finished:
            rendering.finish(shop, crew)
        relink(shop)


def build_faces(shop: Workshop, rendering: Rendering, job: Job, crew: Crew) -> Passport:
    """Does what is left to do of a face store, and seals it."""
    frame = asdict(WIDE.at(rendering.params.render.frame_size))
    tasks, task_rows, num_rows = rendering.tasks, rendering.task_rows, rendering.num_rows
    lines = run_tasks(shop, tasks, job, crew=crew, title=f"render {rendering.name}")
    others = write_metadata(shop.store, rendering.pictures, num_rows, task_rows, images=True)
    others |= assemble(shop.store, shop.work, tasks, COLUMNS, task_rows)
    attributes = {"frame": frame, "landmark_scheme": LANDMARK_SCHEME}
    others |= write_attributes(shop.store, attributes)
    return seal(shop, lines, others, _passport(rendering, lines))


def fingerprint(generator: Generator, settings: Render, device: str) -> Fingerprint:
    """What the faces of a store depend on beside their manifest."""
    identity: dict[str, Any] = {"stored_frame": asdict(WIDE.at(settings.frame_size))}
    if generator.frame is None:
        identity["alignment"] = alignment_identity(layout.WEIGHTS) | {
            "detect_size": settings.detect_size,
            "detect_threshold": settings.detect_threshold,
        }
        if settings.retries:
            identity["alignment"]["retries"] = [asdict(attempt) for attempt in settings.retries]
    return Fingerprint(generator.identity() | identity, numerics_of(device))


def numerics_of(device: str) -> dict[str, Any]:
    return numerics(device) | {"dlib": dlib.__version__}


def _passport(rendering: Rendering, lines: Sequence[LedgerLine]) -> Passport:
    failures: Counter[str] = Counter()
    for line in lines:
        failures.update(line.failures)
    manifest, generator = rendering.manifest, rendering.generator
    return Passport(
        kind="faces",
        round=manifest.recipe.round,
        num_rows=len(manifest),
        shard_rows=rendering.task_rows,
        num_ok=sum(line.num_ok for line in lines),
        failures=dict(failures),
        merkle_root="",  # sealing fills it in
        manifest_digest=manifest.digest,
        faces_root=None,
        fingerprint=rendering.made_by,
        lineage={"generator": asdict(manifest.recipe)},
        licences={generator.name: generator.licence},
    )


if __name__ == "__main__":
    from pipeline.render import main as command  # workers know the job by this module's name

    run_command(command)
