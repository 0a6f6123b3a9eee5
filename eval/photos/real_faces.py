"""Real faces beside stored ones: photographs cut and embedded as a face store's faces were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from eval.alignment import Alignment, usual_aligner
from eval.photos.photo_sets import PhotographSet
from eval.scoring.folders import LEAST, Folders, folders_of, spaced
from eval.scoring.similarity import Faces, prepared
from manifests.core.errors import Faults, InputError
from manifests.core.progress import Bar
from manifests.photographs.images import ImageFolder, at_once
from pipeline.aligners.base import misplaced
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import Frame, to_frame
from pipeline.arrays.numerics import BATCH, in_fixed_batches
from pipeline.teachers.base import Teacher

BLOCK = 4 * BATCH  # crops held at a time
PROBED_FOLDERS, PROBED_FACES = 64, 4  # looked at before all: enough to tell folders from people


@dataclass(frozen=True)
class RealFaces:
    """The faces that were found, in the order of their photographs' names."""

    names: tuple[str, ...]
    subject: Int[np.ndarray, " face"]  # number of the folder that a photograph lies in
    embeddings: tuple[Float[np.ndarray, "face _"], ...]  # by each teacher: raw, as in a store
    num_undetected: int  # photographs without a face, left out

    def by(self, teacher: Teacher, place: int) -> Faces:
        """As the teacher in that place compares them."""
        rows = prepared(self.embeddings[place], teacher.metric)
        return Faces(rows.astype(np.float64), self.subject)


def embed_people(
    photographs: PhotographSet,
    teachers: Sequence[Teacher],
    stored: Frame,
    alignment: Alignment,
    advice: str,
) -> tuple[RealFaces, list[Folders]]:
    """As `embed_real`, of photographs whose folders are people, and how well each teacher tells
    them apart. Raises InputError, after a few of them, where they are none; `advice` says what
    then."""
    _ = photographs.digest
    some = probe_of(photographs)
    if len(some.images) < len(photographs.images) // 2:
        _require_people(
            photographs, teachers, embed_real(some, teachers, stored, alignment), advice
        )
    real = embed_real(photographs, teachers, stored, alignment)
    return real, _require_people(photographs, teachers, real, advice)


def _require_people(
    photographs: PhotographSet, teachers: Sequence[Teacher], real: RealFaces, advice: str
) -> list[Folders]:
    """Raises InputError where no teacher finds faces of one folder more alike than of two."""
    found = [
        folders_of(faces.embeddings, faces.subject, teacher.metric)
        for at, teacher in enumerate(teachers)
        for faces in [real.by(teacher, at)]
    ]
    name, best = max(
        ((teacher.name, own) for teacher, own in zip(teachers, found, strict=True)),
        key=lambda pair: pair[1].mean,
    )
    if not best.may_be_people:
        raise InputError(
            f"{photographs.folder}: its folders are no people: faces of one are hardly more alike "
            f"than those of two (AUC {best.mean:.2f} over {len(best.auc)} folders by {name}, "
            f"expected at least {LEAST:g}); {advice}"
        )
    return found


def probe_of(photographs: PhotographSet) -> PhotographSet:
    """A few photographs of a few folders that have several, evenly spaced."""
    people = people_of(photographs)
    number, count = np.unique(people, return_counts=True)
    chosen = spaced(number[count > 1], PROBED_FOLDERS)
    rows = [spaced(np.flatnonzero(people == own), PROBED_FACES) for own in chosen]
    kept = np.sort(np.concatenate(rows)) if rows else np.empty(0, np.int64)
    return replace(photographs, images=tuple(photographs.images[row] for row in kept.tolist()))


def embed_real(
    photographs: PhotographSet, teachers: Sequence[Teacher], stored: Frame, alignment: Alignment
) -> RealFaces:
    """Photographs through the frame that a store keeps to each teacher's.

    Raises InputError, before any is embedded, for photographs in no folder of their person, those
    that cannot be read, and those that are no crops in the alignment's frame; and for faces of
    fewer than two people.
    """
    people = people_of(photographs)
    _ = photographs.digest
    kept: list[int] = []
    rows: list[list[np.ndarray]] = [[] for _ in teachers]
    images = ImageFolder(photographs.folder)
    if alignment.frame is not None:
        _require_cut(photographs, images, alignment.frame)
    with Bar(total=len(photographs.images), desc="embed photographs", unit="image") as bar:
        for at in range(0, len(photographs.images), BLOCK):
            crops, number = [], at
            for pictures in at_once(map(images.picture, photographs.images[at : at + BLOCK])):
                for picture, face in zip(pictures, alignment.find(pictures), strict=True):
                    if face.detected:
                        kept.append(number)
                        crops.append(crop_photograph(picture, face, stored))
                    number += 1
                bar.update(len(pictures))
            for teacher, own in zip(teachers, rows, strict=True):
                own.append(_embed(teacher, crops, stored))
    subjects = people[kept]
    if len(np.unique(subjects)) < 2:
        raise InputError(
            f"{photographs.folder}: faces of {len(np.unique(subjects))} people were found, at "
            "least 2 are needed; --frame says what photographs are cut to already"
        )
    names = tuple(photographs.images[number] for number in kept)
    undetected = len(photographs.images) - len(kept)
    return RealFaces(names, subjects, tuple(map(np.concatenate, rows)), undetected)


def people_of(photographs: PhotographSet) -> Int[np.ndarray, " image"]:
    """The number of the folder that each photograph lies in; of strangers, of each.

    Raises InputError naming those in none.
    """
    faults = Faults(str(photographs.folder))
    for name, subject in zip(photographs.images, photographs.subjects, strict=True):
        if not subject:
            faults.note(
                f"{photographs.folder / name}: in no folder of its person, without which nobody "
                "can say how alike two people are; put each person's into one, or give "
                "--no-identities"
            )
    faults.raise_any()
    return np.unique(photographs.subjects, return_inverse=True)[1].astype(np.int64)


def _require_cut(photographs: PhotographSet, images: ImageFolder, frame: Frame) -> None:
    reason = misplaced(usual_aligner(), frame, photographs.images, images.picture)
    if reason is not None:
        raise InputError(
            f"{photographs.folder}: {reason}; leave --frame out to have faces detected"
        )


def _embed(
    teacher: Teacher, crops: list[torch.Tensor], stored: Frame
) -> Float[np.ndarray, "face width"]:
    if not crops:
        return np.empty((0, teacher.width), np.float32)
    pictures = to_frame(torch.stack(crops), stored, teacher.frame)
    rows = in_fixed_batches(teacher.embed, pictures).cpu().numpy()
    return rows.astype(np.float16).astype(np.float32)
