"""How near synthetic faces come to real ones: exact neighbours, shares and their intervals.

Scores are the teacher's own: cosine, or negated Euclidean distance; higher is more alike. FAISS
names candidates in float32; their scores are computed again in float64, and ties go by id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.scoring.intervals import at_least, wilson
from eval.scoring.similarity import similarity
from pipeline.arrays.neighbours import FLAT_ROWS, QUERIES, nearest

SLACK = 16  # candidates beside the wanted ones: float32 may order near ties otherwise
DRAWS, SEED = 1000, 2026
QUANTILES = (0.5, 0.99, 0.999)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a synthetic and a real face, the most alike first; ties by number, then row."""

    score: Float[np.ndarray, " pair"]
    face: Int[np.ndarray, " pair"]
    real: Int[np.ndarray, " pair"]  # row of the real faces

    def first(self, count: int) -> Pairs:
        order = np.lexsort((self.real, self.face, -self.score))[:count]
        return Pairs(self.score[order], self.face[order], self.real[order])

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(
            np.concatenate([self.score, other.score]),
            np.concatenate([self.face, other.face]),
            np.concatenate([self.real, other.real]),
        )


NO_PAIRS = Pairs(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Closest:
    """What a search of all synthetic faces among all real ones found."""

    best: Float[np.ndarray, " face"]  # score of each synthetic face with its nearest real one
    best_real: Int[np.ndarray, " face"]  # row of that one
    top: Pairs  # of all pairs
    covered: Float[np.ndarray, " real"]  # score of each real face with its nearest synthetic one


def closest(
    blocks: Iterable[tuple[Int[np.ndarray, " face"], Float[np.ndarray, "face width"]]],
    real: Float[np.ndarray, "real width"],
    metric: str,
    num_pairs: int,
    *,
    base_rows: int = FLAT_ROWS,
) -> Closest:
    """Searches synthetic faces, (numbers, prepared embeddings) a block at a time.

    Exact: of more than `base_rows` real faces as many at a time are searched, so that no
    approximate index is built. Memory is that of the real faces, one block and its candidates.
    Of exact ties beyond SLACK more candidates than are wanted, any may be named.
    """
    best, best_real, top = [np.empty(0)], [np.empty(0, np.int64)], NO_PAIRS
    covered = np.full(len(real), -np.inf)
    for numbers, rows in blocks:
        if not len(rows):
            continue
        scores, hits = _candidates(rows, real, metric, num_pairs + SLACK, base_rows)
        best.append(scores[:, 0])
        best_real.append(hits[:, 0])
        found = Pairs(scores.ravel(), np.repeat(numbers, hits.shape[1]), hits.ravel())
        top = (top + found.first(num_pairs)).first(num_pairs)
        back = _candidates(real, rows, metric, SLACK, base_rows)[0][:, 0]
        covered = np.maximum(covered, back)
    return Closest(np.concatenate(best), np.concatenate(best_real), top, covered)


def _candidates(
    queries: np.ndarray, base: np.ndarray, metric: str, count: int, base_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """(float64 scores, rows of `base`) of the `count` nearest of each query, ties by row."""
    parts = [
        _ranked(queries[at : at + QUERIES], base, metric, count, base_rows)
        for at in range(0, len(queries), QUERIES)
    ]
    scores, hits = zip(*parts, strict=True)
    return np.concatenate(scores), np.concatenate(hits)


def _ranked(
    queries: np.ndarray, base: np.ndarray, metric: str, count: int, base_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    starts = range(0, len(base), base_rows)
    found = [nearest(base[at : at + base_rows], queries, count)[1] + at for at in starts]
    hits = np.concatenate(found, axis=1)
    scores = np.stack([similarity(queries, base[column], metric) for column in hits.T], axis=1)
    order = np.lexsort((hits, -scores), axis=1)[:, :count]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(hits, order, axis=1)


def genuine_scores(
    real: Float[np.ndarray, "real width"], subject: Int[np.ndarray, " real"], metric: str
) -> Float[np.ndarray, " pair"]:
    """Scores of all pairs of two photographs of one person."""
    found = [np.empty(0)]
    order = np.argsort(subject, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(subject[order])) + 1):
        left, right = np.triu_indices(len(rows), 1)
        found.append(similarity(real[rows[left]], real[rows[right]], metric))
    return np.concatenate(found)


@dataclass(frozen=True)
class Share:
    """A share of faces with its 95 % interval."""

    count: int
    of: int
    value: float
    ci95: tuple[float, float]


def share(hits: Bool[np.ndarray, " face"], group: Int[np.ndarray, " face"]) -> Share:
    """The share of hits; groups of faces (an identity, a person) are resampled together, and the
    interval is never narrower than Wilson's."""
    count, of = int(hits.sum()), len(hits)
    plain = wilson(count, of)
    if not of:
        return Share(0, 0, 0.0, plain)
    groups = np.unique(group, return_inverse=True)[1]
    sizes = np.bincount(groups)
    inside = np.bincount(groups, weights=hits)
    rng = np.random.default_rng(SEED)
    draws = np.empty(DRAWS)
    for number in range(DRAWS):
        drawn = np.bincount(rng.integers(len(sizes), size=len(sizes)), minlength=len(sizes))
        draws[number] = (drawn @ inside) / (drawn @ sizes)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Share(count, of, count / of, at_least((float(low), float(high)), plain))


def distribution(scores: Float[np.ndarray, " face"]) -> dict[str, float]:
    """Mean, quantiles and the largest of best-match scores."""
    quantiles = {f"p{100 * q:g}": float(np.quantile(scores, q)) for q in QUANTILES}
    return {"mean": float(scores.mean()), **quantiles, "max": float(scores.max())}
