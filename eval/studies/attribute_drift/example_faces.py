"""Faces that show what a finding is about. Photographs are shown only of a folder that the user
named; those of a benchmark that comes with Facestill never are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from eval.photos.photo_sets import open_photographs
from eval.reporting.figures import data_uri, strip
from manifests.core import layout
from manifests.photographs.images import DETECT_THRESHOLD, ImageFolder, decode
from pipeline.arrays.align import Aligner, crop_photograph, find_in_photograph
from pipeline.arrays.frames import ARCFACE112


def may_show(text: str) -> bool:
    """Of photographs named orl, pairs:DIR or folder:DIR."""
    return text.startswith(("pairs:", "folder:"))


def photograph_strip(names: Sequence[str], text: str, slots: int) -> str | None:
    """The faces of these photographs, cut as networks see them; None where they are not to be
    shown, or there are none."""
    if not names or not may_show(text):
        return None
    photographs = open_photographs(text)
    source = ImageFolder(photographs.folder)
    aligner = Aligner(layout.WEIGHTS, threshold=DETECT_THRESHOLD)

    def face(name: str) -> UInt8[np.ndarray, "size size 3"]:
        picture = decode(source.read(name), source.where(name))
        crop = crop_photograph(picture, find_in_photograph(aligner, picture), ARCFACE112)
        return crop.permute(1, 2, 0).byte().numpy()

    return data_uri(strip(np.stack([face(name) for name in names[:slots]]), slots), "image/webp")
