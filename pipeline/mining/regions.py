"""Regions: clusters of the pool's centred teacher embeddings, and how hard each one is.

A region's hardness is the mean gap of the probe's faces in it, shrunken towards the overall
mean; it is hard where that mean is significantly above the rest's (slice discovery with a
false discovery rate: Benjamini and Hochberg 1995). Mining is
done when no region is, or when there is too little to gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from manifests.core.errors import InputError
from manifests.records.gaps import GapTable
from manifests.settings.params import Mine
from pipeline.mining.mining_laws import AS_PUBLISHED

ITERATIONS = 20
ROWS = 1 << 16  # assigned at a time
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Region:
    """A cluster of faces and how far the student is from the teacher in it."""

    region: int
    num_faces: int  # of the probe
    mean_gap: float
    shrunken_gap: float
    ci95: tuple[float, float]  # of the shrunken gap
    p_value: float  # of not being worse than the rest; one-sided Welch test
    hard: bool


def find_regions(
    embeddings: Float[np.ndarray, "face width"], count: int, seed: int, points: int
) -> Float[np.ndarray, "region width"]:
    """Unit centroids of a spherical k-means over unit rows, which must come in a fixed order.

    `points`: faces of a region that k-means looks at, drawn by `seed` where there are more.
    Raises InputError for fewer faces than regions.
    """
    if len(embeddings) < count:
        raise InputError(
            f"{count} regions of {len(embeddings)} usable pool faces; lower mine.regions in "
            "params.yaml or enlarge sample.pool"
        )
    kmeans = faiss.Kmeans(
        embeddings.shape[1], count, niter=ITERATIONS, seed=seed, spherical=True,
        max_points_per_centroid=points, min_points_per_centroid=1,
    )  # fmt: skip
    kmeans.train(np.ascontiguousarray(embeddings, np.float32))
    return np.asarray(kmeans.centroids)


def assign(
    embeddings: Float[np.ndarray, "face width"], centroids: Float[np.ndarray, "region width"]
) -> Int[np.ndarray, " face"]:
    """The region of the largest inner product, for each row."""
    home = np.empty(len(embeddings), np.int32)
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids, np.float32))
    for at in range(0, len(embeddings), ROWS):
        part = np.ascontiguousarray(embeddings[at : at + ROWS], np.float32)
        home[at : at + ROWS] = index.search(part, 1)[1][:, 0]
    return home


def measure_regions(
    gap: Float[np.ndarray, " face"], region: Int[np.ndarray, " face"], settings: Mine, count: int
) -> list[Region]:
    """Every region's gap on the probe, with its interval, and which ones are hard.

    The mean is pulled towards the overall mean as if `shrinkage` faces more had it: a small
    region is not hard because of two unlucky faces. A region of fewer than two faces, or gaps
    that are all equal, cannot be told from the rest.
    """
    sizes = np.bincount(region, minlength=count)
    sums = np.bincount(region, weights=gap, minlength=count)
    overall = float(gap.mean()) if len(gap) else 0.0
    means = np.divide(sums, sizes, out=np.full(count, overall), where=sizes > 0)
    weight = np.maximum(sizes + settings.shrinkage, 1e-12)
    shrunken = (sums + settings.shrinkage * overall) / weight
    shrunken[sizes + settings.shrinkage == 0] = overall
    half = Z95 * (gap.std(ddof=1) if len(gap) > 1 else 0.0) / np.sqrt(np.maximum(weight, 1.0))
    p_values = worse_than_the_rest(gap, region, count)
    hard = discoveries(p_values, settings.false_discovery_rate)
    return [
        Region(
            i, int(sizes[i]), float(means[i]), float(shrunken[i]),
            (float(shrunken[i] - half[i]), float(shrunken[i] + half[i])),
            float(p_values[i]), bool(hard[i]),
        )
        for i in range(count)
    ]  # fmt: skip


def worse_than_the_rest(
    gap: Float[np.ndarray, " face"], region: Int[np.ndarray, " face"], count: int
) -> Float[np.ndarray, " region"]:
    """One-sided p-values of Welch's t-test: a region's faces against all other faces."""
    p_values = np.ones(count)
    for number in range(count):
        inside = region == number
        ours, others = gap[inside], gap[~inside]
        # Not by their deviation: of equal floats it may be a rounding error, and "significant".
        if min(len(ours), len(others)) >= 2 and max(np.ptp(ours), np.ptp(others)) > 0:
            test = stats.ttest_ind_from_stats(
                *_moments(ours), *_moments(others), equal_var=False, alternative="greater"
            )
            p_values[number] = test.pvalue
    return p_values


def _moments(values: Float[np.ndarray, " face"]) -> tuple[float, float, int]:
    return float(values.mean()), float(values.std(ddof=1)), len(values)


def discoveries(p_values: Float[np.ndarray, " test"], rate: float) -> Bool[np.ndarray, " test"]:
    """Which hypotheses to reject so that a share of at most `rate` of them is rejected wrongly
    (Benjamini and Hochberg)."""
    return stats.false_discovery_control(p_values) <= rate


def gap(table: GapTable) -> Float[np.ndarray, " face"]:
    """1 - cosine to the teacher, the mean of both views: 0..2."""
    return (table.gap.astype(np.float64) + table.flip_gap) / 2


def margin(table: GapTable) -> Float[np.ndarray, " face"]:
    """How near the student comes to taking the face for another one: 1 where the nearest other
    face is as near as its own teacher embedding, above 1 where it is nearer."""
    return np.maximum(1.0 - table.impostor_margin.astype(np.float64), 0.0)


def neighbours(table: GapTable) -> Float[np.ndarray, " face"]:
    """Share of the teacher's nearest neighbours that are none of the student's: 0..1."""
    if not np.isfinite(table.neighbour_disagreement).all():
        raise InputError("mine.hardness neighbours: an older gap table; run gap again")
    return table.neighbour_disagreement.astype(np.float64)


HARDNESS: dict[str, Callable[[GapTable], np.ndarray]] = {
    "gap": gap,
    "margin": margin,
    "neighbours": neighbours,
}


@dataclass(frozen=True)
class Decision:
    """`reason` is empty where mining goes on."""

    reason: str
    expected_gain: float  # fall of the probe's mean gap if hard regions became like the rest

    @property
    def stop(self) -> bool:
        return bool(self.reason)


def decide(regions: Sequence[Region], settings: Mine) -> Decision:
    """Stops where no region is hard, or where the expected gain is below `least_gain`; never as
    published, where faces of all regions are moved."""
    gain = expected_gain(regions)
    if settings.law == AS_PUBLISHED:
        return Decision("", gain)
    if not any(region.hard for region in regions):
        return Decision("no region is significantly worse than the rest", 0.0)
    if gain < settings.least_gain:
        return Decision(
            f"the expected gain {gain:.4f} is below mine.least_gain {settings.least_gain:g}", gain
        )
    return Decision("", gain)


def expected_gain(regions: Sequence[Region]) -> float:
    """The most that hard regions can give: sum of (shrunken gap - mean of the rest), weighted by
    their share of the probe. New faces help the rest as well, which prior faces would, too."""
    total = sum(region.num_faces for region in regions)
    rest = [region for region in regions if not region.hard]
    num_rest = sum(region.num_faces for region in rest)
    if not total or not num_rest:
        return 0.0
    level = sum(region.mean_gap * region.num_faces for region in rest) / num_rest
    excess = (max(r.shrunken_gap - level, 0.0) * r.num_faces for r in regions if r.hard)
    return sum(excess) / total
