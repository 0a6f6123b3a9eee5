"""Batches from cached stores, several rounds as one set.

The order is a function of seed and epoch alone (train.batching.order), so that training resumes
at any step and sees the same faces for any number of readers or processes.
Several threads read a pool of faces into memory that is laid out before: which reads what, and
when it is done, is of no consequence, for a row has its place.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from manifests.core.errors import InputError
from manifests.settings.objectives import IdentityPart
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import CHUNK_ROWS, FaceStore, TeacherStore
from pipeline.arrays.frames import Frame
from train.batching.order import Order, Part, Pool

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


NO_ROWS = np.empty(0, int)
NO_IDENTITY = -1
CHECKED_ROWS = 1 << 14  # targets looked at, at a time
AHEAD = 2  # batches that wait for the trainer


@dataclass(frozen=True)
class Source:
    """A round's faces with the embeddings of one or more teachers."""

    faces: FaceStore
    teachers: Mapping[str, TeacherStore]
    usable: Int[np.ndarray, " row"]  # rows that may be trained on, ascending
    targets: Mapping[str, Float[np.ndarray, "face view _"]]  # by teacher: float16, raw, all rows
    face_ids: Int[np.ndarray, " face"]  # -1 - row where the round came without its manifest
    identities: Int[np.ndarray, " face"]  # of the manifest; NO_IDENTITY where it names none


@dataclass(frozen=True)
class Batch:
    images: UInt8[Tensor, "batch stored stored 3"]
    targets: Mapping[str, Float[Tensor, "batch view _"]]  # by teacher: raw, every stored view
    labels: Int[Tensor, " batch"]  # 0 .. num_identities - 1 over all rounds, or NO_IDENTITY
    face_ids: Int[Tensor, " batch"]


def open_source(
    faces: FaceStore,
    teachers: Mapping[str, TeacherStore],
    leave_out: Int[np.ndarray, " row"] = NO_ROWS,
    manifest: LatentManifest | None = None,
) -> Source:
    """A round to train on; rows of `leave_out` are there and not used."""
    usable = np.setdiff1d(np.flatnonzero(faces.ok()), leave_out)
    targets = {name: _embeddings(teacher, faces) for name, teacher in teachers.items()}
    face_ids, identities = -1 - np.arange(len(faces)), np.full(len(faces), NO_IDENTITY)
    if manifest is not None:
        column = manifest.table["identity_id"].fill_null(NO_IDENTITY)
        face_ids, identities = manifest.face_id, column.to_numpy()
    source = Source(faces, teachers, usable, targets, face_ids, identities)
    for name in teachers:
        _check_targets(source, name)
    return source


def _embeddings(teacher: TeacherStore, faces: FaceStore) -> np.ndarray:
    if len(teacher) != len(faces):
        raise InputError(
            f"{teacher.path}: {len(teacher)} rows, {faces.path} has {len(faces)}; embed it again"
        )
    return teacher.embeddings()


def _check_targets(source: Source, teacher: str) -> None:
    """A face without an embedding would turn the whole student into NaN, far from its cause."""
    path = source.teachers[teacher].path
    for at in range(0, len(source.usable), CHECKED_ROWS):
        rows = source.usable[at : at + CHECKED_ROWS]
        finite = np.isfinite(source.targets[teacher][rows]).all(axis=(1, 2))
        if not finite.all():
            raise InputError(
                f"{path}: row {rows[np.argmin(finite)]} is a usable face, its embedding is not "
                f"finite; run `facestill check {path}`, then embed the round again"
            )


def stored_frame(sources: Sequence[Source]) -> Frame:
    """The frame that all sources keep their faces in."""
    frames = {Frame(**source.faces.frame) for source in sources}
    if len(frames) != 1:
        names = sorted(f"{frame.name} at {frame.size} px" for frame in frames)
        raise InputError(f"stores keep faces in unlike frames: {', '.join(names)}")
    return frames.pop()


