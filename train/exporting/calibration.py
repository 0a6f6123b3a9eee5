"""Synthetic faces for an export: some of the training stores to calibrate on, those of the probe
to measure on; never more than a block of a store in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifests.stores.reading import CHUNK_ROWS, FaceStore
from pipeline.arrays.frames import Frame, to_frame

T = TypeVar("T")
Block = tuple[FaceStore, int]  # and its first row


def blocks_of(stores: Sequence[FaceStore]) -> list[Block]:
    """All blocks of rows, store after store."""
    return [(store, at) for store in stores for at in range(0, len(store), CHUNK_ROWS)]


def evenly(items: Sequence[T], count: int) -> list[T]:
    """`count` of them, evenly spaced, or all if they are fewer."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[int(place)] for place in places]


def num_faces(block: Block) -> int:
    """Usable faces of a block."""
    store, at = block
    return int(store.ok()[at : at + CHUNK_ROWS].sum())


def crops(blocks: Sequence[Block], seen: Frame) -> Iterator[Float[Tensor, "face 3 size size"]]:
    """The usable faces of each block, RGB in [0, 255], resampled to the frame `seen`."""
    usable: dict[str, np.ndarray] = {}
    for store, at in blocks:
        ok = usable.setdefault(store.root, store.ok())
        rows = np.flatnonzero(ok[at : at + CHUNK_ROWS])
        if len(rows):
            images = store.images(at, min(at + CHUNK_ROWS, len(store)))[rows]
            pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
            yield to_frame(pictures, Frame(**store.frame), seen)
