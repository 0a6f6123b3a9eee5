"""Nearest neighbours of many vectors, in the same order on any number of threads (FAISS).

Exact up to FLAT_ROWS rows; beyond them an inverted file (Johnson et al., arXiv 1702.08734),
whose cells are k-means clusters of a fixed seed.
"""

from __future__ import annotations

import faiss
import numpy as np
from jaxtyping import Float, Int

FLAT_ROWS = 200_000  # an exact search of as many takes minutes, one of millions takes hours
QUERIES = 4096  # searched at a time: their hits are in memory
PROBED = 32  # cells of the inverted file that a query looks into
SEED = 20


def unit_rows(rows: Float[np.ndarray, "*rows width"]) -> Float[np.ndarray, "*rows width"]:
    """Rows at length 1, in their own dtype; a row of zeros stays one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def nearest(
    base: Float[np.ndarray, "row width"], queries: Float[np.ndarray, "query width"], count: int
) -> tuple[Float[np.ndarray, "query k"], Int[np.ndarray, "query k"]]:
    """(squared Euclidean distances, rows of `base`) of the `count` nearest, nearest first, ties
    by row. Rows are -1 and distances infinite where an inverted file found fewer."""
    count = min(count, len(base))
    distances = np.empty((len(queries), count), np.float32)
    rows = np.empty((len(queries), count), np.int64)
    if not count or not len(queries):
        return distances, rows
    index = index_of(base)
    for at in range(0, len(queries), QUERIES):
        part = np.ascontiguousarray(queries[at : at + QUERIES], np.float32)
        found, hits = index.search(part, count)
        found = np.where(hits < 0, np.inf, np.maximum(found, 0.0))
        order = np.lexsort((hits, found), axis=1)
        distances[at : at + QUERIES] = np.take_along_axis(found, order, axis=1)
        rows[at : at + QUERIES] = np.take_along_axis(hits, order, axis=1)
    return distances, rows


def index_of(base: Float[np.ndarray, "row width"], flat_rows: int = FLAT_ROWS) -> faiss.Index:
    """An exact index of few rows, an inverted file of many."""
    width, rows = base.shape[1], np.ascontiguousarray(base, np.float32)
    flat = faiss.IndexFlatL2(width)
    if len(rows) <= flat_rows:
        flat.add(rows)
        return flat
    cells = int(4 * np.sqrt(len(rows)))
    index = faiss.IndexIVFFlat(flat, width, cells)
    index.cp.seed, index.cp.max_points_per_centroid = SEED, 64
    index.nprobe = min(PROBED, cells)
    index.train(rows)
    index.add(rows)
    return index


def disagreement(
    left: Float[np.ndarray, "row width"], right: Float[np.ndarray, "row other"], count: int
) -> Float[np.ndarray, " row"]:
    """Share of a row's `count` nearest neighbours by `left` that are none by `right`, 0..1.

    Two networks' unit embeddings of the same faces, of any widths. A face is not its own
    neighbour. Zeros where there are no others.
    """
    count = min(count, len(left) - 1)
    if count < 1:
        return np.zeros(len(left), np.float32)
    mine, theirs = (others(rows, count) for rows in (left, right))
    shared = np.array([len(np.intersect1d(a, b)) for a, b in zip(mine, theirs, strict=True)])
    return (1.0 - shared / count).astype(np.float32)


def others(rows: Float[np.ndarray, "row width"], count: int) -> Int[np.ndarray, "row k"]:
    """The `count` nearest of each row, fewer than there are, without itself; it may not come
    first where two are equal."""
    hits = nearest(rows, rows, count + 1)[1]
    own = hits == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True  # twins pushed it out: the farthest goes
    return hits[~own].reshape(len(rows), count)
