"""Batches from cached stores, several rounds as one set.

The order is a function of seed and epoch alone (train.batching.order), so that training resumes
at any step and sees the same faces for any number of readers or processes.
Several threads read a pool of faces into memory that is laid out before: which reads what, and
when it is done, is of no consequence, for a row has its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from manifests.core.errors import InputError
from manifests.stores.reading import CHUNK_ROWS
from train.batching.order import Order, Part, Pool, Together
from train.batching.sources import Source, identity_labels

AHEAD = 2  # batches that wait for the trainer
Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Faces in memory with all that is known of them: a pool, or those of one step."""

    images: UInt8[Tensor, "face stored stored 3"]
    targets: Mapping[str, Float[Tensor, "face view _"]]  # by teacher: as stored, raw, every view
    labels: Int[Tensor, " face"]  # 0 .. num_identities - 1 over all rounds, or NO_IDENTITY
    face_ids: Int[Tensor, " face"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int[np.ndarray, " _"]) -> Batch:
        return _changed(lambda own: own[rows], self)

    def followed_by(self, other: Batch) -> Batch:
        return _changed(lambda *both: np.concatenate(both), self, other)


def _changed(change: Callable[..., np.ndarray], *batches: Batch) -> Batch:
    """All of it changed alike, in NumPy: a reader leaves torch's threads to the trainer."""

    def one(*tensors: Tensor) -> Tensor:
        return torch.from_numpy(change(*(tensor.numpy() for tensor in tensors)))

    return Batch(
        one(*(batch.images for batch in batches)),
        {name: one(*(batch.targets[name] for batch in batches)) for name in batches[0].targets},
        one(*(batch.labels for batch in batches)),
        one(*(batch.face_ids for batch in batches)),
    )


class BatchStream:
    """An endless stream of batches that can start at any step.

    `weights`: by source, how many times an epoch shows its faces; `readers`: threads;
    `faces_an_identity`: that lie together in a batch, a divisor of which it is.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        batch: int,
        pool_rows: int,
        seed: int,
        weights: Sequence[float] | None = None,
        readers: int = 2,
        faces_an_identity: int = 1,
    ) -> None:
        usable = [source.usable for source in sources]
        times = [1.0] * len(sources) if weights is None else weights
        self.sources, self.labels = sources, identity_labels(sources)
        together = Together(faces_an_identity, self.labels) if faces_an_identity > 1 else None
        self.order = Order(usable, times, pool_rows=pool_rows, seed=seed, together=together)
        if self.order.num_faces < batch:
            raise InputError(
                f"{self.order.num_faces} usable faces are fewer than one batch of {batch}; "
                "lower train.batch, or train on more rounds"
            )
        self.batch, self.readers = batch, readers

    def batches(self, first_step: int = 0) -> Generator[Batch, None, None]:
        """Batches from `first_step` on; a batch may span two pools or two epochs."""
        return ahead(self._batches(first_step), AHEAD)

    def _batches(self, first_step: int) -> Generator[Batch, None, None]:
        left: Batch | None = None  # of the pool before, fewer than a batch
        with closing(self._pools(self.order.pools(first_step * self.batch))) as pools:
            for faces, order in pools:
                at = 0
                if left:
                    at = self.batch - len(left)
                    left = left.followed_by(faces.take(order[:at]))
                    if len(left) < self.batch:
                        continue
                    yield left
                stop = at + (len(order) - at) // self.batch * self.batch
                for first in range(at, stop, self.batch):
                    yield faces.take(order[first : first + self.batch])
                left = faces.take(order[stop:])

    def _pools(
        self, pools: Iterator[Pool]
    ) -> Generator[tuple[Batch, Int[np.ndarray, " face"]], None, None]:
        """(faces, the order to see them in) of each pool; the next one is read in the meantime."""
        executor = ThreadPoolExecutor(self.readers)
        try:
            coming: deque[tuple[Batch, list[Future[None]], Pool]] = deque()
            for pool in pools:
                coming.append((*self._begin(pool.parts, executor), pool))
                if len(coming) > 1:
                    faces, reading, done = coming.popleft()
                    for each in reading:
                        each.result()
                    yield faces, done.order
        finally:
            executor.shutdown(cancel_futures=True)

    def _begin(
        self, parts: Sequence[Part], executor: ThreadPoolExecutor
    ) -> tuple[Batch, list[Future[None]]]:
        """The faces of a pool, whose pixels are there once all futures are."""

        def joined(columns: Sequence[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.concatenate([columns[p.source][p.rows] for p in parts]))

        sources, size = self.sources, int(self.sources[0].faces.frame["size"])
        ends = np.cumsum([len(part.rows) for part in parts])
        images = np.empty((int(ends[-1]), size, size, 3), np.uint8)
        reading = [
            executor.submit(
                read_block, sources[part.source], part, images[end - len(part.rows) : end]
            )
            for part, end in zip(parts, ends.tolist(), strict=True)
        ]
        targets = {
            name: joined([source.targets[name] for source in sources])
            for name in sources[0].targets
        }
        face_ids = joined([source.face_ids for source in sources])
        return Batch(torch.from_numpy(images), targets, joined(self.labels), face_ids), reading


def read_block(source: Source, part: Part, images: np.ndarray) -> None:
    """Puts the pixels of a part in their place. A block is read whole: it is one chunk."""
    stop = min(part.start + CHUNK_ROWS, len(source.faces))
    if len(part.rows) == stop - part.start:
        source.faces.images(part.start, stop, images)
        return
    block = source.faces.images(part.start, stop)
    np.take(block, part.rows - part.start, axis=0, out=images, mode="clip")


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
