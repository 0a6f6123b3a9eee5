"""Batches from cached stores: blocks are read whole, rows are shuffled within a pool of them.

The order is a function of seed and epoch alone, so that training resumes at any step and sees
the same faces for any number of readers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from manifests.errors import InputError
from manifests.latents import LatentManifest
from manifests.stores import CHUNK_ROWS, FaceStore, TeacherStore
from pipeline.frames import Frame

NO_ROWS = np.empty(0, int)
NO_IDENTITY = -1
CHECKED_ROWS = 1 << 14  # targets looked at, at a time
BLOCKS, ROWS = 1, 2  # what a random stream is for, beside its seed
Block = tuple[int, int]  # (source, first row)


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
                f"finite; run `python -m manifests.verify {path}`, then embed the round again"
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


class BatchStream:
    """An endless stream of batches that can start at any step."""

    def __init__(self, sources: Sequence[Source], *, batch: int, pool_rows: int, seed: int) -> None:
        if num_usable(sources) < batch:
            raise InputError(
                f"{num_usable(sources)} usable faces are fewer than one batch of {batch}"
            )
        self.sources, self.batch, self.seed = sources, batch, seed
        self.labels = identity_labels(sources)
        self.pool_blocks = max(1, pool_rows // CHUNK_ROWS)
        self.blocks = [
            (index, start)
            for index, source in enumerate(sources)
            for start in sorted({int(row) // CHUNK_ROWS * CHUNK_ROWS for row in source.usable})
        ]

    def pools(self, epoch: int) -> list[list[Block]]:
        """The epoch's blocks in random order, in groups that are shuffled in memory."""
        order = np.random.default_rng((self.seed, BLOCKS, epoch)).permutation(len(self.blocks))
        blocks = [self.blocks[index] for index in order]
        return [
            blocks[at : at + self.pool_blocks] for at in range(0, len(blocks), self.pool_blocks)
        ]

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """Batches from `first_step` on; a batch may span two pools or two epochs."""
        per_epoch = num_usable(self.sources)
        epoch, skip = divmod(first_step * self.batch, per_epoch)
        left = self._rows((0, 0), NO_ROWS)
        for rows in self._pools_from(epoch, skip):
            left = left.joined(rows)
            while len(left) >= self.batch:
                head, left = left.split(self.batch)
                yield head.batch()

    def _pools_from(self, epoch: int, skip: int) -> Iterator[_Rows]:
        with ThreadPoolExecutor(1) as reader:  # reads the next pool while this one is trained on
            ahead = None
            for number, index, pool, first in self._schedule(epoch, skip):
                following = reader.submit(self._read, number, index, pool, first)
                if ahead is not None:
                    yield ahead.result()
                ahead = following

    def _schedule(self, epoch: int, skip: int) -> Iterator[tuple[int, int, list[Block], int]]:
        while True:
            for index, pool in enumerate(self.pools(epoch)):
                size = sum(len(self._rows_of(block)) for block in pool)
                if skip < size:
                    yield epoch, index, pool, skip
                skip = max(0, skip - size)
            epoch += 1

    def _rows_of(self, block: Block) -> np.ndarray:
        usable, start = self.sources[block[0]].usable, block[1]
        low, high = np.searchsorted(usable, (start, start + CHUNK_ROWS))
        return usable[low:high]

    def _read(self, epoch: int, index: int, pool: list[Block], first: int) -> _Rows:
        parts = [self._read_block(block) for block in pool]
        rows = _Rows.concatenate(parts)
        rng = np.random.default_rng((self.seed, ROWS, epoch, index))
        return rows.take(rng.permutation(len(rows))[first:])

    def _read_block(self, block: Block) -> _Rows:
        return self._rows(block, self._rows_of(block))

    def _rows(self, block: Block, rows: np.ndarray) -> _Rows:
        """Rows of one block, which is read whole."""
        source, start = self.sources[block[0]], block[1]
        stop = min(start + CHUNK_ROWS, len(source.faces)) if len(rows) else start
        return _Rows(
            source.faces.images(start, stop)[rows - start],
            {name: targets[rows] for name, targets in source.targets.items()},
            self.labels[block[0]][rows],
            source.face_ids[rows],
        )


@dataclass(frozen=True)
class _Rows:
    images: np.ndarray
    targets: Mapping[str, np.ndarray]
    labels: np.ndarray
    face_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def batch(self) -> Batch:
        targets = {name: torch.from_numpy(rows).float() for name, rows in self.targets.items()}
        tensors = (torch.from_numpy(rows) for rows in (self.labels, self.face_ids))
        return Batch(torch.from_numpy(self.images), targets, *tensors)

    def take(self, rows: np.ndarray | slice) -> _Rows:
        targets = {name: targets[rows] for name, targets in self.targets.items()}
        return _Rows(self.images[rows], targets, self.labels[rows], self.face_ids[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[_Rows]) -> _Rows:
        names = parts[0].targets
        return cls(
            np.concatenate([part.images for part in parts]),
            {name: np.concatenate([part.targets[name] for part in parts]) for name in names},
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.face_ids for part in parts]),
        )

    def joined(self, other: _Rows) -> _Rows:
        return _Rows.concatenate([self, other]) if len(self) else other

    def split(self, count: int) -> tuple[_Rows, _Rows]:
        return self.take(slice(None, count)), self.take(slice(count, None))
