"""Batches from cached stores: blocks are read whole, rows are shuffled within a pool of them.

The order is a function of seed and epoch alone, so that training resumes at any step and sees
the same faces for any number of readers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from manifests.errors import InputError
from manifests.stores import CHUNK_ROWS, FaceStore, TeacherStore
from pipeline.frames import Frame

NO_ROWS = np.empty(0, int)
CHECKED_ROWS = 1 << 14  # targets looked at, at a time
BLOCKS, ROWS = 1, 2  # what a random stream is for, beside its seed
Block = tuple[int, int]  # (source, first row)


@dataclass(frozen=True)
class Source:
    """A round's faces with the embeddings of one teacher."""

    faces: FaceStore
    teacher: TeacherStore
    usable: Int[np.ndarray, " row"]  # rows that may be trained on, ascending
    targets: Float[np.ndarray, "face view width"]  # float16, raw, all rows


@dataclass(frozen=True)
class Batch:
    images: UInt8[Tensor, "batch stored stored 3"]
    targets: Float[Tensor, "batch view width"]  # raw embeddings of every stored view


def open_source(
    faces: FaceStore, teacher: TeacherStore, leave_out: Int[np.ndarray, " row"] = NO_ROWS
) -> Source:
    """A round to train on; rows of `leave_out` are there and not used."""
    usable = np.setdiff1d(np.flatnonzero(faces.ok()), leave_out)
    source = Source(faces, teacher, usable, teacher.embeddings())
    _check_targets(source)
    return source


def _check_targets(source: Source) -> None:
    """A face without an embedding would turn the whole student into NaN, far from its cause."""
    path, num_rows = source.teacher.path, len(source.targets)
    if num_rows != len(source.faces):
        raise InputError(
            f"{path}: {num_rows} rows, {source.faces.path} has {len(source.faces)}; embed it again"
        )
    for at in range(0, len(source.usable), CHECKED_ROWS):
        rows = source.usable[at : at + CHECKED_ROWS]
        finite = np.isfinite(source.targets[rows]).all(axis=(1, 2))
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


def check_one_teacher(sources: Sequence[Source]) -> None:
    """Raises InputError if the embeddings are not all one teacher's; warns if they were
    computed on unlike machines, whose low bits differ."""
    prints = [source.teacher.passport.fingerprint for source in sources]
    for source, made_by in zip(sources, prints, strict=True):
        if made_by.identity != prints[0].identity:
            raise InputError(
                f"{source.teacher.path}: embedded by another teacher, or another version of it, "
                f"than {sources[0].teacher.path}; embed the round again"
            )
        if made_by.numerics != prints[0].numerics:
            warnings.warn(
                f"{source.teacher.path}: computed with {made_by.numerics}, "
                f"{sources[0].teacher.path} with {prints[0].numerics}",
                stacklevel=2,
            )


def num_usable(sources: Sequence[Source]) -> int:
    return sum(len(source.usable) for source in sources)


class BatchStream:
    """An endless stream of batches that can start at any step."""

    def __init__(self, sources: Sequence[Source], *, batch: int, pool_rows: int, seed: int) -> None:
        if num_usable(sources) < batch:
            raise InputError(
                f"{num_usable(sources)} usable faces are fewer than one batch of {batch}"
            )
        self.sources, self.batch, self.seed = sources, batch, seed
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
        left = _Rows.none(self.sources)
        for rows in self._pools_from(epoch, skip):
            left = left.joined(rows)
            while len(left) >= self.batch:
                head, left = left.split(self.batch)
                yield Batch(torch.from_numpy(head.images), torch.from_numpy(head.targets).float())

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
        order = rng.permutation(len(rows))[first:]
        return _Rows(rows.images[order], rows.targets[order])

    def _read_block(self, block: Block) -> _Rows:
        source, start = self.sources[block[0]], block[1]
        stop = min(start + CHUNK_ROWS, len(source.faces))
        rows = self._rows_of(block)
        return _Rows(source.faces.images(start, stop)[rows - start], source.targets[rows])


@dataclass(frozen=True)
class _Rows:
    images: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def none(cls, sources: Sequence[Source]) -> _Rows:
        return cls(sources[0].faces.images(0, 0), sources[0].targets[:0])

    @classmethod
    def concatenate(cls, parts: Sequence[_Rows]) -> _Rows:
        images = np.concatenate([part.images for part in parts])
        return cls(images, np.concatenate([part.targets for part in parts]))

    def joined(self, other: _Rows) -> _Rows:
        return _Rows.concatenate([self, other]) if len(self) else other

    def split(self, count: int) -> tuple[_Rows, _Rows]:
        return (
            _Rows(self.images[:count], self.targets[:count]),
            _Rows(self.images[count:], self.targets[count:]),
        )
