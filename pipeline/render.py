"""Stage render: a round's manifest -> data/ROUND/faces.zarr.

    facestill render ROUND [--workers N | --scheduler ADDRESS]

Every row is rendered by the generator, detected (unless the generator declares a frame) and
cut to the stored frame. A face that is not found keeps its row, with ok=False and a reason.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from manifests.building.ledger import LedgerLine
from manifests.building.writing import Task
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, run_command
from manifests.settings.params import Params, Render, load_params
from manifests.stores.latents import FOLDER, LatentManifest
from manifests.stores.passport import Fingerprint, Passport
from manifests.stores.rounds import read_manifest
from pipeline.arrays.align import alignment_identity, load_aligner
from pipeline.arrays.frames import WIDE
from pipeline.arrays.numerics import device_of, numerics, require_numerics
from pipeline.building.faces import (
    Detector,
    FaceMaking,
    Faces,
    build_faces,
    check_shard_rows,
    render_faces,
    write_faces,
)
from pipeline.building.shards import Build, Workshop, open_workshop, relink
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.generators import load_generator
from pipeline.generators.base import Generator

VERSION = 2  # raise it when the same inputs would give other faces, or other bytes of them


@dataclass(frozen=True)
class Rendering(FaceMaking):
    """A round's faces before they are rendered: all that they depend on."""

    verb = "render"

    generator: Generator

    @property
    def build(self) -> Build:
        inputs = {"version": VERSION, "manifest": self.manifest.digest, **asdict(self.made_by)}
        inputs["shard_rows"] = self.task_rows
        return Build(f"render-{self.name}", inputs, layout.faces(self.name))

    @property
    def licences(self) -> dict[str, str]:
        return {self.generator.name: self.generator.licence}

    def finish(self, shop: Workshop, workers: Workers) -> Passport:
        with timed(f"render@{self.name}", rows=None if shop.begun else self.num_rows):
            return build_faces(shop, self, self.job(shop.work), workers)

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
            f"round {name}: imported from images, which nothing renders; "
            "`facestill adopt` with the same images makes the same bytes"
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
    return Rendering(name, manifest, made_by, params, generator)


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
        return write_faces(self.work, task, faces, self.render.shard_rows, self.input_hash)


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
    render_round(args.round, load_params(), workers=workers_of(args))


def render_round(name: str, params: Params, *, workers: Workers) -> None:
    """Builds, resumes or relinks the face store of round `name`."""
    rendering = open_rendering(name, params)
    with open_workshop(rendering.build) as shop:
        if not shop.finished:
            rendering.finish(shop, workers)
        relink(shop)


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


if __name__ == "__main__":
    from pipeline.render import main as command  # workers know the job by this module's name

    run_command(command)
