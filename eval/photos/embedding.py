"""Photographs to embeddings, in memory that does not grow with their number.

An image is decoded once: a few at a time their faces are found, cut to every model's frame and
forgotten. Models work on blocks of crops; what is kept of an image is its embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from eval.benchmarks.base import Protocol
from eval.photos.models import BOTH, PLAIN, VIEWS, Model, Views
from manifests.core.errors import InputError
from manifests.photographs.images import at_once
from pipeline.arrays.align import Face, crop_photograph
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import BATCH

BLOCK = 4 * BATCH  # crops held at a time: whole batches, so that blocks change no bit
MOST_FOR_BOTH_VIEWS = 20_000  # images that a second pass is made for, of models that use one view


@dataclass(frozen=True)
class Embedded:
    """What one model made of the images of a protocol."""

    model: Model
    views: Views


def frame_coverage(source: Frame, wanted: Frame) -> float:
    """The share of the wanted frame's area that lies in the source's; crops repeat the edge for
    the rest."""
    sides = [
        min(s + source.extent, w + wanted.extent) - max(s, w)
        for s, w in ((source.left, wanted.left), (source.top, wanted.top))
    ]
    return max(0.0, sides[0]) * max(0.0, sides[1]) / wanted.extent**2


def embed_protocol(
    protocol: Protocol, models: Sequence[Model], views: Sequence[str]
) -> tuple[list[Embedded], list[Face]]:
    """Every model's embeddings of all images, and the faces that they are of, in the order of the
    images' names. `views` names the view that each model is measured by.

    Raises InputError naming the first image with an embedding that is not finite, and where no
    image has a face.
    """
    names = protocol.benchmark.images
    passes = [_passes(use, len(names)) for use in views]
    parts: list[list[Views]] = [[] for _ in models]
    found: list[Face] = []
    for block, faces, crops in _blocks(protocol, models):
        found += faces
        for model, wanted, part, cut in zip(models, passes, parts, crops, strict=True):
            part.append(model.outputs(torch.stack(cut), wanted))
            _require_finite(model, block, part[-1])
    if not any(face.detected for face in found):
        raise InputError(
            f"benchmark {protocol.benchmark.name}: no face was found in any of {len(found)} "
            "images; bring photographs of upright faces, of at least 40 pixels across"
        )
    done = [
        Embedded(model, {view: np.concatenate([each[view] for each in part]) for view in wanted})
        for model, wanted, part in zip(models, passes, parts, strict=True)
    ]
    return done, found


def _passes(used: str, num_images: int) -> tuple[str, ...]:
    """The plain view comes with the sum; the sum costs a pass that few images are worth."""
    return VIEWS if used == BOTH or num_images <= MOST_FOR_BOTH_VIEWS else (PLAIN,)


def _blocks(
    protocol: Protocol, models: Sequence[Model]
) -> Iterator[tuple[list[str], list[Face], list[list[Tensor]]]]:
    """Names, faces, and the crops for each model, BLOCK images at a time."""
    names = protocol.benchmark.images
    with tqdm(total=len(names), desc=f"embed {protocol.benchmark.name}", unit="image") as bar:
        for at in range(0, len(names), BLOCK):
            block = names[at : at + BLOCK]
            faces: list[Face] = []
            crops: list[list[Tensor]] = [[] for _ in models]
            for pictures in at_once(protocol.images.picture(name) for name in block):
                part = block[len(faces) : len(faces) + len(pictures)]
                found = protocol.find(part, pictures)
                for model, cut in zip(models, crops, strict=True):
                    cut += map(crop_photograph, pictures, found, repeat(model.frame))
                faces += found
                bar.update(len(found))
            yield block, faces, crops


def _require_finite(model: Model, names: Sequence[str], views: Views) -> None:
    for rows in views.values():
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(wrong):
            raise InputError(
                f"model {model.name}: its embedding of image {names[wrong[0]]} is not finite"
            )
