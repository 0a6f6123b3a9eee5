"""Faces that are made while a student learns from them, by the stages' own parts: rendered, found,
cut to the stored frame and embedded, and kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, UInt8

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import Detection, Params
from pipeline.aligners.base import Aligner
from pipeline.arrays.frames import WIDE, Frame
from pipeline.arrays.numerics import BATCH, device_of
from pipeline.building.embeddings import embed_faces
from pipeline.building.faces import render_faces
from pipeline.generators.base import Generator
from pipeline.render import aligner_for
from pipeline.sample import open_generator, prior_of
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher, in_precision

MOST_BARREN = 64  # chunks of draws in a row without a face, after which none is waited for


@dataclass(frozen=True)
class Made:
    """Usable faces, a row each."""

    latents: Float[np.ndarray, "face width"]
    images: UInt8[np.ndarray, "face stored stored 3"]
    targets: Float[np.ndarray, "face view embedding"]  # raw, float32

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> Made:
        return Made(*(getattr(self, own.name)[start:stop] for own in fields(self)))


def joined(parts: Sequence[Made]) -> Made:
    columns = ([getattr(part, own.name) for part in parts] for own in fields(Made))
    return Made(*map(np.concatenate, columns))


@dataclass(frozen=True)
class Studio:
    """All that makes faces, and says what they are taught as."""

    generator: Generator
    aligner: Aligner | None  # None: the generator's pictures are aligned
    attempts: Sequence[Detection]
    teacher: Teacher
    frame: Frame  # of the crops
    mirrored: bool  # whether the teacher sees each face mirrored as well

    def make(self, latents: Float[np.ndarray, "face width"]) -> Made:
        """The faces of latents, in their order; pictures in which none is found are passed over."""
        found = list(render_faces(self.generator, self.aligner, self.attempts, latents, self.frame))
        ok = np.concatenate([faces.ok for faces in found])
        images = np.concatenate([faces.images[faces.ok] for faces in found])
        targets = embed_faces(self.teacher, images, self.frame, mirrored=self.mirrored)
        return Made(latents[ok], images, targets)

    def draw(self, seed: Sequence[int]) -> Float[np.ndarray, "face width"]:
        """A chunk of the prior, in the generator's space."""
        latents = prior_of(self.generator)(np.random.default_rng(seed), BATCH)
        return latents.astype(np.float32)


def open_studio(params: Params, *, mirrored: bool) -> Studio:
    """The generator, aligner and teacher of params.yaml, on its device."""
    generator = open_generator(params)
    aligner = aligner_for(generator, params.aligner, layout.WEIGHTS)
    teacher = load_teacher(params.teacher_text(params.teacher), layout.WEIGHTS)
    teacher = in_precision(teacher, params.embed.precision, params.device)
    for backend in filter(None, (generator, aligner, teacher)):
        backend.to(device_of(params.device))
    frame = WIDE.at(params.render.frame_size)
    return Studio(generator, aligner, params.render.detections, teacher, frame, mirrored)


class FreshFaces:
    """The usable faces of an endless row of draws, in their order: a function of `seed` alone.
    It can begin at any `place`: a chunk of draws, and how many of its faces were taken."""

    def __init__(self, studio: Studio, seed: Sequence[int], chunk: int = 0, taken: int = 0) -> None:
        self.studio, self.seed = studio, seed
        self.chunk, self.taken = chunk, taken
        self._faces: Made | None = None  # of this chunk, once they are made

    @property
    def place(self) -> tuple[int, int]:
        return self.chunk, self.taken

    def take(self, count: int) -> Made:
        """The next `count` faces. Raises InputError where the generator shows none."""
        parts: list[Made] = []
        last = self.chunk
        while count:
            if self._faces is None:
                self._faces = self.studio.make(self.studio.draw((*self.seed, self.chunk)))
            part = self._faces.part(self.taken, self.taken + count)
            parts.append(part)
            count, self.taken = count - len(part), self.taken + len(part)
            last = self.chunk if len(part) else last
            if self.taken == len(self._faces):
                self.chunk, self.taken, self._faces = self.chunk + 1, 0, None
            if self.chunk - last > MOST_BARREN:
                raise InputError(
                    f"generator {self.studio.generator.name}: no face was found in "
                    f"{MOST_BARREN * BATCH} of its pictures; lower render.detect_threshold, or "
                    "declare a frame where they are aligned (docs/GENERATORS.md)"
                )
        return joined(parts)
