"""Attribute heads from labelled faces: embedded, trained on most people, judged on the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from eval.attributes.divergence import numbered
from eval.attributes.head_files import HeadsPassport, require_teacher
from eval.attributes.head_networks import Heads, fit_heads, probabilities
from eval.attributes.held_out import HeadResult, hold_out, judge, used
from eval.attributes.labels import FACE_ID, Labels, read_labels
from eval.photos.photo_sets import PhotographSet, found_faces, is_photographs, open_photographs
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.progress import Bar
from manifests.records.attributes import FACES, PHOTOGRAPHS
from manifests.settings.heads import HeadSettings
from manifests.stores.rounds import open_round
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.numerics import BATCH, in_fixed_batches, numerics
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher

FEWEST = 100  # labelled faces with an embedding


@dataclass(frozen=True)
class LabelledFaces:
    """Rows of a table of labels whose faces could be embedded."""

    labels: Labels
    source: dict[str, str]  # kind, name and digest of what holds the faces
    embeddings: Float[np.ndarray, "row width"]
    person: Int[np.ndarray, " row"]
    rows: Int[np.ndarray, " row"]  # of the table, that the above are of


def embed_photographs(
    photographs: PhotographSet, teacher: Teacher
) -> Float[np.ndarray, "image width"]:
    """Raw embeddings of the plain view, cut as verification cuts; NaN where no face was found."""

    def crops() -> Iterator[torch.Tensor]:
        total = len(photographs.images)
        faces = Bar(found_faces(photographs), desc="embed photographs", total=total, unit="image")
        for picture, face in faces:
            detected.append(face.detected)
            if face.detected:
                yield crop_photograph(picture, face, teacher.frame)

    detected: list[bool] = []
    parts, waiting = [np.empty((0, teacher.width), np.float32)], []
    for crop in crops():
        waiting.append(crop)
        if len(waiting) == BATCH:
            parts.append(in_fixed_batches(teacher.embed, torch.stack(waiting)).cpu().numpy())
            waiting = []
    if waiting:
        parts.append(in_fixed_batches(teacher.embed, torch.stack(waiting)).cpu().numpy())
    embeddings = np.full((len(photographs.images), teacher.width), np.nan, np.float32)
    embeddings[np.array(detected)] = np.concatenate(parts)
    return embeddings


def labelled_photographs(labels: Labels, text: str, teacher: Teacher) -> LabelledFaces:
    """Only the photographs that have labels are embedded."""
    found = open_photographs(text)
    wanted = labels.rows_in(found.images, f"photographs {text}")
    images = tuple(found.images[row] for row in sorted(wanted.tolist()))
    chosen = PhotographSet(found.name, found.folder, images)
    place = {name: row for row, name in enumerate(images)}
    order = np.array([place[found.images[row]] for row in wanted], np.int64)
    person = numbered(labels.subject or [chosen.subjects[row] for row in order])
    _require_enough(labels, person)  # before they are embedded, of which some may show no face
    embeddings = embed_photographs(chosen, teacher)[order]
    source = {"kind": PHOTOGRAPHS, "name": found.name, "digest": chosen.digest}
    return _known(labels, source, embeddings, person)


def labelled_round(labels: Labels, name: str, teacher: Teacher) -> LabelledFaces:
    files = open_round(name, teacher.name)
    require_teacher(files.teacher, teacher.identity())
    manifest = files.require_manifest()
    rows = labels.rows_in(list(map(str, manifest.face_id.tolist())), f"store {files.faces.path}")
    embeddings = files.teacher.embeddings()[rows, 0].astype(np.float32)
    identities = manifest.table["identity_id"].to_pylist()
    owner = ["" if identities[row] is None else str(identities[row]) for row in rows]
    source = {"kind": FACES, "name": name, "digest": files.faces.root}
    return _known(labels, source, embeddings, numbered(labels.subject or owner))


def _require_enough(labels: Labels, person: Int[np.ndarray, " face"]) -> None:
    """`person`: whose the faces are. Raises InputError for too few, and for one person's."""
    if len(person) < FEWEST:
        raise InputError(
            f"{labels.name}: {len(person)} labelled faces with an embedding, {FEWEST} are needed"
        )
    if len(np.unique(person)) < 2:
        raise InputError(f"{labels.name}: all faces are of one person; nobody to hold out")


def _known(
    labels: Labels, source: dict[str, str], embeddings: np.ndarray, person: np.ndarray
) -> LabelledFaces:
    rows = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    _require_enough(labels, person[rows])
    return LabelledFaces(labels, source, embeddings[rows], person[rows], rows)


def open_labelled(labels: Labels, text: str, teacher: Teacher) -> LabelledFaces:
    """The faces of a table, in photographs or a round.

    Raises InputError for a table of the other kind, or of faces that are not there.
    """
    photographs = is_photographs(text)
    if photographs == (labels.kind == FACE_ID):
        expected = "image" if photographs else FACE_ID
        raise InputError(
            f"{labels.name}: labels faces by {labels.kind}; of {text} they are named by {expected}"
        )
    return (labelled_photographs if photographs else labelled_round)(labels, text, teacher)


def train_heads(
    faces: LabelledFaces, settings: HeadSettings
) -> tuple[Heads, dict[str, HeadResult]]:
    """Heads trained on most of the people, and a result of each on the others."""
    values = faces.labels.values[faces.rows]
    held = hold_out(faces.person, settings.held_out, settings.seed)
    heads = fit_heads(faces.embeddings[~held], values[~held], settings)
    found = probabilities(heads, faces.embeddings[held])
    results = judge(
        found, values[held], faces.person[held], floor=settings.floor, seed=settings.seed
    )
    return heads, dict(zip(faces.labels.attributes, results, strict=True))


def passport_of(
    faces: LabelledFaces,
    results: dict[str, HeadResult],
    teacher: Teacher,
    address: str,
    settings: HeadSettings,
) -> HeadsPassport:
    """`address`: what `load_teacher` found the teacher by."""
    labels = faces.labels
    defined = (labels.values[faces.rows] != 0).sum(axis=0).tolist()
    return HeadsPassport(
        architecture=settings.architecture,
        width=faces.embeddings.shape[1],
        attributes=labels.attributes,
        used=tuple(used(labels.attributes, list(results.values()))),
        teacher=teacher.identity(),
        teacher_address=address,
        labels={
            "name": labels.name,
            "sha256": labels.sha256,
            "rows": len(labels.key),
            "embedded": len(faces.rows),
            "people": len(np.unique(faces.person)),
            "defined": dict(zip(labels.attributes, defined, strict=True)),
        },
        faces=faces.source,
        settings=asdict(settings),
        held_out={name: asdict(result) for name, result in results.items()},
        numerics=numerics("cpu"),
    )


def make_heads(
    table: Path, text: str, address: str, settings: HeadSettings, wanted: list[str]
) -> tuple[Heads, HeadsPassport]:
    """Heads and their passport, from a table on disk, with the teacher of that address."""
    teacher = load_teacher(address, layout.WEIGHTS)
    faces = open_labelled(read_labels(table, wanted), text, teacher)
    heads, results = train_heads(faces, settings)
    return heads, passport_of(faces, results, teacher, address, settings)
