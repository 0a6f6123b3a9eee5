"""From latents to stored faces: rendered, detected, cut to the stored frame; and a face store in
the making, what rendering one and adopting one have in common.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from manifests.building.ledger import LedgerLine
from manifests.building.writing import (
    Column,
    Task,
    assemble,
    write_attributes,
    write_images,
    write_metadata,
    write_piece,
)
from manifests.core.errors import InputError
from manifests.settings.params import Params, Render
from manifests.stores.latents import LatentManifest
from manifests.stores.passport import Fingerprint, Passport
from manifests.stores.reading import CHUNK_ROWS, NO_FACE, OK, REASONS
from pipeline.arrays.align import LANDMARK_SCHEME, Aligner, Face, crop_to_frame, find_faces
from pipeline.arrays.frames import WIDE, Frame, to_frame
from pipeline.arrays.numerics import BATCH, in_fixed_batches
from pipeline.building.shards import Job, Making, Workshop, run_tasks, seal
from pipeline.building.workers import Workers
from pipeline.generators.base import Generator

COLUMNS = (
    Column("ok", "bool"),
    Column("reason", "uint8"),
    Column("landmarks", "float32", (5, 2)),
    Column("quality", "float32"),  # the detector's score; NaN where none was needed or found
)


def pictures_of(size: int) -> Column:
    """The array of stored faces of `size` pixels a side."""
    return Column("images", "uint8", (size, size, 3))


@dataclass(frozen=True)
class Faces:
    """One task's rows, failed ones included (black, NaN landmarks)."""

    images: np.ndarray  # uint8 face size size 3
    ok: np.ndarray  # bool face
    reason: np.ndarray  # uint8 face, see manifests.stores.reading.REASONS
    landmarks: np.ndarray  # float32 face 5 2, in the stored crop
    quality: np.ndarray  # float32 face


def count(columns: Mapping[str, np.ndarray]) -> tuple[int, int, dict[str, int]]:
    """(rows, usable ones, failures by reason) of a shard's columns."""
    failures = Counter(REASONS[int(code)] for code in columns["reason"] if code != OK)
    return len(columns["ok"]), int(columns["ok"].sum()), dict(failures)


@dataclass(frozen=True)
class Detector:
    """A detector and the pixels that a picture is enlarged to for it."""

    aligner: Aligner
    size: int


def render_faces(
    generator: Generator,
    detectors: Sequence[Detector],
    latents: Float[np.ndarray, "face width"],
    frame: Frame,
) -> Iterator[Faces]:
    """Aligned faces for latents, a batch at a time, in their order. A picture in which one
    detector finds no face is shown to the next."""
    for at in range(0, len(latents), BATCH):
        batch = torch.from_numpy(latents[at : at + BATCH])
        pictures = in_fixed_batches(generator.render, batch).cpu()
        if generator.frame is not None:
            yield _declared(pictures, generator.frame, frame)
        else:
            yield _detected(detectors, pictures, frame)


def _detected(detectors: Sequence[Detector], pictures: torch.Tensor, frame: Frame) -> Faces:
    faces = blank(len(pictures), frame)
    for detector in detectors:
        left = np.flatnonzero(~faces.ok)
        found = find_faces(detector.aligner, pictures[left], detect_size=detector.size)
        _fill(faces, pictures, frame, dict(zip(left.tolist(), found, strict=True)))
    return faces


def _fill(
    faces: Faces, pictures: torch.Tensor, frame: Frame, found: Mapping[int, Face | None]
) -> None:
    """Cuts what was found, {row: face}, into its rows."""
    here = {row: face for row, face in found.items() if face is not None}
    if here:
        rows = list(here)
        points = np.stack([face.landmarks for face in here.values()])
        crops, moved = crop_to_frame(pictures[rows], points, frame)
        faces.images[rows] = crops.permute(0, 2, 3, 1).to(torch.uint8).numpy()
        faces.landmarks[rows] = moved
        faces.quality[rows] = [face.score for face in here.values()]
        faces.ok[rows], faces.reason[rows] = True, OK


