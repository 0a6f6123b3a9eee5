"""Several attributes at once: two sets may agree in each and still differ in how they go together.

Histograms of many attributes have more cells than there are faces, so that each attribute is cut
into few parts first (an answer of yes or no stays as it is). The bounds are quantiles of both sets
mixed half and half: at one set's own, that set would lie evenly in its parts, and seem to be the
one that cannot be explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eval.attributes.coverage import FEWEST, LACKING, SEED, FaceSet, examples_of
from eval.attributes.divergence import (
    QUANTILES,
    SMOOTHING,
    Sample,
    estimate,
    kl_divergence,
    resample,
    sample_of,
    smoothed,
)
from manifests.records.attributes import Attribute

PAIR_PARTS, ALL_PARTS = 4, 2  # of an attribute, in pairs and in the joint of many
FACES_A_CELL = 5  # of the smaller set: a joint histogram has no more cells than such a share
MOST_JOINT = 8  # attributes of one histogram
NUM_DRAWS = 300


@dataclass(frozen=True)
class Cut:
    """An attribute in few parts: part i lies between bounds i - 1 and i."""

    attribute: Attribute
    bounds: tuple[float, ...]

    @property
    def parts(self) -> int:
        return len(self.bounds) + 1

    def part_of(self, values: Float[np.ndarray, " face"]) -> Int[np.ndarray, " face"]:
        """-1 where undefined; a bound belongs to the part above it."""
        found = np.searchsorted(np.asarray(self.bounds, np.float32), values, side="right")
        return np.where(np.isnan(values), -1, found)

    def range_of(self, part: int) -> tuple[float | None, float | None]:
        ends = [None, *self.bounds, None]
        return ends[part], ends[part + 1]


def cut(attribute: Attribute, sets: Sequence[FaceSet], parts: int) -> Cut:
    """An attribute cut where the mixture of the sets, each of equal weight, falls into parts of
    equal size; at its own edge where it has two bins. Values that many faces share make fewer
    parts."""
    if len(attribute.edges) == 3:
        return Cut(attribute, (attribute.edges[1],))
    columns = [faces.column(attribute.name) for faces in sets]
    known = [column[~np.isnan(column)] for column in columns]
    values = np.concatenate(known)
    weights = np.concatenate([np.full(len(own), 1 / len(own)) for own in known]) / len(known)
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weights[order])
    places = np.searchsorted(passed, np.arange(1, parts) / parts)
    bounds = np.unique(values[order][np.minimum(places, len(values) - 1)])
    bounds = bounds[bounds > values.min()]  # nothing lies below the least
    return Cut(attribute, tuple(map(float, bounds)))


def cells_of(cuts: Sequence[Cut], faces: FaceSet) -> Int[np.ndarray, " face"]:
    """The cell of each face in the product of the cuts, the last one's parts side by side; -1
    where one of the attributes is undefined."""
    cell = np.zeros(len(faces), np.int64)
    known = np.ones(len(faces), bool)
    for own in cuts:
        part = own.part_of(faces.column(own.attribute.name))
        cell, known = cell * own.parts + part, known & (part >= 0)
    return np.where(known, cell, -1)


def joint_sample(cuts: Sequence[Cut], faces: FaceSet) -> Sample:
    return sample_of(cells_of(cuts, faces), faces.person, _num_cells(cuts))


def _num_cells(cuts: Sequence[Cut]) -> int:
    return int(np.prod([own.parts for own in cuts]))


def marginals(
    shares: Float[np.ndarray, "*sets cell"], cuts: Sequence[Cut]
) -> list[Float[np.ndarray, "*sets part"]]:
    """Of a joint distribution, each attribute's own."""
    grid = shares.reshape(*shares.shape[:-1], *(own.parts for own in cuts))
    first = shares.ndim - 1
    axes = range(first, grid.ndim)
    return [grid.sum(axis=tuple(axis for axis in axes if axis != own)) for own in axes]


def by_dependence(
    p: Float[np.ndarray, "*sets cell"], q: Float[np.ndarray, "*sets cell"], cuts: Sequence[Cut]
) -> Float[np.ndarray, "*sets"]:
    """D(p || q) less the sum of the attributes' own divergences: what lies in how attributes go
    together. Below 0 where q's dependence is nearer to p than independence would be."""
    own = zip(marginals(p, cuts), marginals(q, cuts), strict=True)
    return np.asarray(kl_divergence(p, q) - np.sum([kl_divergence(a, b) for a, b in own], axis=0))


