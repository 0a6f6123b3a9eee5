"""What a search of synthetic faces among photographs tells: figures of one teacher, and in what
several agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import spearmanr

from eval.scoring.allpairs import all_pairs_figures
from eval.scoring.metrics import MIN_FALSE_ACCEPTS
from eval.scoring.ranking import identify
from eval.scoring.roc import roc
from eval.scoring.scored import ScoredPairs
from eval.scoring.search import Closest, Pairs, distribution, genuine_scores, share
from eval.scoring.similarity import Faces
from manifests.core.errors import InputError

FMR = 1e-5
RADII = (0.5, 0.95)  # share of a person's pairs of photographs that lie within
MEDIAN = RADII[0]


@dataclass(frozen=True)
class Scale:
    """How alike a teacher finds two people, and one person twice: what a score is held against."""

    source: str  # the photographs or scores that it is of
    fmr: float
    impostor_pairs: int
    threshold: float  # at that FMR
    radii: Mapping[float, float]  # score that a share of a person's own pairs lie above

    @property
    def point(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "radii"}
        return own | {"wanted_fmr": FMR}


def scale_among(faces: Faces, metric: str, source: str) -> Scale:
    """Of all pairs of labelled, prepared faces: the threshold at an FMR of 1e-5, or at the lowest
    that 10 pairs of different people stand behind. Raises InputError as `impostor_pairs` does."""
    impostors = impostor_pairs(faces.subject, source)
    fmr = max(FMR, MIN_FALSE_ACCEPTS / impostors)
    (point,) = all_pairs_figures(faces, metric, [fmr])["tar_at_far"].values()
    genuine = genuine_scores(faces.embeddings, faces.subject, metric)
    return Scale(source, fmr, impostors, point["threshold"], _radii(genuine))


def scale_of(pairs: ScoredPairs, source: str) -> Scale:
    """The same of pairs that were scored. Raises InputError for too few impostors among them."""
    impostors = pairs.distinct_impostors
    if impostors <= MIN_FALSE_ACCEPTS:
        raise InputError(
            f"{source}: {impostors} pairs of different people, expected more than "
            f"{MIN_FALSE_ACCEPTS}; bring a result of more pairs"
        )
    fmr = max(FMR, MIN_FALSE_ACCEPTS / impostors)
    threshold = roc(pairs.score, pairs.same).threshold_at(fmr)
    return Scale(source, fmr, impostors, threshold, _radii(pairs.score[pairs.same]))


def _radii(genuine: Float[np.ndarray, " pair"]) -> dict[float, float]:
    return {radius: float(np.quantile(genuine, 1.0 - radius)) for radius in RADII}


def impostor_pairs(subject: Int[np.ndarray, " face"], source: str) -> int:
    """How many pairs are of different people. Raises InputError for too few to find a threshold,
    and where nobody is there twice."""
    sizes = np.unique(subject, return_counts=True)[1].astype(float)
    impostors = int((len(subject) ** 2 - (sizes**2).sum()) / 2)
    if impostors <= MIN_FALSE_ACCEPTS or sizes.max() < 2:
        raise InputError(
            f"{source}: {impostors} pairs of different people and at most {sizes.max():.0f} of "
            f"one person, expected more than {MIN_FALSE_ACCEPTS} and at least 2; bring more, or "
            "take the threshold from another set with --threshold-from"
        )
    return impostors


def figures(
    found: Closest, group: Int[np.ndarray, " face"], real: Faces, metric: str, scale: Scale
) -> dict[str, Any]:
    """All that follows from the search by one teacher. `group`: what each synthetic face was made
    together with; `real`: the photographs' faces, prepared."""
    other = identify(real, real, metric, itself=True).other
    sides = {"synthetic": (found.best, group), "real_other_person": (other, real.subject)}
    return {
        "operating_point": scale.point,
        "best_match": {
            name: distribution(best)
            | {
                "above_threshold": asdict(share(best > scale.threshold, together)),
                "above_genuine_median": asdict(share(best >= scale.radii[MEDIAN], together)),
            }
            for name, (best, together) in sides.items()
        },
        "coverage": {
            f"{radius:g}": {
                "score": score,
                "synthetic": asdict(share(found.covered >= score, real.subject)),
                "real_other_person": asdict(share(other >= score, real.subject)),
            }
            for radius, score in scale.radii.items()
        },
    }


@dataclass(frozen=True)
class Search:
    """What one teacher found, and the threshold that it was held against."""

    found: Closest
    threshold: float

    @property
    def above(self) -> Bool[np.ndarray, " face"]:
        return self.found.best > self.threshold


def agreement(searches: Mapping[str, Search]) -> dict[str, Any]:
    """In what all teachers agree, and every two: faces above their thresholds, best matches that
    are one photograph, pairs that all list among the most alike. The faces are the same."""
    every = list(searches.values())
    return {
        "above_threshold": {
            "all": int(np.logical_and.reduce([own.above for own in every]).sum()),
            "any": int(np.logical_or.reduce([own.above for own in every]).sum()),
        },
        "same_best_match": _share_alike([own.found.best_real for own in every]),
        "top_pairs": {
            "all": len(set.intersection(*(_named(own.found.top) for own in every))),
            "each": len(every[0].found.top.score),
        },
        "by_two": {
            f"{one} and {other}": {
                "rank_correlation": rank_correlation(
                    searches[one].found.best, searches[other].found.best
                ),
                "above_threshold": int((searches[one].above & searches[other].above).sum()),
            }
            for one, other in combinations(searches, 2)
        },
    }


def _share_alike(columns: Sequence[Int[np.ndarray, " face"]]) -> float:
    first, *rest = columns
    return float(np.logical_and.reduce([first == own for own in rest]).mean())


def _named(top: Pairs) -> set[tuple[int, int]]:
    return set(zip(top.face.tolist(), top.real.tolist(), strict=True))


def rank_correlation(one: Float[np.ndarray, " face"], other: Float[np.ndarray, " face"]) -> float:
    """Spearman's; 0 where one side is the same for all."""
    if min(np.ptp(one), np.ptp(other)) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)
