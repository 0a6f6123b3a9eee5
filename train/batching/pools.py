"""Pools of faces read from stores by several threads, into memory that is laid out before.

Which thread reads what, and when it is done, is of no consequence: a row has its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int, UInt8

from manifests.stores.reading import CHUNK_ROWS, FaceStore
from train.batching.order import Part, Pool

Item = TypeVar("Item")


@dataclass(frozen=True)
class Columns:
    """A source as it is read: all that is said of a face lies in memory, but for its pixels."""

    faces: FaceStore
    targets: Mapping[str, Float[np.ndarray, "face view _"]]
    labels: Int[np.ndarray, " face"]
    face_ids: Int[np.ndarray, " face"]


@dataclass(frozen=True)
class Rows:
    """Faces in memory."""

    images: UInt8[np.ndarray, "face size size 3"]
    targets: Mapping[str, Float[np.ndarray, "face view _"]]
    labels: Int[np.ndarray, " face"]
    face_ids: Int[np.ndarray, " face"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int[np.ndarray, " _"]) -> Rows:
        targets = {name: targets[rows] for name, targets in self.targets.items()}
        return Rows(self.images[rows], targets, self.labels[rows], self.face_ids[rows])

    def followed_by(self, other: Rows) -> Rows:
        both = (self, other)
        return Rows(
            np.concatenate([rows.images for rows in both]),
            {name: np.concatenate([rows.targets[name] for rows in both]) for name in self.targets},
            np.concatenate([rows.labels for rows in both]),
            np.concatenate([rows.face_ids for rows in both]),
        )


def read_pools(
    sources: Sequence[Columns], pools: Iterator[Pool], readers: int
) -> Generator[tuple[Rows, Int[np.ndarray, " face"]], None, None]:
    """(rows, the order to see them in) of each pool; the next one is read in the meantime."""
    executor = ThreadPoolExecutor(readers)
    try:
        coming: deque[tuple[Rows, list[Future[None]], Pool]] = deque()
        for pool in pools:
            coming.append((*_begin(sources, pool.parts, executor), pool))
            if len(coming) > 1:
                rows, reading, done = coming.popleft()
                for each in reading:
                    each.result()
                yield rows, done.order
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(
    sources: Sequence[Columns], parts: Sequence[Part], executor: ThreadPoolExecutor
) -> tuple[Rows, list[Future[None]]]:
    """The rows of a pool, whose pixels are there once all futures are."""
    ends = np.cumsum([len(part.rows) for part in parts])
    images = np.empty((int(ends[-1]), *_shape(sources[0])), np.uint8)
    reading = [
        executor.submit(_read, sources[part.source], part, images[end - len(part.rows) : end])
        for part, end in zip(parts, ends.tolist(), strict=True)
    ]
    places = [(sources[part.source], part.rows) for part in parts]
    targets = {
        name: np.concatenate([source.targets[name][rows] for source, rows in places])
        for name in sources[0].targets
    }
    labels = np.concatenate([source.labels[rows] for source, rows in places])
    face_ids = np.concatenate([source.face_ids[rows] for source, rows in places])
    return Rows(images, targets, labels, face_ids), reading


def _read(source: Columns, part: Part, images: np.ndarray) -> None:
    """Puts the pixels of a part in their place. A block is read whole: it is one chunk."""
    stop = min(part.start + CHUNK_ROWS, len(source.faces))
    block = source.faces.images(part.start, stop)
    np.take(block, part.rows - part.start, axis=0, out=images, mode="clip")


def no_rows(sources: Sequence[Columns]) -> Rows:
    first = sources[0]
    targets = {name: targets[:0] for name, targets in first.targets.items()}
    return Rows(
        np.empty((0, *_shape(first)), np.uint8), targets, first.labels[:0], first.face_ids[:0]
    )


def _shape(source: Columns) -> tuple[int, int, int]:
    size = int(source.faces.frame["size"])
    return size, size, 3


def ahead(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """The same items, of which `depth` are made by a thread before they are asked for."""
    executor = ThreadPoolExecutor(1)
    try:
        coming = deque(executor.submit(next, items, None) for _ in range(depth))
        while (item := coming.popleft().result()) is not None:
            coming.append(executor.submit(next, items, None))
            yield item
    finally:
        executor.shutdown(cancel_futures=True)
        items.close()
