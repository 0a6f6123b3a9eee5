"""How well identities are parted: figures over pairs of faces, as one network sees them.

Definitions: docs/IDENTITIES.md. Scores are cosines; a pair is accepted above the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.scoring.metrics import enough_impostors
from eval.scoring.roc import roc
from manifests.core.errors import InputError
from pipeline.arrays.neighbours import unit_rows

IMPOSTORS = 0  # what a random stream is for, beside its seed
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BLOCK = 1 << 11  # pairs whose vectors are gathered at a time: 2 MB of each side, in cache


@dataclass(frozen=True)
class Looks:
    """Faces of identities, as one network sees them."""

    units: Float[np.ndarray, "face width"]
    identity: Int[np.ndarray, " face"]
    reference: Int[np.ndarray, " face"]  # that the identity was made from

    def of(self, faces: Bool[np.ndarray, " face"]) -> Looks:
        return Looks(self.units[faces], self.identity[faces], self.reference[faces])


def genuine_pairs(identity: Int[np.ndarray, " face"]) -> Int[np.ndarray, "2 pair"]:
    """All pairs of faces of one identity."""
    order = np.argsort(identity, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(identity[order])) + 1)
    pairs = [group[np.stack(np.triu_indices(len(group), 1))] for group in groups]
    return np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), np.int64)


def impostor_pairs(
    identity: Int[np.ndarray, " face"], count: int, seed: int
) -> Int[np.ndarray, "2 pair"]:
    """`count` pairs of faces of unlike identities, drawn evenly and with replacement; all of
    them, each once, where there are no more.

    With faces in the order of their identities, a face's impostors that were not paired before
    are those after its identity's last: all pairs are numbered, and numbers are drawn.
    """
    order = np.argsort(identity, kind="stable")
    known = identity[order]
    after = np.searchsorted(known, known, side="right")  # where the next identity begins
    ends = np.cumsum(len(known) - after)  # of each face's numbers
    possible = int(ends[-1]) if len(ends) else 0
    if possible <= count:
        numbers = np.arange(possible)
    else:
        numbers = np.random.default_rng((seed, IMPOSTORS)).integers(0, possible, count)
    left = np.searchsorted(ends, numbers, side="right")
    right = len(known) - (ends[left] - numbers)
    return np.stack([order[left], order[right]])


def cosines_of(
    units: Float[np.ndarray, "face width"], pairs: Int[np.ndarray, "2 pair"]
) -> Float[np.ndarray, " pair"]:
    found = np.empty(pairs.shape[1])
    for at in range(0, len(found), BLOCK):
        left, right = pairs[:, at : at + BLOCK]
        found[at : at + BLOCK] = (units[left] * units[right]).sum(axis=1, dtype=np.float64)
    return found


def separability(
    genuine: Float[np.ndarray, " genuine"], impostor: Float[np.ndarray, " impostor"]
) -> dict[str, Any]:
    """EER, FMR100 and FMR1000 (the lowest FNMR at an FMR of at most 1 % and 0.1 %), Fisher's
    discriminant ratio, and means and standard deviations (ISO/IEC 19795; papers on synthetic
    identities). A rate with fewer than 10 impostors behind it is None.

    Raises InputError where one of the two kinds is missing.
    """
    if not len(genuine) or not len(impostor):
        raise InputError(
            f"{len(genuine)} genuine and {len(impostor)} impostor pairs; at least two identities, "
            "one of them with two faces, are needed"
        )
    scores = np.concatenate([genuine, impostor])
    curve = roc(scores, np.arange(len(scores)) < len(genuine))
    variance = genuine.var() + impostor.var()
    distance = (genuine.mean() - impostor.mean()) ** 2
    return {
        "eer": curve.eer(),
        **{
            name: 1.0 - curve.tar_at(fmr) if enough_impostors(len(impostor), fmr) else None
            for name, fmr in (("fmr100", 0.01), ("fmr1000", 0.001))
        },
        "fdr": float(distance / variance) if variance else None,
        "genuine": {"mean": float(genuine.mean()), "std": float(genuine.std())},
        "impostor": {"mean": float(impostor.mean()), "std": float(impostor.std())},
        "num_genuine": len(genuine),
        "num_impostors": len(impostor),
    }


def mean_faces(looks: Looks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(identity, its reference, its mean direction), one row an identity."""
    numbers, first, home = np.unique(looks.identity, return_index=True, return_inverse=True)
    total = np.zeros((len(numbers), looks.units.shape[1]))
    np.add.at(total, home, looks.units)
    return numbers, looks.reference[first], unit_rows(total)


def duplicates(looks: Looks, least_cosine: float) -> list[tuple[int, int, float]]:
    """(identity, the earlier one that it repeats most, cosine of their mean faces), for
    identities of unlike references."""
    numbers, reference, means = mean_faces(looks)
    found = []
    for at in range(1, len(numbers)):
        cosines = means[:at] @ means[at]
        cosines[reference[:at] == reference[at]] = -1.0
        closest = int(np.argmax(cosines))
        if cosines[closest] >= least_cosine:
            found.append((int(numbers[at]), int(numbers[closest]), float(cosines[closest])))
    return found


def identity_means(
    identity: Int[np.ndarray, " face"],
    pairs: Int[np.ndarray, "2 pair"],
    genuine: Float[np.ndarray, " pair"],
) -> Float[np.ndarray, " identity"]:
    """Mean genuine score of each identity with two faces or more: its spread within."""
    _, home = np.unique(identity[pairs[0]], return_inverse=True)
    return np.bincount(home, genuine) / np.maximum(np.bincount(home), 1)


def sibling_mean(looks: Looks) -> float | None:
    """Mean cosine of the mean faces of a reference's two sides; None without such pairs."""
    _, reference, means = mean_faces(looks)
    order = np.argsort(reference, kind="stable")
    twins = np.flatnonzero(np.diff(reference[order]) == 0)
    if not len(twins):
        return None
    return float((means[order[twins]] * means[order[twins + 1]]).sum(axis=1).mean())


@dataclass(frozen=True)
class Measured:
    """Figures and the scores that they come from."""

    figures: Mapping[str, Any]
    genuine: Float[np.ndarray, " genuine"]
    impostor: Float[np.ndarray, " impostor"]
    identity_means: Float[np.ndarray, " identity"]


def measure(looks: Looks, *, impostors: int, duplicate_cosine: float, seed: int) -> Measured:
    """Everything that is said of an identities round by one network."""
    pairs = genuine_pairs(looks.identity)
    genuine = cosines_of(looks.units, pairs)
    impostor = cosines_of(looks.units, impostor_pairs(looks.identity, impostors, seed))
    figures = separability(genuine, impostor)
    means = identity_means(looks.identity, pairs, genuine)
    repeated = duplicates(looks, duplicate_cosine)
    numbers = len(np.unique(looks.identity))
    spread = np.quantile(means, QUANTILES)
    return Measured(
        figures
        | {
            "num_faces": len(looks.identity),
            "num_identities": numbers,
            "identity_genuine_mean": {
                "std": float(means.std()),
                "quantiles": dict(zip(map(str, QUANTILES), spread.tolist(), strict=True)),
            },
            "sibling_mean": sibling_mean(looks),
            "duplicates": {
                "share": len(repeated) / numbers,
                "pairs": [list(pair) for pair in repeated[:20]],
            },
        },
        genuine,
        impostor,
        means,
    )
