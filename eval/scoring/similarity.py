"""How alike two embeddings are, by the metric that their model declares; higher is more alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.scoring.scored import ScoredPairs, check_pairs
from manifests.photographs.columns import Names
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import subject_of
from pipeline.arrays.neighbours import unit_rows

BLOCK = 1024  # rows a side: a block of float64 scores is 8 MB
PAIRS = 1 << 14  # scored at a time


def prepared(rows: Float[np.ndarray, "face width"], metric: str) -> Float[np.ndarray, "face width"]:
    """Embeddings as the metric compares them, in their own dtype: of unit length for cosine, raw
    for euclidean."""
    return unit_rows(rows) if metric == "cosine" else rows


def similarity(
    left: Float[np.ndarray, "pair width"], right: Float[np.ndarray, "pair width"], metric: str
) -> Float[np.ndarray, " pair"]:
    """Of prepared embeddings, in double precision: cosine, or the negated Euclidean distance."""
    one, other = (side.astype(np.float64, copy=False) for side in (left, right))
    if metric == "cosine":
        return (one * other).sum(axis=-1)
    return -np.linalg.norm(one - other, axis=-1)


def score_pairs(
    benchmark: Benchmark,
    names: Sequence[str],
    rows: Float[np.ndarray, "name width"],
    failed: Bool[np.ndarray, " name"],
    metric: str,
) -> ScoredPairs:
    """Every pair of the benchmark, from the embeddings of what it compares; a pair has failed where
    one of its sides has.

    Raises InputError for scores that are not finite.
    """
    row_of = {name: row for row, name in enumerate(names)}
    sides = (Names.of(side) for side in (benchmark.left, benchmark.right))
    left, right = (
        np.array([row_of.get(name, -1) for name in side.names])[side.codes] for side in sides
    )
    used, place = np.unique(np.concatenate([left, right]), return_inverse=True)
    one, other = place.reshape(2, -1)
    ready, score = prepared(rows[used].astype(float), metric), np.empty(len(left))
    for at in range(0, len(left), PAIRS):
        part = slice(at, at + PAIRS)
        score[part] = similarity(ready[one[part]], ready[other[part]], metric)
    check_pairs(score, benchmark.same)
    return ScoredPairs(
        np.arange(len(score)), benchmark.fold, benchmark.left, benchmark.right, benchmark.same,
        score, failed[left] | failed[right], benchmark.group,
    )  # fmt: skip


@dataclass(frozen=True)
class Faces:
    """Embeddings with the subject of each; two galleries number their subjects alike."""

    embeddings: Float[np.ndarray, "face width"]
    subject: Int[np.ndarray, " face"]

    def __len__(self) -> int:
        return len(self.subject)


def faces_of(
    benchmark: Benchmark,
    names: Sequence[str],
    rows: Float[np.ndarray, "compared width"],
    metric: str,
    rule: str,
) -> Faces:
    """The named ones of what the benchmark compares, prepared, in double precision; subjects are
    numbered alike in every call."""
    compared = benchmark.compared
    number = np.unique([subject_of(name, rule) for name in compared], return_inverse=True)[1]
    place = {name: row for row, name in enumerate(compared)}
    chosen = np.array([place[name] for name in names])
    return Faces(prepared(rows[chosen].astype(np.float64), metric), number[chosen])


@dataclass(frozen=True)
class Block:
    """Scores of some probes against some of the gallery."""

    row: int  # of the first probe
    column: int  # of the first gallery face
    scores: Float[np.ndarray, "probe gallery"]


def score_blocks(
    probes: Float[np.ndarray, "probe width"],
    gallery: Float[np.ndarray, "gallery width"],
    metric: str,
    *,
    block: int = BLOCK,
    upper: bool = False,
) -> Iterator[Block]:
    """All scores (higher: more alike), a block at a time, row by row of blocks.

    `metric` is cosine (embeddings are of unit length) or euclidean (negated distances).
    With `upper` only blocks that reach above the diagonal.
    """
    squares = [(side**2).sum(axis=1) for side in (probes, gallery)]
    for row in range(0, len(probes), block):
        for column in range(row if upper else 0, len(gallery), block):
            rows, columns = slice(row, row + block), slice(column, column + block)
            scores = probes[rows] @ gallery[columns].T
            if metric != "cosine":
                scores *= -2.0
                scores += squares[0][rows, None]
                scores += squares[1][columns]
                scores = -np.sqrt(np.maximum(scores, 0.0, out=scores))
            yield Block(row, column, scores)
