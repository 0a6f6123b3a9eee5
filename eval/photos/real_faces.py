"""Real faces beside stored ones: photographs cut and embedded as a face store's faces were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from tqdm import tqdm

from eval.alignment import Alignment, usual_aligner
from eval.photos.photo_sets import PhotographSet
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, at_once
from pipeline.aligners.base import misplaced
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import Frame, to_frame
from pipeline.arrays.numerics import BATCH, in_fixed_batches
from pipeline.teachers.base import Teacher

BLOCK = 4 * BATCH  # crops held at a time


@dataclass(frozen=True)
class RealFaces:
    """The faces that were found, in the order of their photographs' names."""

    names: tuple[str, ...]
    subject: Int[np.ndarray, " face"]  # number of the folder that a photograph lies in
    embeddings: Float[np.ndarray, "face width"]  # raw float32, rounded as in a store
    num_undetected: int  # photographs without a face, left out


def embed_real(
    photographs: PhotographSet, teacher: Teacher, stored: Frame, alignment: Alignment
) -> RealFaces:
    """Photographs through the frame that a store keeps to the teacher's.

    Raises InputError, before any is embedded, for photographs in no folder of their person, those
    that cannot be read, and those that are no crops in the alignment's frame; and for faces of
    fewer than two people.
    """
    people = people_of(photographs)
    _ = photographs.digest
    rows, kept = [], []
    images = ImageFolder(photographs.folder)
    if alignment.frame is not None:
        _require_cut(photographs, images, alignment.frame)
    with tqdm(total=len(photographs.images), desc="embed photographs", unit="image") as bar:
        for at in range(0, len(photographs.images), BLOCK):
            crops, number = [], at
            for pictures in at_once(map(images.picture, photographs.images[at : at + BLOCK])):
                for picture, face in zip(pictures, alignment.find(pictures), strict=True):
                    if face.detected:
                        kept.append(number)
                        crops.append(crop_photograph(picture, face, stored))
                    number += 1
                bar.update(len(pictures))
            rows.append(_embed(teacher, crops, stored))
    subjects = people[kept]
    if len(np.unique(subjects)) < 2:
        raise InputError(
            f"{photographs.folder}: faces of {len(np.unique(subjects))} people were found, at "
            "least 2 are needed; --frame says what photographs are cut to already"
        )
    names = tuple(photographs.images[number] for number in kept)
    undetected = len(photographs.images) - len(kept)
    return RealFaces(names, subjects, np.concatenate(rows), undetected)


def people_of(photographs: PhotographSet) -> Int[np.ndarray, " image"]:
    """The number of the folder that each photograph lies in.

    Raises InputError naming those in none.
    """
    faults = Faults(str(photographs.folder))
    for name, subject in zip(photographs.images, photographs.subjects, strict=True):
        if not subject:
            faults.note(
                f"{photographs.folder / name}: in no folder of its person, without which nobody "
                "can say how alike two people are; put each person's into one"
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
