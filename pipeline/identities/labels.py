"""Which neighbours look like a reference: labels, block by block of references.

Labels are made from one matrix of embeddings and rows of it: nothing is copied for a reference
(the released code of ExFaceGAN writes 10 MB for each).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from manifests.settings.params import Threshold
from manifests.stores.latents import DISSIMILAR, SIMILAR

CELLS = 1 << 23  # cosines in memory at a time: 32 MB, and their labels as much
LEAST_BLOCK = 32  # references at a time, however many neighbours there are
BLOCK_ROWS = 1 << 12  # neighbours whose latents or embeddings are gathered at a time

Rule = Callable[[Float[np.ndarray, "reference neighbour"], float], Float[np.ndarray, " reference"]]


@dataclass(frozen=True)
class Split:
    """Rows of the pool: references, and the neighbours that fit and that judge the planes."""

    references: Int[np.ndarray, " reference"]
    fit: Int[np.ndarray, " fit"]
    held_out: Int[np.ndarray, " held"]


def usable_rows(
    ok: Bool[np.ndarray, " face"], latents: Float[np.ndarray, "face width"]
) -> Int[np.ndarray, " usable"]:
    """Faces that were found and have a latent: imported ones have none."""
    return np.flatnonzero(ok & np.isfinite(latents).all(axis=1))


def quantile(
    cosines: Float[np.ndarray, "reference neighbour"], share: float
) -> Float[np.ndarray, " reference"]:
    """The cosine that the share of a reference's neighbours lies below; exact."""
    kth = min(int(cosines.shape[1] * share + 0.5), cosines.shape[1] - 1)
    return np.partition(cosines, kth, axis=1)[:, kth]


def median(
    cosines: Float[np.ndarray, "reference neighbour"], _: float = 0.0
) -> Float[np.ndarray, " reference"]:
    """The published rule: half of the neighbours on each side; of an odd number the middle one
    is similar."""
    kth = cosines.shape[1] // 2
    return np.partition(cosines, kth, axis=1)[:, kth]


def fixed(
    cosines: Float[np.ndarray, "reference neighbour"], cosine: float
) -> Float[np.ndarray, " reference"]:
    """One cosine for all references: sides are of unlike sizes."""
    return np.full(len(cosines), cosine, cosines.dtype)


RULES: dict[str, Rule] = {"median": median, "quantile": quantile, "cosine": fixed}


def label_blocks(
    embeddings: Float[np.ndarray, "face embedding"], split: Split, threshold: Threshold
) -> Iterator[tuple[slice, Float[np.ndarray, "fit block"], Float[np.ndarray, "held block"]]]:
    """For one block of references after the other: its place, and the labels of the neighbours
    that fit and of those held out. -1 where a neighbour's cosine is at least the threshold, +1
    below it; a threshold looks at all neighbours, as the published labels do.

    `embeddings` are unit vectors, centred: raw dlib embeddings of two strangers have a cosine
    of 0.9.
    """
    rule = RULES[threshold.rule]
    neighbours = np.concatenate([split.fit, split.held_out])
    size = max(LEAST_BLOCK, CELLS // max(len(neighbours), 1))
    for at in range(0, len(split.references), size):
        rows = split.references[at : at + size]
        cosines = np.empty((len(rows), len(neighbours)), embeddings.dtype)
        for start in range(0, len(neighbours), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            cosines[:, part] = embeddings[rows] @ embeddings[neighbours[part]].T
        similar = cosines >= rule(cosines, threshold.value)[:, None]
        labels = np.where(similar, np.float32(SIMILAR), np.float32(DISSIMILAR)).T
        yield slice(at, at + len(rows)), labels[: len(split.fit)], labels[len(split.fit) :]
