"""From latents to stored faces: rendered, detected, cut to the stored frame; and the store that
they are built into, rendered or adopted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from manifests.building.writing import IMAGES, Column
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import Detection, Render
from manifests.stores.latents import LatentManifest
from manifests.stores.passport import Fingerprint, Provenance
from manifests.stores.reading import CHUNK_ROWS, NO_FACE, OK, REASONS, FaceStore
from pipeline.aligners.base import Aligner
from pipeline.arrays.align import Face, crop_to_frame
from pipeline.arrays.frames import WIDE, Frame, to_frame
from pipeline.arrays.landmarks import Scheme
from pipeline.arrays.numerics import BATCH, in_fixed_batches
from pipeline.building.shards import Build, Job
from pipeline.generators.base import Generator

COLUMNS = (
    Column("ok", "bool"),
    Column("reason", "uint8"),
    Column("landmarks", "float32", (5, 2)),
    Column("quality", "float32"),  # the detector's score; NaN where none was needed or found
)


def pictures_of(size: int) -> Column:
    """The array of stored faces of `size` pixels a side."""
    return Column(IMAGES, "uint8", (size, size, 3))


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


def render_faces(
    generator: Generator,
    aligner: Aligner | None,
    attempts: Sequence[Detection],
    latents: Float[np.ndarray, "face width"],
    frame: Frame,
) -> Iterator[Faces]:
    """Aligned faces for latents, a batch at a time, in their order. A picture in which one
    attempt finds no face is shown to the next."""
    for at in range(0, len(latents), BATCH):
        batch = torch.from_numpy(latents[at : at + BATCH])
        pictures = in_fixed_batches(generator.render, batch).cpu()
        if generator.frame is not None:
            yield _declared(pictures, generator.frame, frame)
        else:
            assert aligner is not None
            yield detected(aligner, attempts, pictures, frame)


def detected(
    aligner: Aligner,
    attempts: Sequence[Detection],
    pictures: Float[torch.Tensor, "batch 3 size size"],
    frame: Frame,
) -> Faces:
    """A batch of generated pictures, cut where one of the attempts finds a face."""
    faces = blank(len(pictures), frame)
    for attempt in attempts:
        left = np.flatnonzero(~faces.ok)
        if not len(left):
            break
        found = aligner.find_generated(
            pictures[left], size=attempt.detect_size, threshold=attempt.detect_threshold
        )
        _fill(faces, pictures, frame, dict(zip(left.tolist(), found, strict=True)))
    return faces


def _fill(
    faces: Faces, pictures: torch.Tensor, frame: Frame, found: Mapping[int, Face | None]
) -> None:
    """Cuts what was found, {row: face}, into its rows."""
    here = {row: face for row, face in found.items() if face is not None}
    if here:
        rows = list(here)
        crops, moved = crop_to_frame(pictures[rows], list(here.values()), frame)
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


def face_build(
    manifest: LatentManifest,
    made_by: Fingerprint,
    job: Job,
    settings: Render,
    *,
    scheme: Scheme,
    verb: str,
    name: str,
    work: Path,
    licences: Mapping[str, str],
) -> Build:
    """The store of a round's faces, whether they are rendered or adopted."""
    frame = WIDE.at(settings.frame_size)
    attributes = {"frame": asdict(frame), "landmark_scheme": scheme.name}
    provenance = Provenance(
        kind="faces",
        round=manifest.recipe.round,
        manifest_digest=manifest.digest,
        faces_root=None,
        fingerprint=made_by,
        lineage={"generator": asdict(manifest.recipe)},
        licences=licences,
        shard_rows=settings.shard_rows,
    )
    return Build(
        verb=verb,
        name=name,
        work=work,
        output=layout.faces(name),
        job=job,
        count=count,
        num_rows=len(manifest),
        num_faces=len(manifest),
        columns=COLUMNS,
        images=pictures_of(frame.size),
        attributes=lambda _: attributes,
        provenance=provenance,
    )


def check_shard_rows(settings: Render) -> None:
    """A shard is whole chunks."""
    if settings.shard_rows % CHUNK_ROWS:
        raise InputError(
            f"params.yaml: render: shard_rows: {settings.shard_rows}, expected a multiple "
            f"of {CHUNK_ROWS}"
        )


def read_faces(store: FaceStore, rows: np.ndarray) -> Faces:
    """Ascending rows of a store, as they were when they were rendered."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    images = store.images(first, last)[rows - first]
    return Faces(images, *(store.column(column.name)[rows] for column in COLUMNS))