def compare_jointly(cuts: Sequence[Cut], real: FaceSet, synthetic: FaceSet) -> dict[str, Any]:
    """Divergences of a joint histogram both ways, and how much of each is dependence; or why
    there is none."""
    samples = [joint_sample(cuts, own) for own in (real, synthetic)]
    names = [own.attribute.name for own in cuts]
    facts = {"attributes": names, "bounds": [list(own.bounds) for own in cuts]}
    for faces, sample in zip((real, synthetic), samples, strict=True):
        defined, cells = int(sample.counts.sum()), _num_cells(cuts)
        if defined < max(FEWEST, cells) or sample.num_people < 2:
            why = f"{defined} faces of {faces.name} have all of them, for {cells} cells"
            return facts | {"why_not": why}
    rng = np.random.default_rng([SEED, *"+".join(names).encode()])
    one, other = samples
    return facts | {
        "why_not": None,
        "counts": {"real": one.counts.tolist(), "synthetic": other.counts.tolist()},
        "kl_real_synthetic": _one_way(one, other, cuts, rng),
        "kl_synthetic_real": _one_way(other, one, cuts, rng),
    }


def _one_way(
    first: Sample, second: Sample, cuts: Sequence[Cut], rng: np.random.Generator
) -> dict[str, Any]:
    found = estimate(kl_divergence, first, second, num=NUM_DRAWS, rng=rng)
    shares = smoothed(first.counts), smoothed(second.counts)
    return asdict(found) | {"by_dependence": float(by_dependence(*shares, cuts))}


def pairs_of(
    attributes: Sequence[Attribute], real: FaceSet, synthetic: FaceSet
) -> list[dict[str, Any]]:
    """Every two attributes together, those that differ most by dependence first."""
    cuts = [cut(own, (real, synthetic), PAIR_PARTS) for own in attributes]
    found = [compare_jointly(pair, real, synthetic) for pair in combinations(cuts, 2)]
    able = [own for own in found if own["why_not"] is None]
    return sorted(able, key=lambda own: -own["kl_real_synthetic"]["by_dependence"])


def joint_of_many(
    ranked: Sequence[Attribute], real: FaceSet, synthetic: FaceSet
) -> dict[str, Any] | None:
    """The first attributes of `ranked` in one histogram, as many as the smaller set has faces for;
    None where that is not two."""
    fewest = min(
        int((~np.isnan(faces.column(own.name))).sum())
        for faces in (real, synthetic)
        for own in ranked[:MOST_JOINT]
    ) if ranked else 0  # fmt: skip
    count = min(MOST_JOINT, int(np.log2(max(1, fewest // FACES_A_CELL))), len(ranked))
    if count < 2:
        return None
    cuts = [cut(own, (real, synthetic), ALL_PARTS) for own in ranked[:count]]
    return compare_jointly(cuts, real, synthetic)


def lacking_together(
    attributes: Sequence[Attribute], real: FaceSet, synthetic: FaceSet
) -> list[dict[str, Any]]:
    """Cells of two attributes of which synthetic faces have too little, though of neither part by
    itself: ranked by their term of the divergence."""
    cuts = [cut(own, (real, synthetic), PAIR_PARTS) for own in attributes]
    found = [gap for pair in combinations(cuts, 2) for gap in _lacking_cells(pair, real, synthetic)]
    return sorted(found, key=lambda gap: -gap["kl_term"])


def _lacking_cells(pair: Sequence[Cut], real: FaceSet, synthetic: FaceSet) -> list[dict[str, Any]]:
    samples = [joint_sample(pair, own) for own in (real, synthetic)]
    if min(sample.counts.sum() for sample in samples) < FEWEST or samples[0].num_people < 2:
        return []
    p, q = (smoothed(sample.counts) for sample in samples)
    rng = np.random.default_rng([SEED, *"&".join(own.attribute.name for own in pair).encode()])
    low, high = np.quantile(smoothed(resample(samples[0], NUM_DRAWS, rng)), QUANTILES, axis=0)
    rare = [a > LACKING * b for a, b in zip(marginals(p, pair), marginals(q, pair), strict=True)]
    alone = (rare[0][:, None] | rare[1][None, :]).ravel()
    cells = np.flatnonzero((low > LACKING * q) & (samples[0].counts > 0) & ~alone)
    return [
        {
            "attributes": [own.attribute.name for own in pair],
            "units": [own.attribute.unit for own in pair],
            "ranges": [
                list(o.range_of(at)) for o, at in zip(pair, _parts(cell, pair), strict=True)
            ],
            "real_share": float(p[cell]),
            "real_share_ci95": [float(low[cell]), float(high[cell])],
            "synthetic_share": float(q[cell]),
            "kl_term": float(p[cell] * np.log(p[cell] / q[cell])),
            "synthetic_examples": examples_of(synthetic, cells_of(pair, synthetic) == cell),
            "real_examples": examples_of(real, cells_of(pair, real) == cell),
        }
        for cell in cells.tolist()
    ]


def _parts(cell: int, pair: Sequence[Cut]) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(cell, [own.parts for own in pair])))


METHOD = {
    "smoothing": SMOOTHING, "draws": NUM_DRAWS, "parts_of_pairs": PAIR_PARTS,
    "parts_of_many": ALL_PARTS, "faces_a_cell": FACES_A_CELL,
}  # fmt: skip
