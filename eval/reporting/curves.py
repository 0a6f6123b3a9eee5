"""The numbers behind the report's figures: training, ROC and regions."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from eval.reporting.summary import RunLog
from eval.scoring.roc import roc
from eval.scoring.scored import read_scores
from manifests.core.errors import InputError
from manifests.records.gaps import GapTable

ROC_POINTS = 400


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


def read_roc(folder: Path, benchmark: str, model: str) -> Roc:
    """The curve of the scores.parquet in `folder`."""
    pairs, _ = read_scores(folder / "scores.parquet")
    far, tar = roc_points(pairs.score, pairs.same)
    return Roc(benchmark, model, far, tar, int((~pairs.same).sum()))


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
        (curve.benchmark, curve.model, f"{far:.6g}", f"{tar:.6g}")
        for curve in curves
        for far, tar in zip(curve.far, curve.tar, strict=True)
    )
    return _csv(["benchmark", "model", "far", "tar"], rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
