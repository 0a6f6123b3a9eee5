"""How well heads answer about people whom they were not trained on, and which are well enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from eval.attributes.divergence import QUANTILES
from manifests.core.progress import Bar

LEAST = 10  # held-out faces with either answer; of fewer an accuracy says nothing
NUM_DRAWS = 1000


@dataclass(frozen=True)
class HeadResult:
    """One head on the held-out faces of which its label is defined."""

    num_yes: int
    num_no: int
    accuracy: float | None  # None without such faces
    majority: float | None  # what answering everybody alike would give
    sensitivity: float | None  # share of those who have it, that are said to
    specificity: float | None  # share of the others, that are said not to
    balanced_accuracy: float | None  # the mean of both; half right is chance, however rare it is
    ci95: tuple[float, float] | None  # of it, over people
    why_not: str | None  # used where this is None

    @property
    def used(self) -> bool:
        return self.why_not is None


def hold_out(
    person: Int[np.ndarray, " face"], share: float, seed: int
) -> Bool[np.ndarray, " face"]:
    """Which faces are held out: all of as many people, drawn at random, as have at least that
    share of the faces between them. At least one person stays on either side, if there are two.
    """
    people, of_face, faces = np.unique(person, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(people))
    enough = int(np.searchsorted(np.cumsum(faces[order]), share * len(person))) + 1
    chosen = np.zeros(len(people), bool)
    chosen[order[: min(enough, len(people) - 1)]] = True
    return chosen[of_face]


def judge(
    probability: Float[np.ndarray, "face attribute"],
    labels: Int8[np.ndarray, "face attribute"],
    person: Int[np.ndarray, " face"],
    *,
    floor: float,
    seed: int,
) -> list[HeadResult]:
    """A result for each attribute, on held-out faces with these labels (0: undefined)."""
    told, yes, no = probability >= 0.5, labels > 0, labels < 0
    counts = np.stack([told & yes, yes, ~told & no, no], axis=2)
    _, of_face = np.unique(person, return_inverse=True)
    by_person = np.zeros((int(of_face.max(initial=-1)) + 1, *counts.shape[1:]))
    np.add.at(by_person, of_face, counts)
    draws = _balanced_draws(by_person, np.random.default_rng(seed))
    totals = by_person.sum(axis=0)
    return [_result(own, draws[:, at], floor) for at, own in enumerate(totals)]


def _balanced_draws(
    by_person: Float[np.ndarray, "person attribute 4"], rng: np.random.Generator
) -> Float[np.ndarray, "draw attribute"]:
    """Balanced accuracies where people are drawn with replacement; NaN where a draw has nobody
    of one kind."""
    count = len(by_person)
    flat = by_person.reshape(count, -1)
    drawn = [
        np.bincount(rng.integers(0, count, count), minlength=count) @ flat
        for _ in Bar(range(NUM_DRAWS if count else 0), desc="held out", unit="draw", leave=False)
    ]
    sums = np.reshape(drawn, (-1, *by_person.shape[1:]))
    with np.errstate(invalid="ignore"):
        return (sums[..., 0] / sums[..., 1] + sums[..., 2] / sums[..., 3]) / 2


def _result(
    counts: Float[np.ndarray, " 4"], draws: Float[np.ndarray, " draw"], floor: float
) -> HeadResult:
    true_yes, yes, true_no, no = map(int, counts)
    total = yes + no
    balanced = (true_yes / yes + true_no / no) / 2 if yes and no else None
    known = draws[np.isfinite(draws)]
    low, high = map(float, np.quantile(known, QUANTILES)) if len(known) else (0.0, 1.0)
    return HeadResult(
        num_yes=yes,
        num_no=no,
        accuracy=(true_yes + true_no) / total if total else None,
        majority=max(yes, no) / total if total else None,
        sensitivity=true_yes / yes if yes else None,
        specificity=true_no / no if no else None,
        balanced_accuracy=balanced,
        ci95=None if balanced is None else (low, high),
        why_not=_why_not(yes, no, balanced, low, floor),
    )


def _why_not(yes: int, no: int, balanced: float | None, low: float, floor: float) -> str | None:
    if balanced is None or min(yes, no) < LEAST:
        return f"{yes} held-out faces have it and {no} do not, {LEAST} of either are needed"
    if balanced < floor:
        return f"balanced accuracy {balanced:.3f}, below the floor of {floor:g}"
    if low <= 0.5:
        return f"balanced accuracy {balanced:.3f} is no better than chance (from {low:.3f})"
    return None


def used(names: Sequence[str], results: Sequence[HeadResult]) -> list[str]:
    """The attributes whose heads are well enough."""
    return [name for name, result in zip(names, results, strict=True) if result.used]
