"""Scores of any pairs of images that were embedded for a benchmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from eval.benchmarks.base import Protocol
from eval.photos.embedding import Embedded
from eval.photos.models import Model
from eval.scoring.pooling import prepared
from eval.scoring.scored import ScoredPairs, parse_scores
from eval.scoring.verification import score_table
from manifests.photographs.protocols import Benchmark


def scores_of(
    pairs: Benchmark,
    protocol: Protocol,
    embedded: Embedded,
    views: str,
    detected: Bool[np.ndarray, " image"],
) -> tuple[pa.Table, ScoredPairs]:
    """`pairs`: of images of the protocol, for which `embedded` and `detected` have a row each."""
    images = protocol.benchmark.images
    scores = pair_scores(pairs, images, embedded.model, embedded.views[views])
    found = dict(zip(images, detected.tolist(), strict=True))
    failed = np.array([not found[name] for name in pairs.images])
    table = score_table(replace(protocol, benchmark=pairs), scores, failed)
    return table, parse_scores(table)


def pair_scores(
    pairs: Benchmark, images: list[str], model: Model, rows: Float[np.ndarray, "image width"]
) -> Float[np.ndarray, " pair"]:
    """`rows`: an embedding of each of `images`."""
    row_of = {name: row for row, name in enumerate(images)}
    sides = (np.array([row_of[name] for name in side]) for side in (pairs.left, pairs.right))
    ready = prepared(rows, model.metric)
    left, right = (ready[side] for side in sides)
    return model.similarity(left, right)
