"""Photographs to embeddings, in memory that does not grow with their number.

An image is decoded once: a few at a time their faces are found, cut to every model's frame and
forgotten. Models work on blocks of crops; what is kept of an image is its embedding. What several
benchmarks have is looked at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.benchmarks.base import Protocol
from eval.photos.models import BOTH, PLAIN, VIEWS, Model, Views
from manifests.core.errors import InputError
from manifests.core.progress import Bar
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


Look = tuple[str, str]  # an image's sha256, and what says where its face is


@dataclass(frozen=True)
class Kept:
    """Faces and embeddings of images that several benchmarks have, from one to the next."""

    wanted: Collection[Look] = ()
    made: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    @classmethod
    def among(cls, protocols: Iterable[Protocol]) -> Kept:
        """Empty yet, for models that are to be measured on all of these."""
        counts = Counter(look for protocol in protocols for look in set(_looks(protocol)))
        return cls({look for look, count in counts.items() if count > 1})

    def holds(self, look: Look, asked: Sequence[tuple[str, str]]) -> bool:
        """Whether nothing of what is asked for, (model's sha256, view), is still to be made."""
        return all((look, *each) in self.made for each in asked)

    def completed(
        self,
        looks: Sequence[Look],
        is_held: Sequence[bool],
        made: Sequence[Any] | np.ndarray,
        *what: str,
    ) -> Sequence[Any] | np.ndarray:
        """`made` of the images that are not held, in turn, and between them what is held of the
        others; of all that are wanted it is kept."""
        if not self.wanted:
            return made
        new = iter(made)
        every = [
            self.made[look, *what] if held else next(new)
            for look, held in zip(looks, is_held, strict=True)
        ]
        self.made.update(
            ((look, *what), own)
            for look, own in zip(looks, every, strict=True)
            if look in self.wanted
        )
        return every


def _looks(protocol: Protocol) -> list[Look]:
    """Of its images. Listed points are of a name, and two may lie in one picture."""
    own, listed = protocol.benchmark, protocol.points is not None
    return [
        (own.sha256[name], f"{own.alignment}; {name}" if listed else own.alignment)
        for name in own.images
    ]


def frame_coverage(source: Frame, wanted: Frame) -> float:
    """The share of the wanted frame's area that lies in the source's; crops repeat the edge for
    the rest."""
    sides = [
        min(s + source.extent, w + wanted.extent) - max(s, w)
        for s, w in ((source.left, wanted.left), (source.top, wanted.top))
    ]
    return max(0.0, sides[0]) * max(0.0, sides[1]) / wanted.extent**2


def embed_protocol(
    protocol: Protocol, models: Sequence[Model], views: Sequence[str], kept: Kept | None = None
) -> tuple[list[Embedded], list[Face]]:
    """Every model's embeddings of all images, and the faces that they are of, in the order of the
    images' names. `views` names the view that each model is measured by; what `kept` holds is not
    made again.

    Raises InputError naming the first image with an embedding that is not finite, and where no
    image has a face.
    """
    kept = kept or Kept()
    names, looks = protocol.benchmark.images, _looks(protocol)
    passes = [_passes(use, len(names)) for use in views]
    asked = [(m.sha256, view) for m, wanted in zip(models, passes, strict=True) for view in wanted]
    is_held = [kept.holds(look, asked) for look in looks]
    fresh = [name for name, held in zip(names, is_held, strict=True) if not held]
    parts: list[list[Views]] = [[] for _ in models]
    new: list[Face] = []
    for block, faces, crops in _blocks(protocol, fresh, models):
        new += faces
        for model, wanted, part, cut in zip(models, passes, parts, crops, strict=True):
            part.append(model.outputs(torch.stack(cut), wanted))
            _require_finite(model, block, part[-1])
    found = list(kept.completed(looks, is_held, new))
    if not any(face.detected for face in found):
        raise InputError(
            f"benchmark {protocol.benchmark.name}: no face was found in any of {len(found)} "
            "images; bring photographs of upright faces, of at least 40 pixels across"
        )
    done = []
    for model, wanted, part in zip(models, passes, parts, strict=True):
        rows = {}
        for view in wanted:
            made = np.concatenate([own[view] for own in part]) if part else ()
            rows[view] = np.asarray(kept.completed(looks, is_held, made, model.sha256, view))
        done.append(Embedded(model, rows))
    return done, found


def _passes(used: str, num_images: int) -> tuple[str, ...]:
    """The plain view comes with the sum; the sum costs a pass that few images are worth."""
    return VIEWS if used == BOTH or num_images <= MOST_FOR_BOTH_VIEWS else (PLAIN,)


def _blocks(
    protocol: Protocol, names: Sequence[str], models: Sequence[Model]
) -> Iterator[tuple[list[str], list[Face], list[list[Tensor]]]]:
    """Names, faces, and the crops for each model, BLOCK images at a time."""
    title = f"embed {protocol.benchmark.name}"
    with Bar(total=len(names), desc=title, unit="image", disable=not names) as bar:
        for at in range(0, len(names), BLOCK):
            block = list(names[at : at + BLOCK])
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