def _declared(pictures: torch.Tensor, source: Frame, frame: Frame) -> Faces:
    faces = blank(len(pictures), frame)
    crops = to_frame(pictures, source, frame).clamp(0, 255).round()
    faces.images[:] = crops.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    faces.ok[:], faces.reason[:] = True, OK
    return faces


def blank(count: int, frame: Frame) -> Faces:
    """Rows without a face."""
    return Faces(
        np.zeros((count, frame.size, frame.size, 3), np.uint8),
        np.zeros(count, bool),
        np.full(count, NO_FACE, np.uint8),
        np.full((count, 5, 2), np.nan, np.float32),
        np.full(count, np.nan, np.float32),
    )


@dataclass(frozen=True)
class FaceMaking(Making):
    """A round's faces before they are made."""

    verb: ClassVar[str]  # what is done to make them

    name: str
    manifest: LatentManifest
    made_by: Fingerprint
    params: Params

    @property
    @abstractmethod
    def licences(self) -> Mapping[str, str]:
        """Of what the faces come from."""

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
    def frame(self) -> Frame:
        """That the faces are stored in."""
        return WIDE.at(self.params.render.frame_size)

    @property
    def columns(self) -> Sequence[Column]:
        return COLUMNS

    @property
    def pictures(self) -> Column:
        return pictures_of(self.params.render.frame_size)

    def count(self, columns: Mapping[str, np.ndarray]) -> tuple[int, int, dict[str, int]]:
        return count(columns)


def check_shard_rows(settings: Render) -> None:
    """A shard is whole chunks."""
    if settings.shard_rows % CHUNK_ROWS:
        raise InputError(
            f"params.yaml: render: shard_rows: {settings.shard_rows}, expected a multiple "
            f"of {CHUNK_ROWS}"
        )


def write_faces(
    work: Path, task: Task, faces: Faces, shard_rows: int, input_hash: str
) -> LedgerLine:
    """Writes a shard's files into a build's scratch folder."""
    columns = {column.name: getattr(faces, column.name) for column in COLUMNS}
    shard, sha256 = write_images(work / "store", task, faces.images, shard_rows)
    piece, piece_sha256 = write_piece(work, task, columns)
    hashes = {f"store/{shard}": sha256, piece: piece_sha256}
    return LedgerLine(task.shard, input_hash, hashes, *count(columns))


def build_faces(shop: Workshop, making: FaceMaking, job: Job, workers: Workers) -> Passport:
    """Does what is left to do of a face store, and seals it."""
    tasks, task_rows, num_rows = making.tasks, making.task_rows, making.num_rows
    lines = run_tasks(shop, tasks, job, workers=workers, title=f"{making.verb} {making.name}")
    others = write_metadata(shop.store, making.pictures, num_rows, task_rows, images=True)
    others |= assemble(shop.store, shop.work, tasks, COLUMNS, task_rows)
    attributes = {"frame": asdict(making.frame), "landmark_scheme": LANDMARK_SCHEME}
    others |= write_attributes(shop.store, attributes)
    return seal(shop, lines, others, _passport(making, lines))


def _passport(making: FaceMaking, lines: Sequence[LedgerLine]) -> Passport:
    failures: Counter[str] = Counter()
    for line in lines:
        failures.update(line.failures)
    recipe = making.manifest.recipe
    return Passport(
        kind="faces",
        round=recipe.round,
        num_rows=making.num_rows,
        shard_rows=making.task_rows,
        num_ok=sum(line.num_ok for line in lines),
        failures=dict(failures),
        merkle_root="",  # sealing fills it in
        manifest_digest=making.manifest.digest,
        faces_root=None,
        fingerprint=making.made_by,
        lineage={"generator": asdict(recipe)},
        licences=dict(making.licences),
    )
