"""Sheets of faces: many small pictures in one WebP, cut out again by the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from manifests.stores.reading import CHUNK_ROWS, FaceStore

QUALITY = 75  # of WebP


@dataclass(frozen=True)
class Sheets:
    """How a set of sheets is laid out: place i lies on sheet i // (across²), row by row."""

    name: str
    side: int  # pixels of a face
    across: int  # faces in a row, and rows

    @property
    def capacity(self) -> int:
        return self.across**2

    def count(self, num_faces: int) -> int:
        return -(-num_faces // self.capacity)

    def file(self, number: int) -> str:
        return f"{self.name}-{number}.webp"


SMALL = Sheets("small", 48, 32)  # for the map and the shelves
MOST_PIXELS = 128  # a side of a face that is looked at by itself


def large_of(side: int) -> Sheets:
    """For single faces; a store's own pixels, where they are not too many."""
    return Sheets("large", min(side, MOST_PIXELS), 16)


def sheet(
    faces: UInt8[np.ndarray, "face size size 3"], layout: Sheets
) -> UInt8[np.ndarray, "height width 3"]:
    """At most a sheet full of faces; rows that no face begins are left away."""
    side, across = layout.side, layout.across
    rows = -(-len(faces) // across)
    canvas = np.zeros((rows * side, across * side, 3), np.uint8)
    for place, face in enumerate(faces):
        top, left = place // across * side, place % across * side
        small = Image.fromarray(face).resize((side, side), Image.Resampling.LANCZOS)
        canvas[top : top + side, left : left + side] = np.asarray(small)
    return canvas


def blocks_of(
    store: FaceStore, rows: Int[np.ndarray, " face"], size: int
) -> Iterator[UInt8[np.ndarray, "face size size 3"]]:
    """The pictures of `rows`, `size` at a time in their order, from a store read once from end to
    end: all of them are in memory."""
    pictures = np.empty((len(rows), *store.images(0, 0).shape[1:]), np.uint8)
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    for start in range(0, len(store), CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, len(store))
        low, high = np.searchsorted(ascending, (start, stop))
        if low < high:
            pictures[order[low:high]] = store.images(start, stop)[ascending[low:high] - start]
    for at in range(0, len(rows), size):
        yield pictures[at : at + size]
