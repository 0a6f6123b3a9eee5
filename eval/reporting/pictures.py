"""Which synthetic faces the report shows, and the strips made of them. Nothing is hand-picked:
faces come at even spacing from all that are usable."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from eval.reporting.curves import RegionGap
from eval.reporting.style import data_uri
from manifests.records.boundaries import Boundaries
from manifests.records.gaps import GapTable
from manifests.stores.latents import DISSIMILAR, SIMILAR, LatentManifest
from manifests.stores.reading import CHUNK_ROWS, FaceStore
from manifests.stores.rounds import RoundFiles

NUM_BOUNDARIES, FACES_A_SIDE = 5, 6
NUM_REGIONS, FACES_A_REGION = 4, 10
NUM_MINED = 12
SIDES = (SIMILAR, DISSIMILAR)
GUTTER = 4  # clear pixels between the faces of a strip


@dataclass(frozen=True)
class IdentityRow:
    """A kept boundary: images (data URIs) of its reference and of its two identities."""

    accuracy: float
    reference: str
    similar: str
    dissimilar: str


@dataclass(frozen=True)
class RegionRow:
    region: RegionGap
    image: str


@dataclass(frozen=True)
class MinedPair:
    """Parent and child side by side, their gaps by the student that was mined for, and how."""

    image: str
    parent_gap: float
    child_gap: float
    law: str
    step: float


def showable(files: RoundFiles) -> LatentManifest | None:
    """A round's manifest if a generator made all of its faces: photographs are never shown."""
    return None if files.num_imported else files.manifest


def spread(rows: Int[np.ndarray, " row"], count: int) -> Int[np.ndarray, " chosen"]:
    """At most `count` of the rows, evenly spaced from the first to the last."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows)))
    return rows[places.round().astype(np.int64)]


def read_faces(
    faces: FaceStore, rows: Int[np.ndarray, " face"]
) -> UInt8[np.ndarray, "face size size 3"]:
    """Scattered rows of a store, in the given order; each chunk is read once."""
    found = np.empty((len(rows), *faces.images(0, 0).shape[1:]), np.uint8)
    for chunk in np.unique(rows // CHUNK_ROWS):
        inside = rows // CHUNK_ROWS == chunk
        start = int(chunk) * CHUNK_ROWS
        block = faces.images(start, min(start + CHUNK_ROWS, len(faces)))
        found[inside] = block[rows[inside] - start]
    return found


def strip(faces: UInt8[np.ndarray, "face size size 3"], slots: int) -> str:
    """Faces side by side on nothing, as the address of a WebP; places that no face fills stay
    empty."""
    size = faces.shape[1]
    canvas = np.zeros((size, slots * (size + GUTTER) - GUTTER, 4), np.uint8)
    for place, face in enumerate(faces[:slots]):
        left = place * (size + GUTTER)
        canvas[:, left : left + size, :3] = face
        canvas[:, left : left + size, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, "WEBP", quality=90)
    return data_uri(buffer.getvalue())


def face_strip(faces: FaceStore, rows: Int[np.ndarray, " face"], slots: int) -> str:
    return strip(read_faces(faces, rows), slots)


def row_of(manifest: LatentManifest, face_id: Int[np.ndarray, " face"]) -> np.ndarray:
    """The rows of faces that a manifest is known to hold."""
    return np.searchsorted(manifest.face_id, face_id)


def sides_of(
    manifest: LatentManifest, ok: Bool[np.ndarray, " face"], reference: int
) -> list[np.ndarray]:
    """Rows of the usable faces on a boundary's similar and dissimilar side."""
    parent, side = manifest.table["parent_id"].to_numpy(), manifest.column("side")
    return [np.flatnonzero(ok & (parent == reference) & (side == value)) for value in SIDES]


def identity_rows(
    identities: RoundFiles, pool: RoundFiles, boundaries: Boundaries
) -> list[IdentityRow]:
    """Kept boundaries at even spacing, of those with usable faces on both sides."""
    manifest, references = showable(identities), showable(pool)
    if manifest is None or references is None:
        return []
    ok = identities.faces.ok()
    kept = np.flatnonzero(boundaries.kept)
    sides = {int(at): sides_of(manifest, ok, int(boundaries.face_id[at])) for at in kept}
    shown = np.array([at for at, rows in sides.items() if all(map(len, rows))], np.int64)
    found = []
    for at in spread(shown, NUM_BOUNDARIES).tolist():
        reference = row_of(references, boundaries.face_id[at : at + 1])
        similar, dissimilar = (
            face_strip(identities.faces, rows[:FACES_A_SIDE], FACES_A_SIDE) for rows in sides[at]
        )
        image = face_strip(pool.faces, reference, 1)
        found.append(IdentityRow(float(boundaries.accuracy[at]), image, similar, dissimilar))
    return found


def region_rows(
    regions: Sequence[RegionGap], table: GapTable, probe: RoundFiles
) -> list[RegionRow]:
    """Strips of the probe's faces in the first regions; `table` says who lies where."""
    manifest = showable(probe)
    if manifest is None:
        return []
    found = []
    for region in regions[:NUM_REGIONS]:
        inside = np.sort(table.face_id[table.region == region.region])
        rows = spread(row_of(manifest, inside), FACES_A_REGION)
        found.append(RegionRow(region, face_strip(probe.faces, rows, FACES_A_REGION)))
    return found


def mined_pairs(
    mined: RoundFiles, pool: RoundFiles, before: GapTable, after: GapTable
) -> list[MinedPair]:
    """Usable children beside their parents, from the smallest parent's gap to the largest;
    `before` has the gaps of the pool, `after` those of the children."""
    manifest, parents_of = showable(mined), showable(pool)
    if manifest is None or parents_of is None:
        return []
    parent_id = manifest.table["parent_id"]
    usable = np.flatnonzero(mined.faces.ok() & np.asarray(parent_id.is_valid()))
    ids = parent_id.fill_null(0).to_numpy()
    gaps = gap_of(before, ids[usable])
    order = spread(np.argsort(gaps, kind="stable"), NUM_MINED)
    children = usable[order]
    pictures = zip(
        read_faces(pool.faces, row_of(parents_of, ids[children])),
        read_faces(mined.faces, children),
        strict=True,
    )
    facts = zip(
        gaps[order].tolist(),
        gap_of(after, manifest.face_id[children]).tolist(),
        manifest.table["law"].take(children).to_pylist(),
        manifest.column("step")[children].tolist(),
        strict=True,
    )
    return [
        MinedPair(strip(np.stack(pair), 2), *row) for pair, row in zip(pictures, facts, strict=True)
    ]


def gap_of(table: GapTable, face_id: Int[np.ndarray, " face"]) -> Float[np.ndarray, " face"]:
    """Mean gap of both views of the faces with these ids, which the table must hold."""
    rows = np.searchsorted(table.face_id, face_id)
    return (table.gap[rows].astype(np.float64) + table.flip_gap[rows]) / 2
