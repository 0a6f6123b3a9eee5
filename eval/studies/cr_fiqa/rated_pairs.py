"""Many pairs of a few rated images, and several qualities of them held against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eval.annotators.measured import SIZE, sharpness
from eval.photos.models import Model
from eval.scoring.discarding import (
    AREAS,
    FIXED,
    GRID,
    PARTIAL,
    RE_ESTIMATED,
    RULES,
    curve_figures,
    fnmr_statistic,
)
from eval.scoring.intervals import PairSubjects, Statistic, identity_bootstrap
from eval.scoring.metrics import require_impostors
from eval.scoring.scored import ScoredPairs
from eval.scoring.similarity import prepared, similarity
from manifests.core.errors import InputError
from manifests.photographs.scores import subject_of
from pipeline.arrays.frames import ARCFACE112

AUC = len(GRID)  # its place among the figures


def sharpness_model() -> Model:
    """A model whose output is the variance of the Laplacian of the aligned crop."""

    def network(crops: Tensor) -> Tensor:
        pixels = crops.permute(0, 2, 3, 1).to(torch.uint8).numpy()
        return torch.from_numpy(sharpness(pixels)[:, None])

    return Model("sharpness", "", ARCFACE112.at(SIZE), "cosine", False, network)


def all_pairs(
    images: Sequence[str],
    embeddings: Float[np.ndarray, "image width"],
    metric: str,
    rule: str,
    *,
    most_impostors: int,
    seed: int,
) -> ScoredPairs:
    """Every genuine pair of the images, and every impostor pair, or as many of them drawn.

    Raises InputError where names do not tell people apart.
    """
    if rule == "image":
        raise InputError(
            "these images' names do not say whose they are (one folder a person, or NAME_0001), "
            "so that no pairs beside the listed ones can be made"
        )
    people = np.unique([subject_of(name, rule) for name in images], return_inverse=True)[1]
    left, right = np.triu_indices(len(images), k=1)
    same = people[left] == people[right]
    strangers = np.flatnonzero(~same)
    if len(strangers) > most_impostors:
        strangers = np.random.default_rng(seed).choice(strangers, most_impostors, replace=False)
    chosen = np.sort(np.concatenate([np.flatnonzero(same), strangers]))
    left, right, same = left[chosen], right[chosen], same[chosen]
    rows, count = prepared(embeddings.astype(np.float64), metric), len(chosen)
    names = np.asarray(images, dtype=object)
    return ScoredPairs(
        np.arange(count), np.zeros(count, int), names[left].tolist(), names[right].tolist(),
        same, similarity(rows[left], rows[right], metric), np.zeros(count, bool),
    )  # fmt: skip


def compare_qualities(
    pairs: ScoredPairs,
    qualities: Mapping[str, Sequence[Float[np.ndarray, " pair"]]],
    subjects: PairSubjects,
    *,
    own: str,
    fmr: float,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Error versus discard of several qualities of the same pairs, over the same resampled people.

    A quality may have several draws (random ones), whose figures are averaged. `less`: the area
    of `own` less every other's; negative, `own` is better. Raises InputError where impostors are
    too few for the FMR.
    """
    require_impostors(pairs.distinct_impostors, fmr)
    curves = {
        name: _averaged([fnmr_statistic(pairs.score, pairs.same, q, fmr, FIXED) for q in draws])
        for name, draws in qualities.items()
    }
    width, names = len(GRID) + len(AREAS), list(curves)
    found = identity_bootstrap(
        _joined([*curves.values()], names.index(own)), subjects, resamples=resamples, seed=seed
    )
    figures = {}
    for place, (name, draws) in enumerate(qualities.items()):
        figures[name] = curve_figures(found, place * width)
        figures[name]["auc_re_estimated"] = _re_estimated(pairs, draws, fmr)
    less = {
        name: found.figure(len(names) * width + place)
        for place, name in enumerate(names) if name != own
    }  # fmt: skip
    return {
        "fmr": fmr,
        "threshold_rule": RULES[FIXED],
        "discarded": GRID.tolist(),
        "partial_to": PARTIAL,
        "num_genuine": int(pairs.same.sum()),
        "num_impostors": int((~pairs.same).sum()),
        "num_subjects": subjects.count,
        "qualities": figures,
        "own": own,
        "less": less,
    }


def _averaged(statistics: Sequence[Statistic]) -> Statistic:
    return lambda weights: np.mean([each(weights) for each in statistics], axis=0)


def _joined(statistics: Sequence[Statistic], own: int) -> Statistic:
    """All figures of all, and then the area of `own` less that of each."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        figures = np.stack([each(weights) for each in statistics])
        return np.concatenate([figures.reshape(-1), figures[own, AUC] - figures[:, AUC]])

    return statistic


def _re_estimated(pairs: ScoredPairs, draws: Sequence[np.ndarray], fmr: float) -> float:
    """The area by the rule of CR-FIQA's code, of the pairs as they are."""
    rules = [fnmr_statistic(pairs.score, pairs.same, q, fmr, RE_ESTIMATED) for q in draws]
    return float(np.mean([rule(np.ones(len(pairs)))[AUC] for rule in rules]))
