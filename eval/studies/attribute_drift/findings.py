"""What one annotator's attributes tell of synthetic faces beside one set of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool

from eval.attributes.coverage import NUM_DRAWS as MARGINAL_DRAWS
from eval.attributes.coverage import FaceSet, compare, lacking, why_not
from eval.attributes.divergence import (
    Sample,
    bin_of,
    estimate,
    kl_divergence,
    sample_of,
    smoothed,
    split,
)
from eval.studies.attribute_drift.explanation import NUM_DRAWS, Coded, Explanation, coded, explain
from eval.studies.attribute_drift.joint import (
    ALL_PARTS,
    Cut,
    cells_of,
    cut,
    joint_of_many,
    lacking_together,
    pairs_of,
)
from manifests.core.errors import InputError
from manifests.records.attributes import Attribute

SEED = 2027
MOST_LISTED = 24  # of lacking bins, lacking cells and pairs
MOST_ATTRIBUTES = 12  # that are looked at two by two: the furthest ones


def find(
    attributes: Sequence[Attribute], real: FaceSet, synthetic: FaceSet, *, strict: bool
) -> dict[str, Any]:
    """Marginal and joint divergences, what explains what, and what is lacking.

    With `strict` an attribute that cannot be compared is an InputError.
    """
    reasons = {own.name: why_not(own, [real, synthetic]) for own in attributes}
    for name, reason in reasons.items():
        if reason and strict:
            raise InputError(f"attribute {name}: {reason}; take it out of `attributes`")
    compared = [own for own in attributes if not reasons[own.name]]
    found = {own.name: compare(own, real, synthetic) for own in compared}
    ranked = sorted(compared, key=lambda own: -found[own.name]["kl_real_synthetic"]["value"])
    furthest = ranked[:MOST_ATTRIBUTES]
    gaps = [gap for own in compared for gap in lacking(own, real, synthetic)]
    return {
        "sources": real.facts()["sources"],
        "attributes": found,
        "not_compared": {name: reason for name, reason in reasons.items() if reason},
        "explanation": explanations(compared, real, synthetic),
        "joint": joint_finding(ranked, real, synthetic),
        "pairs": pairs_of(furthest, real, synthetic)[:MOST_LISTED],
        "lacking": sorted(gaps, key=lambda gap: -gap["kl_term"])[:MOST_LISTED],
        "lacking_together": lacking_together(furthest, real, synthetic)[:MOST_LISTED],
    }


def explanations(
    attributes: Sequence[Attribute], real: FaceSet, synthetic: FaceSet
) -> dict[str, Any] | None:
    """Which set explains the other, attribute by attribute and in all; None without any."""
    if not attributes:
        return None
    sets = [by_bins(attributes, faces) for faces in (real, synthetic)]
    each, whole, num_faces = explain(*sets, num=NUM_DRAWS, rng=np.random.default_rng(SEED))
    return {
        "num_faces": num_faces,
        "draws": NUM_DRAWS,
        "attributes": {own.name: told(found) for own, found in zip(attributes, each, strict=True)},
        "all": told(whole),
    }


def told(found: Explanation) -> dict[str, Any]:
    return asdict(found) | {"verdict": found.verdict}


def by_bins(attributes: Sequence[Attribute], faces: FaceSet) -> Coded:
    """Faces by the bins that the attributes declare."""
    columns = [bin_of(faces.column(own.name), own.edges) for own in attributes]
    return coded(columns, [len(own.edges) + 1 for own in attributes], faces.person)


def joint_finding(
    ranked: Sequence[Attribute], real: FaceSet, synthetic: FaceSet
) -> dict[str, Any] | None:
    """Several attributes in one histogram, and which set explains the other there."""
    found = joint_of_many(ranked, real, synthetic)
    if found is None or found["why_not"]:
        return found
    cuts = [cut(own, (real, synthetic), ALL_PARTS) for own in ranked[: len(found["attributes"])]]
    sets = [_by_cells(cuts, faces) for faces in (real, synthetic)]
    (own,), _, num_faces = explain(*sets, num=NUM_DRAWS, rng=np.random.default_rng(SEED))
    return found | {"explanation": told(own) | {"num_faces": num_faces}}


def _by_cells(cuts: Sequence[Cut], faces: FaceSet) -> Coded:
    return coded([cells_of(cuts, faces)], [int(np.prod([c.parts for c in cuts]))], faces.person)


def checks(attributes: Sequence[Attribute], faces: FaceSet) -> dict[str, Any]:
    """What the measure gives where the answer is known, on real tables: random halves of a set
    (0, within the interval), and a copy in which some faces are there twice (computed by hand)."""
    able = [own for own in attributes if not why_not(own, [faces])]
    return {
        own.name: {"halves": halves(own, faces), "doubled": doubled(own, faces)} for own in able
    }


def halves(attribute: Attribute, faces: FaceSet) -> dict[str, Any]:
    """D(one half || the other), of people dealt at random."""
    rng = np.random.default_rng([SEED, *attribute.name.encode()])
    whole = _sample(attribute, faces, np.ones(len(faces), bool))
    first = np.isin(faces.person, rng.permutation(np.unique(faces.person))[::2])
    one, other = (_sample(attribute, faces, side) for side in (first, ~first))
    found = estimate(kl_divergence, one, other, num=MARGINAL_DRAWS, rng=rng)
    parted = split(whole, whole.num_people // 2, MARGINAL_DRAWS, rng)
    null = float(np.quantile(kl_divergence(*map(smoothed, parted)), 0.95))
    return {"value": found.value, "ci95": list(found.ci95), "null": null}


def _sample(attribute: Attribute, faces: FaceSet, side: Bool[np.ndarray, " face"]) -> Sample:
    bins = bin_of(faces.column(attribute.name), attribute.edges)
    return sample_of(np.where(side, bins, -1), faces.person, len(attribute.edges) + 1)


def doubled(attribute: Attribute, faces: FaceSet) -> dict[str, Any]:
    """Divergences from and to a copy in which the faces above the median's bin are there twice.

    By hand: with a share a of such faces, the copy has 2 p / (1 + a) of each of their bins and
    p / (1 + a) of the others, so that D(set || copy) = ln(1 + a) - a ln 2.
    """
    bins = bin_of(faces.column(attribute.name), attribute.edges)
    counts = np.bincount(bins[bins >= 0], minlength=len(attribute.edges) + 1)
    middle = int(np.searchsorted(counts.cumsum(), counts.sum() / 2))
    copy = np.where(np.arange(len(counts)) > middle, 2, 1) * counts
    share = float(counts[middle + 1 :].sum() / counts.sum())
    there, back = by_hand(share)
    p, q = smoothed(counts), smoothed(copy)
    return {
        "share": share,
        "set_copy": {"value": float(kl_divergence(p, q)), "by_hand": there},
        "copy_set": {"value": float(kl_divergence(q, p)), "by_hand": back},
    }


def by_hand(share: float) -> tuple[float, float]:
    """D(set || copy) and D(copy || set) where that share of a set is there twice in the copy."""
    whole = 1 + share
    back = 2 * share / whole * np.log(2 / whole) - (1 - share) / whole * np.log(whole)
    return float(np.log(whole) - share * np.log(2)), float(back)