def check_one_teacher(stores: Sequence[TeacherStore]) -> None:
    """Raises InputError if the embeddings are not all one teacher's; warns if they were
    computed on unlike machines, whose low bits differ."""
    prints = [store.passport.fingerprint for store in stores]
    for store, made_by in zip(stores, prints, strict=True):
        if made_by.identity != prints[0].identity:
            raise InputError(
                f"{store.path}: embedded by another teacher, or another version of it, "
                f"than {stores[0].path}; embed the round again"
            )
        if made_by.numerics != prints[0].numerics:
            warnings.warn(
                f"{store.path}: computed with {made_by.numerics}, "
                f"{stores[0].path} with {prints[0].numerics}",
                stacklevel=2,
            )


def num_usable(sources: Sequence[Source]) -> int:
    return sum(len(source.usable) for source in sources)


def identity_labels(sources: Sequence[Source]) -> list[Int[np.ndarray, " face"]]:
    """A label of every face, by source: the identities that usable faces have, numbered from 0
    in the order of rounds and of their ids. Two rounds share no identity."""
    labels, count = [], 0
    for source in sources:
        found = usable_identities(source)
        known = np.isin(source.identities, found)
        places = np.searchsorted(found, source.identities) + count
        labels.append(np.where(known, places, NO_IDENTITY))
        count += len(found)
    return labels


def usable_identities(source: Source) -> Int[np.ndarray, " identity"]:
    """Ids of the identities that usable faces of a round have, ascending."""
    found = np.unique(source.identities[source.usable])
    return found[found != NO_IDENTITY]


def num_identities(sources: Sequence[Source]) -> int:
    """Identities that margin heads tell apart."""
    return 1 + max((int(labels.max(initial=-1)) for labels in identity_labels(sources)), default=-1)


def only_part(source: Source, part: IdentityPart) -> Source:
    """The faces of every `parts`-th of a round's identities, counted from the `part`-th."""
    identities = np.unique(source.identities[source.identities != NO_IDENTITY])
    chosen = np.isin(source.identities, identities[part.part :: part.parts])
    return replace(source, usable=source.usable[chosen[source.usable]])


class BatchStream:
    """An endless stream of batches that can start at any step.

    `weights`: by source, how many times an epoch shows its faces; `readers`: threads.
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
    ) -> None:
        usable = [source.usable for source in sources]
        times = [1.0] * len(sources) if weights is None else weights
        self.order = Order(usable, times, pool_rows=pool_rows, seed=seed)
        if self.order.num_faces < batch:
            raise InputError(
                f"{self.order.num_faces} usable faces are fewer than one batch of {batch}; "
                "lower train.batch, or train on more rounds"
            )
        self.batch, self.readers = batch, readers
        self.sources = [
            Columns(source.faces, source.targets, labels, source.face_ids)
            for source, labels in zip(sources, identity_labels(sources), strict=True)
        ]

    def batches(self, first_step: int = 0) -> Generator[Batch, None, None]:
        """Batches from `first_step` on; a batch may span two pools or two epochs."""
        return ahead(self._batches(first_step), AHEAD)

    def _batches(self, first_step: int) -> Generator[Batch, None, None]:
        pools = self.order.pools(first_step * self.batch)
        left = no_rows(self.sources)
        with closing(read_pools(self.sources, pools, self.readers)) as reading:
            for rows, order in reading:
                at = 0
                if len(left):
                    at = self.batch - len(left)
                    left = left.followed_by(rows.take(order[:at]))
                    if len(left) < self.batch:
                        continue
                    yield batch_of(left)
                stop = at + (len(order) - at) // self.batch * self.batch
                for first in range(at, stop, self.batch):
                    yield batch_of(rows.take(order[first : first + self.batch]))
                left = rows.take(order[stop:])


def batch_of(rows: Rows) -> Batch:
    targets = {name: torch.from_numpy(each).float() for name, each in rows.targets.items()}
    images, labels, face_ids = map(torch.from_numpy, (rows.images, rows.labels, rows.face_ids))
    return Batch(images, targets, labels, face_ids)
