"""The numbers behind the report's figures: training, ROC and regions."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from eval.reporting.benchmarks import subjects_of
from eval.reporting.summary import RunLog
from eval.scoring.intervals import PairSubjects, at_least, identity_bootstrap, wilson
from eval.scoring.roc import RankedPairs, roc
from eval.scoring.scored import ScoredPairs, read_scores
from manifests.core.errors import InputError
from manifests.records.gaps import GapTable

ROC_POINTS = 400
BAND_RESAMPLES = 400


@dataclass(frozen=True)
class TrainingPoint:
    """A row of training.csv; `faces_seen` runs on from one run to the next."""

    run: str
    faces_seen: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class Roc:
    """A row of roc.csv for every point: operating points that the scores allow, FAR rising."""

    benchmark: str
    model: str  # student or teacher
    far: Float[np.ndarray, " point"]
    tar: Float[np.ndarray, " point"]
    num_impostors: int
    band: Float[np.ndarray, "2 point"] | None = None  # the 95 % interval of every TAR at its FAR


@dataclass(frozen=True)
class RegionGap:
    """The probe's faces in one region, and their mean gap before and after mining."""

    region: int
    num_faces: int
    before: float
    after: float
    mined: bool  # parents were drawn from it


def training_curve(chain: Sequence[RunLog]) -> list[TrainingPoint]:
    """The logged losses of all runs, in order; a run that trained on nothing adds none."""
    points, before = [], 0
    for run in chain:
        for line in run.log["history"]:
            seen = before + int(line["faces_seen"])
            points.append(TrainingPoint(run.name, seen, line["loss"], line["learning_rate"]))
        before = int(run.student["faces_seen"])
    return points


def roc_points(
    scores: Float[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"], limit: int = ROC_POINTS
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """FAR and the best TAR at it: at most `limit` points, evenly spread over log FAR."""
    curve = roc(scores, same)
    last = np.append(np.diff(curve.far) > 0, True)  # of the thresholds with equal FAR the lowest
    far, tar = curve.far[last], curve.tar[last]
    if len(far) <= limit:
        return far, tar
    wanted = np.append(0.0, np.geomspace(far[1], 1.0, limit - 1))
    chosen = np.unique(np.searchsorted(far, wanted).clip(max=len(far) - 1))
    return far[chosen], tar[chosen]


def read_roc(folder: Path, benchmark: str, model: str, *, with_band: bool = False) -> Roc:
    """The curve of the scores.parquet in `folder`; a band takes as long as all other figures."""
    pairs, facts = read_scores(folder / "scores.parquet")
    far, tar = roc_points(pairs.score, pairs.same)
    rule = facts.get("subject_rule", "image")
    band = tar_band(pairs, subjects_of(pairs, rule), far, tar) if with_band else None
    return Roc(benchmark, model, far, tar, int((~pairs.same).sum()), band)


def tar_band(
    pairs: ScoredPairs,
    subjects: PairSubjects,
    far: Float[np.ndarray, " point"],
    tar: Float[np.ndarray, " point"],
) -> Float[np.ndarray, "2 point"]:
    """The 95 % interval of the TAR at each FAR, the threshold moving with the people drawn; never
    narrower than Wilson's."""
    ranked = RankedPairs.of(pairs.score, pairs.same)

    def statistic(weights: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " point"]:
        curve = ranked.curve(weights)
        return curve.tar[[curve.at_far(rate) for rate in far.tolist()]]

    resampled = identity_bootstrap(statistic, subjects, resamples=BAND_RESAMPLES)
    genuine = int(pairs.same.sum())
    ends = [
        at_least(resampled.interval(place), wilson(round(value * genuine), genuine))
        for place, value in enumerate(tar.tolist())
    ]
    return np.array(ends).T


def region_gaps(before: GapTable, after: GapTable, mined: Collection[int]) -> list[RegionGap]:
    """Every region that holds a face of the probe, the largest gap before first.

    `before` has its regions filled in; `mined` are those that parents came from. Both tables
    must be of the same faces.
    """
    if not np.array_equal(before.face_id, after.face_id):
        raise InputError("the gap tables before and after hold other faces; run gap again")
    means = [(table.gap.astype(np.float64) + table.flip_gap) / 2 for table in (before, after)]
    regions = []
    for number in np.unique(before.region):
        inside = before.region == number
        old, new = (float(mean[inside].mean()) for mean in means)
        region = RegionGap(int(number), int(inside.sum()), old, new, int(number) in mined)
        regions.append(region)
    return sorted(regions, key=lambda region: -region.before)


def mean_gaps(regions: Iterable[RegionGap]) -> tuple[float, float] | None:
    """Mean gap before and after over the faces of `regions`; None where there are none."""
    rows = [(region.before, region.after, region.num_faces) for region in regions]
    if not rows:
        return None
    before, after, weights = np.array(rows).T
    return float(np.average(before, weights=weights)), float(np.average(after, weights=weights))


def training_csv(points: Iterable[TrainingPoint]) -> str:
    return _csv(["run", "faces_seen", "loss", "learning_rate"], map(astuple, points))


def roc_csv(curves: Iterable[Roc]) -> str:
    rows = (
        (curve.benchmark, curve.model, *(f"{value:.6g}" for value in point))
        for curve in curves
        for point in zip(curve.far, curve.tar, *_ends(curve), strict=True)
    )
    return _csv(["benchmark", "model", "far", "tar", "tar_low", "tar_high"], rows)


def _ends(curve: Roc) -> Float[np.ndarray, "2 point"]:
    """Of its band; the curve itself where it has none."""
    return np.stack([curve.tar, curve.tar]) if curve.band is None else curve.band


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
