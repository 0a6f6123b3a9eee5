"""Render a round's faces into data/ROUND/faces.zarr.

    facestill render ROUND [--workers N | --scheduler ADDRESS]

Every row is rendered by the generator, detected (unless the generator declares a frame) and
cut to the stored frame. A face that is not found keeps its row, with ok=False and a reason.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.settings.params import Params, Render, load_params
from manifests.stores.latents import FOLDER, LatentManifest
from manifests.stores.passport import Fingerprint, Passport
from manifests.stores.rounds import read_manifest
from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner
from pipeline.arrays.frames import WIDE
from pipeline.arrays.landmarks import ARCFACE5
from pipeline.arrays.numerics import device_of, numerics
from pipeline.building.faces import Faces, check_shard_rows, face_build, render_faces
from pipeline.building.meeting import require_made_by
from pipeline.building.shards import Arrays, Build, build, scratch_folder
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.generators import load_generator
from pipeline.generators.base import Generator

VERSION = 3  # raise it when the same inputs would give other faces, or other bytes of them


def render_round(name: str, params: Params, *, workers: Workers) -> Passport:
    """Builds, resumes or relinks the face store of round `name`."""
    return build(open_rendering(name, params), workers)


def open_rendering(name: str, params: Params) -> Build:
    """A round's faces before they are rendered. Raises InputError if they cannot be."""
    check_shard_rows(params.render)
    manifest = read_manifest(name)
    generator = open_generator(name, manifest, params)
    aligner = aligner_for(generator, params.aligner, layout.WEIGHTS)
    made_by = fingerprint(generator, aligner, params.render, params.device)
    inputs = {"version": VERSION, "manifest": manifest.digest, **asdict(made_by)}
    inputs["shard_rows"] = params.render.shard_rows
    work = scratch_folder(f"render-{name}", inputs)
    job = RenderJob(
        manifest=layout.manifest(name),
        manifest_digest=manifest.digest,
        weights=layout.WEIGHTS,
        generator=params.generator,
        aligner=params.aligner,
        render=params.render,
        device=params.device,
        made_by=made_by.text,
        input_hash=work.name,
    )
    return face_build(
        manifest,
        made_by,
        job,
        params.render,
        scheme=aligner.scheme if aligner else ARCFACE5,
        verb="render",
        name=name,
        work=work,
        licences={generator.name: generator.licence} | (aligner.licences() if aligner else {}),
    )


def open_generator(name: str, manifest: LatentManifest, params: Params) -> Generator:
    """The generator of params.yaml, which must be the one of the round's latents."""
    recipe = manifest.recipe
    if recipe.generator == FOLDER:
        raise InputError(
            f"round {name}: imported from images, which nothing renders; "
            "`facestill adopt` with the same images makes the same bytes"
        )
    generator = load_generator(params.generator, layout.WEIGHTS)
    if (generator.name, generator.weights_sha256) == (recipe.generator, recipe.generator_sha256):
        generator = generator.in_space(recipe.latent_space, recipe.psi)
    manifest.require(
        generator=generator.name,
        sha256=generator.weights_sha256,
        latent_width=generator.latent_width,
        space=generator.latent_space,
    )
    return generator


@dataclass(frozen=True)
class RenderJob:
    """Renders rows of a manifest; travels to worker processes, where it loads its own backends."""

    manifest: Path
    manifest_digest: str
    weights: Path
    generator: str
    aligner: str
    render: Render
    device: str
    made_by: str  # as every worker must find it where it works
    input_hash: str  # a worker that lives on must not take those of another build for these

    def __call__(self, rows: np.ndarray) -> Arrays:
        return vars(self.faces(rows))

    def faces(self, rows: np.ndarray, *, first_attempt: int = 0) -> Faces:
        """Detections before `first_attempt` are passed over."""
        generator, aligner, manifest = _tools(self)
        attempts = self.render.detections[first_attempt:]
        latents = np.array(manifest.latents[rows])
        frame = WIDE.at(self.render.frame_size)
        batches = list(render_faces(generator, aligner, attempts, latents, frame))
        return Faces(
            *(np.concatenate([getattr(b, field.name) for b in batches]) for field in fields(Faces))
        )


@lru_cache(maxsize=1)
def _tools(job: RenderJob) -> tuple[Generator, Aligner | None, LatentManifest]:
    manifest = LatentManifest.read(job.manifest, expect=job.manifest_digest)
    generator = load_generator(job.generator, job.weights)
    generator = generator.in_space(manifest.recipe.latent_space, manifest.recipe.psi)
    aligner = aligner_for(generator, job.aligner, job.weights)
    require_made_by(job.made_by, fingerprint(generator, aligner, job.render, job.device))
    generator.to(device_of(job.device))
    if aligner is not None:
        aligner.to(device_of(job.device))
    return generator, aligner, manifest


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="a round with a manifest")
    add_options(parser)
    args = parser.parse_args()
    passport = render_round(args.round, load_params(), workers=workers_of(args))
    if passport.num_rows and not passport.num_ok:
        raise InputError(
            f"{layout.faces(args.round)}: {passport.found}; look at pictures of the generator: are "
            "there faces, and where? Its frame, or aligner and render: detect_size say it "
            "(docs/GENERATORS.md)"
        )
    conclude(layout.faces(args.round), passport.found, f"facestill embed {args.round}")


def aligner_for(generator: Generator, name: str, weights: Path) -> Aligner | None:
    """The aligner, where the generator does not say itself where its faces lie."""
    return load_aligner(name, weights) if generator.frame is None else None


def fingerprint(
    generator: Generator, aligner: Aligner | None, settings: Render, device: str
) -> Fingerprint:
    """What the faces of a store depend on beside their manifest."""
    identity: dict[str, Any] = {"stored_frame": asdict(WIDE.at(settings.frame_size))}
    if aligner is not None:
        identity["alignment"] = aligner.identity() | {
            "detect_size": settings.detect_size,
            "detect_threshold": settings.detect_threshold,
        }
        if settings.retries:
            identity["alignment"]["retries"] = [asdict(attempt) for attempt in settings.retries]
    here = numerics(device) | generator.numerics() | (aligner.numerics() if aligner else {})
    return Fingerprint(generator.identity() | identity, here)


if __name__ == "__main__":
    from pipeline.render import main as command  # workers know the job by this module's name

    run_command(command)
