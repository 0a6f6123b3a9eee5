"""Annotators, one file each, found by name; and what they measure of rounds and photographs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8

from eval.alignment import Alignment, alignment_by
from eval.annotators.base import ROWS, AlignedFaces, Annotator, EmbeddingAnnotator
from eval.attributes.head_files import require_teacher
from eval.photos.photo_sets import PhotographSet, found_faces, is_photographs, open_photographs
from manifests.core import layout
from manifests.core.backends import find_backend, split_kind
from manifests.core.errors import InputError
from manifests.core.progress import Bar
from manifests.records.attributes import FACES, PHOTOGRAPHS, AttributeTable, Source
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import CHUNK_ROWS, FaceStore
from manifests.stores.rounds import RoundFiles, open_faces, open_round
from pipeline.arrays.align import Face, crop_photograph
from pipeline.arrays.frames import Frame, between, to_frame
from pipeline.arrays.landmarks import DLIB5, SCHEMES, Scheme

READ_ROWS = 16 * CHUNK_ROWS


def load_annotator(text: str) -> Annotator:
    """The annotator that `text` names: measured, heads:PATH or onnx:PATH."""
    name, argument = split_kind(text)
    backend = find_backend(sys.modules[__name__], "annotator", name)
    annotator: Annotator = backend.load(argument)
    return annotator


def cut_to(
    images: UInt8[np.ndarray, "face stored stored 3"], source: Frame, frame: Frame
) -> UInt8[np.ndarray, "face size size 3"]:
    """Stored pictures in another frame: sliced where its pixels are theirs, else resampled."""
    (ratio, _, left), (_, _, top) = between(source, frame)
    across, down, last = round(left), round(top), source.size - frame.size
    whole = np.allclose([ratio, left, top], [1.0, across, down], atol=1e-9)
    if whole and 0 <= across <= last and 0 <= down <= last:
        return images[:, down : down + frame.size, across : across + frame.size]
    crops = to_frame(torch.from_numpy(images).permute(0, 3, 1, 2).float(), source, frame)
    return crops.clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8).numpy()


def place_in(
    landmarks: Float[np.ndarray, "*face 5 2"], matrix: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "*face 5 2"]:
    """Landmarks of a picture in a crop, whose pixel places the matrix takes to the picture's."""
    return (landmarks - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def annotate_rows(annotator: Annotator, faces: AlignedFaces) -> Float[np.ndarray, "face attribute"]:
    """As `annotate`, a few faces at a time."""
    parts = [np.empty((0, len(annotator.attributes)), np.float32)]
    parts += [
        annotator.annotate(faces.rows(slice(at, at + ROWS))) for at in range(0, len(faces), ROWS)
    ]
    return np.concatenate(parts)


def annotate_store(
    annotator: Annotator, name: str, manifest: LatentManifest, faces: FaceStore
) -> AttributeTable:
    """Every row of the store of round `name`; a failed face is undefined."""
    scheme = scheme_of(faces)
    ok, landmarks = faces.ok(), faces.column("landmarks") if scheme else None
    values = np.full((len(faces), len(annotator.attributes)), np.nan, np.float32)
    stored = Frame(**faces.frame)
    matrix = between(stored, annotator.frame)
    starts = range(0, len(faces), READ_ROWS)
    for at in Bar(starts, desc=f"annotate {name}", unit="block"):
        rows = at + np.flatnonzero(ok[at : at + READ_ROWS])
        images = faces.images(at, min(at + READ_ROWS, len(faces)))[rows - at]
        unknown = np.full((len(rows), 5, 2), np.nan)
        points = unknown if landmarks is None else place_in(landmarks[rows].astype(float), matrix)
        crops = cut_to(images, stored, annotator.frame)
        some = AlignedFaces(crops, points, unknown, scheme or DLIB5)
        values[rows] = annotate_rows(annotator, some)
    return table_of(annotator, name, manifest, faces, values)


def annotate_embeddings(annotator: EmbeddingAnnotator, files: RoundFiles) -> AttributeTable:
    """Every row of a round from the embeddings that its teacher store holds.

    Raises InputError for embeddings of another teacher than the annotator reads.
    """
    require_teacher(files.teacher, annotator.teacher_identity)
    values = np.full((len(files.faces), len(annotator.attributes)), np.nan, np.float32)
    starts = range(0, len(values), READ_ROWS)
    for at in Bar(starts, desc=f"annotate {files.name}", unit="block"):
        stop = min(at + READ_ROWS, len(values))
        plain = files.teacher.embeddings(at, stop)[:, 0].astype(np.float32)
        values[at:stop] = annotator.annotate_embeddings(plain)
    return table_of(annotator, files.name, files.require_manifest(), files.faces, values)


def table_of(
    annotator: Annotator,
    name: str,
    manifest: LatentManifest,
    faces: FaceStore,
    values: Float[np.ndarray, "face attribute"],
) -> AttributeTable:
    """The table of a round, whose faces belong to its identities."""
    source = Source(FACES, name, faces.root)
    subject = tuple(str(i) if i is not None else "" for i in identities(manifest))
    identity, attributes = annotator.identity(), annotator.attributes
    return AttributeTable(identity, source, attributes, values, manifest.face_id, None, subject)


def scheme_of(faces: FaceStore) -> Scheme | None:
    """Of a store's landmarks; None where it has none that annotators know, for it may have been
    made elsewhere."""
    name = faces.group.attrs.get("landmark_scheme")
    return SCHEMES.get(str(name)) if "landmarks" in faces.group.arrays else None


def identities(manifest: LatentManifest) -> list[int | None]:
    return manifest.table["identity_id"].to_pylist()


def align(picture: np.ndarray, face: Face, frame: Frame) -> AlignedFaces:
    """One photograph's face, as it is cut for a network."""
    crop = crop_photograph(picture, face, frame)
    matrix = face.scheme.placement(face.landmarks, frame)
    pixels = crop.permute(1, 2, 0).to(torch.uint8).numpy()
    points = place_in(face.landmarks, matrix)
    return AlignedFaces(pixels[None], points[None], face.landmarks[None], face.scheme)


def stacked(faces: Iterable[AlignedFaces], rows: int) -> Iterator[AlignedFaces]:
    """The same faces, `rows` at a time; all have the landmarks of one aligner."""
    waiting: list[AlignedFaces] = []
    for face in faces:
        waiting.append(face)
        if len(waiting) == rows:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(faces: list[AlignedFaces]) -> AlignedFaces:
    names = ("images", "landmarks", "source_landmarks")
    images, places, before = (
        np.concatenate([getattr(face, name) for face in faces]) for name in names
    )
    return AlignedFaces(images, places, before, faces[0].scheme)


def annotate_photographs(
    annotator: Annotator, photographs: PhotographSet, alignment: Alignment
) -> AttributeTable:
    """Every photograph of a set; one in which no face is found is undefined."""
    detected: list[bool] = []

    def usable() -> Iterator[AlignedFaces]:
        title, count = f"annotate {photographs.name}", len(photographs.images)
        faces = found_faces(photographs, alignment)
        with Bar(faces, desc=title, total=count, unit="image") as found:
            for picture, face in found:
                detected.append(face.detected)
                if face.detected:
                    yield align(picture, face, annotator.frame)

    rows = [annotator.annotate(faces) for faces in stacked(usable(), ROWS)]
    values = np.full((len(photographs.images), len(annotator.attributes)), np.nan, np.float32)
    values[np.array(detected)] = np.concatenate([values[:0], *rows])
    source = Source(PHOTOGRAPHS, photographs.name, photographs.digest)
    return AttributeTable(
        annotator.identity(), source, annotator.attributes, values, None,
        photographs.images, photographs.subjects,
    )  # fmt: skip


def annotate(text: str, annotator: Annotator, alignment: Alignment | None = None) -> AttributeTable:
    """A round by name, or photographs, by the usual aligner where none is said."""
    if is_photographs(text):
        photographs = open_photographs(text)
        return annotate_photographs(annotator, photographs, alignment or alignment_by())
    if isinstance(annotator, EmbeddingAnnotator):
        return annotate_embeddings(
            annotator, open_round(text, str(annotator.teacher_identity["name"]))
        )
    manifest, faces = open_faces(text)
    if manifest is None:
        raise InputError(f"{layout.manifest(text)}: no such file; it has the faces' ids")
    return annotate_store(annotator, text, manifest, faces)
