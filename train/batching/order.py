"""The order in which faces are seen: a function of seed and epoch alone.

Blocks of a store, which are cheap to read, come in random order; some of them at a time make a
pool, whose rows are shuffled; or some faces of an identity together, which are shuffled as one.
An epoch shows every face as often either way. Nothing here knows of files, readers or processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from manifests.stores.reading import CHUNK_ROWS

BLOCKS, ROWS, EXTRAS = 1, 2, 3  # what a random stream is for, beside its seed


@dataclass(frozen=True)
class Part:
    """Rows of one block of one source, ascending."""

    source: int
    start: int
    rows: Int[np.ndarray, " row"]


@dataclass(frozen=True)
class Pool:
    """Parts that are in memory together; `order`: their rows, as they are to be seen."""

    parts: Sequence[Part]
    order: Int[np.ndarray, " face"]


@dataclass(frozen=True)
class Together:
    """How many faces of an identity follow each other, and by source whose each row is (-1:
    nobody's)."""

    faces: int
    labels: Sequence[Int[np.ndarray, " _"]]

    def of(self, parts: Sequence[Part]) -> Int[np.ndarray, " face"]:
        """The labels of a pool's faces."""
        return np.concatenate([self.labels[part.source][part.rows] for part in parts])


class Order:
    """Endless epochs over the usable rows of some sources.

    `weights`: how many times an epoch shows the rows of each source. Of 2.25, two passes show
    all of them, and a third one a quarter, drawn anew every epoch.
    """

    def __init__(
        self,
        usable: Sequence[Int[np.ndarray, " _"]],
        weights: Sequence[float],
        *,
        pool_rows: int,
        seed: int,
        together: Together | None = None,
    ) -> None:
        self.usable, self.seed, self.together = usable, seed, together
        self.pool_blocks = max(1, pool_rows // CHUNK_ROWS)
        self.passes = [int(weight) for weight in weights]
        self.extras = [
            round((weight - whole) * len(rows))
            for weight, whole, rows in zip(weights, self.passes, usable, strict=True)
        ]
        self.whole = [list(_parts(source, rows)) for source, rows in enumerate(usable)]

    @property
    def num_faces(self) -> int:
        """Of every epoch."""
        sizes = zip(self.passes, self.usable, self.extras, strict=True)
        return sum(whole * len(rows) + extra for whole, rows, extra in sizes)

    def epoch(self, number: int) -> list[list[Part]]:
        """The parts of each pool."""
        parts = [part for source in range(len(self.usable)) for part in self._of(source, number)]
        order = np.random.default_rng((self.seed, BLOCKS, number)).permutation(len(parts))
        at = range(0, len(parts), self.pool_blocks)
        return [[parts[index] for index in order[first : first + self.pool_blocks]] for first in at]

    def _of(self, source: int, epoch: int) -> Iterator[Part]:
        for _ in range(self.passes[source]):
            yield from self.whole[source]
        if self.extras[source]:
            rng = np.random.default_rng((self.seed, EXTRAS, epoch, source))
            chosen = rng.choice(self.usable[source], self.extras[source], replace=False)
            yield from _parts(source, np.sort(chosen))

    def pools(self, first_face: int) -> Iterator[Pool]:
        """Pools from the `first_face`-th face of all epochs on, without end."""
        epoch, skip = divmod(first_face, self.num_faces)
        while True:
            start = epoch * self.num_faces  # of a pool, in faces
            for index, parts in enumerate(self.epoch(epoch)):
                size = sum(len(part.rows) for part in parts)
                if skip < size:
                    rng = np.random.default_rng((self.seed, ROWS, epoch, index))
                    yield Pool(parts, self._within(parts, size, start, rng)[skip:])
                skip, start = max(0, skip - size), start + size
            epoch += 1

    def _within(
        self, parts: Sequence[Part], size: int, start: int, rng: np.random.Generator
    ) -> Int[np.ndarray, " face"]:
        if self.together is None:
            return rng.permutation(size)
        return by_identity(self.together.of(parts), self.together.faces, start, rng)


def by_identity(
    labels: Int[np.ndarray, " face"], together: int, start: int, rng: np.random.Generator
) -> Int[np.ndarray, " face"]:
    """A random order of a pool's faces in which slots of `together` are one identity's.

    A slot begins at a multiple of `together` in the whole stream, of which the pool is the faces
    from `start` on: so a batch of a multiple has no part of one. Of an identity, the faces beyond
    whole slots, and those of nobody, share slots, and the ends of the pool where no slot fits.
    """
    shuffled = rng.permutation(len(labels))
    faces = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by identity, each in disorder
    found, first, counts = np.unique(labels[faces], return_index=True, return_counts=True)
    rank = np.arange(len(faces)) - np.repeat(first, counts)
    whole = np.repeat(np.where(found >= 0, counts // together * together, 0), counts)
    slots = faces[rank < whole].reshape(-1, together)
    left = faces[rank >= whole]
    keys = np.where(
        labels[left] >= 0, labels[left], found.max(initial=0) + 1 + np.arange(len(left))
    )
    left = left[_shuffled_as_one(keys, rng)]
    lead = min(-start % together, len(labels))
    if len(left) < lead:  # everybody's faces fill slots: one of them is broken up
        slots, left = slots[:-1], np.concatenate([left, slots[-1]])
    more = (len(left) - lead) // together * together
    slots = np.concatenate([slots, left[lead : lead + more].reshape(-1, together)])
    middle = slots[rng.permutation(len(slots))].ravel()
    return np.concatenate([left[:lead], middle, left[lead + more :]])


def _shuffled_as_one(
    keys: Int[np.ndarray, " face"], rng: np.random.Generator
) -> Int[np.ndarray, " face"]:
    """Places in random order, those of one key next to each other."""
    found, places = np.unique(keys, return_inverse=True)
    return np.argsort(rng.permutation(len(found))[places], kind="stable")


def _parts(source: int, rows: Int[np.ndarray, " row"]) -> Iterator[Part]:
    """Rows of a source by the block that they lie in."""
    blocks = rows // CHUNK_ROWS
    for own in np.split(rows, np.flatnonzero(np.diff(blocks)) + 1):
        if len(own):
            yield Part(source, int(own[0]) // CHUNK_ROWS * CHUNK_ROWS, own)
