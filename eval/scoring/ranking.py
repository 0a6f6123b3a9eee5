"""Identification: every probe against a gallery, block by block.

Neither a probe x gallery matrix nor a probe x gallery x width array is ever held: memory is that
of the embeddings and of one block of scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eval.scoring.intervals import RESAMPLES, PairSubjects, at_least, identity_bootstrap, wilson
from eval.scoring.metrics import enough_impostors
from eval.scoring.similarity import BLOCK, Block, Faces, score_blocks

RANKS, FPIRS = (1, 5, 10, 20), (0.1, 0.01)
MATES = 1 << 14  # that are compared with a block at a time


@dataclass(frozen=True)
class Identification:
    """What a search of the gallery gives each probe."""

    mate: Float[np.ndarray, " probe"]  # best score of its own subject; -inf where it has no mate
    other: Float[np.ndarray, " probe"]  # best score of another subject; -inf where there is none
    rank: Int[np.ndarray, " probe"]  # of the best mate, from 1; 0 where it has no mate

    @property
    def mated(self) -> np.ndarray:
        return self.rank > 0


def identify(
    probes: Faces, gallery: Faces, metric: str, *, itself: bool = False, block: int = BLOCK
) -> Identification:
    """Ranks of the mates by the number of other subjects' faces that score as high: ties count
    against the probe. With `itself` probes are the gallery, and no face is its own mate."""
    mate, other = np.full((2, len(probes)), -np.inf)
    for part, rows, own in _parts(probes, gallery, metric, itself, block):
        mate[rows] = np.maximum(mate[rows], np.where(own, part.scores, -np.inf).max(axis=1))
        rest = np.where(own, -np.inf, part.scores)
        other[rows] = np.maximum(other[rows], rest.max(axis=1))
    above = np.zeros(len(probes), np.int64)
    for part, rows, own in _parts(probes, gallery, metric, itself, block):
        above[rows] += ((part.scores >= mate[rows, None]) & ~own).sum(axis=1)
    return Identification(mate, other, np.where(np.isfinite(mate), above + 1, 0))


def _parts(
    probes: Faces, gallery: Faces, metric: str, itself: bool, block: int
) -> Iterator[tuple[Block, slice, np.ndarray]]:
    """Blocks of scores with the probes' rows and where they meet their own subject."""
    blocks = score_blocks(probes.embeddings, gallery.embeddings, metric, block=block)
    for part in blocks:
        height, width = part.scores.shape
        rows = slice(part.row, part.row + height)
        columns = slice(part.column, part.column + width)
        own = probes.subject[rows, None] == gallery.subject[columns]
        if itself and part.row == part.column:
            np.fill_diagonal(part.scores, -np.inf)
        yield part, rows, own


def rank_k(found: Identification, k: int) -> float:
    """Share of the probes with a mate whose mate is among the first k; 0 without such probes."""
    ranks = found.rank[found.mated]
    return float((ranks <= k).mean()) if len(ranks) else 0.0


def rank_figures(
    found: Identification,
    subject: Int[np.ndarray, " probe"],
    ranks: Sequence[int],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, object]:
    """rank_k for each k, with its interval under resampling of the probes' subjects.

    The gallery stays as it is. Never narrower than Wilson's interval. All are null without
    probes that have a mate.
    """
    number = np.unique(subject[found.mated], return_inverse=True)[1]
    ranked = found.rank[found.mated]
    if not len(ranked):
        return {f"rank_{k}{end}": None for k in ranks for end in ("", "_ci95_identity")}
    figures: dict[str, object] = {f"rank_{k}": rank_k(found, k) for k in ranks}
    hits = np.stack([ranked <= k for k in ranks])
    resampled = identity_bootstrap(
        lambda weights: (hits * weights).sum(axis=1) / weights.sum(),
        PairSubjects(number, number, int(number.max()) + 1),
        resamples=resamples,
    )
    for place, k in enumerate(ranks):
        own = wilson(int(hits[place].sum()), len(ranked))
        figures[f"rank_{k}_ci95_identity"] = list(at_least(resampled.interval(place), own))
    return figures


def average_precisions(
    probes: Faces, gallery: Faces, metric: str, *, block: int = BLOCK
) -> Float[np.ndarray, " probe"]:
    """Of every probe the area under its precision over recall, by the trapezoids that TinyFace's
    evaluation takes (Philbin et al. 2007): NaN without a mate; ties count against the probe."""
    probe, column = _mates(probes, gallery)
    score, above = np.empty(len(probe)), np.zeros(len(probe), np.int64)
    for part, rows, _ in _parts(probes, gallery, metric, False, block):
        own = _in_rows(probe, rows)
        own = own[(column[own] >= part.column) & (column[own] < part.column + part.scores.shape[1])]
        score[own] = part.scores[probe[own] - part.row, column[own] - part.column]
    for part, rows, same in _parts(probes, gallery, metric, False, block):
        mates = _in_rows(probe, rows)
        for own in (mates[at : at + MATES] for at in range(0, len(mates), MATES)):
            row = probe[own] - part.row
            above[own] += ((part.scores[row] >= score[own, None]) & ~same[row]).sum(axis=1)
    order = np.lexsort((-score, probe))
    number = np.arange(len(probe)) - np.searchsorted(probe, probe) + 1  # of mates, best first
    rank = above[order] + number
    before = np.where(rank > 1, (number - 1) / np.maximum(rank - 1, 1), 1.0)
    count = np.bincount(probe, minlength=len(probes))
    total = np.bincount(probe, (before + number / rank) / 2, minlength=len(probes))
    return np.divide(total, count, out=np.full(len(probes), np.nan), where=count > 0)


def _mates(
    probes: Faces, gallery: Faces
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Every probe with each gallery face of its subject; probes in order."""
    order = np.argsort(gallery.subject, kind="stable")
    ranked = gallery.subject[order]
    first = np.searchsorted(ranked, probes.subject)
    count = np.searchsorted(ranked, probes.subject, side="right") - first
    probe = np.repeat(np.arange(len(probes)), count)
    place = np.arange(len(probe)) - np.searchsorted(probe, probe)
    return probe, order[first[probe] + place]


def _in_rows(probe: Int[np.ndarray, " pair"], rows: slice) -> Int[np.ndarray, " some"]:
    return np.arange(*np.searchsorted(probe, (rows.start, rows.stop)))


def precision_figures(
    precisions: Float[np.ndarray, " probe"],
    subject: Int[np.ndarray, " probe"],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, object]:
    """Their mean over probes with a mate, and its interval under resampling of their subjects;
    null without any."""
    known = np.isfinite(precisions)
    if not known.any():
        return {"mean_average_precision": None, "mean_average_precision_ci95_identity": None}
    values, number = precisions[known], np.unique(subject[known], return_inverse=True)[1]
    resampled = identity_bootstrap(
        lambda weights: np.array([values @ weights / weights.sum()]),
        PairSubjects(number, number, int(number.max()) + 1),
        resamples=resamples,
    )
    return {
        "mean_average_precision": float(values.mean()),
        "mean_average_precision_ci95_identity": list(resampled.interval(0)),
    }


def tpir_at_fpir(found: Identification, fpir: float) -> dict[str, object] | None:
    """Open set: the share of mated probes that are identified (rank 1, above the threshold) at
    the lowest threshold that lets at most `fpir` of the probes without a mate find somebody
    (ISO/IEC 19795-1). None without mated probes, or with fewer than 10 / fpir unmated ones."""
    strangers = np.sort(found.other[~found.mated])[::-1]
    mated = found.mated
    if not mated.any() or not enough_impostors(len(strangers), fpir):
        return None
    threshold = strangers[int(len(strangers) * fpir * (1 + 1e-12))]
    identified = int(((found.rank == 1) & (found.mate > threshold)).sum())
    return {
        "value": identified / int(mated.sum()),
        "ci95": list(wilson(identified, int(mated.sum()))),
        "threshold": float(threshold),
    }


def identification_figures(probes: Faces, gallery: Faces, metric: str) -> dict[str, Any]:
    """Closed and open set: every probe searched for in the gallery."""
    found = identify(probes, gallery, metric)
    return {
        "num_gallery": len(gallery),
        "num_probes": len(probes),
        "num_probes_without_mate": int((~found.mated).sum()),
        **rank_figures(found, probes.subject, RANKS),
        **precision_figures(average_precisions(probes, gallery, metric), probes.subject),
        "tpir_at_fpir": {f"{fpir:g}": tpir_at_fpir(found, fpir) for fpir in FPIRS},
    }


def over_galleries(
    probes: Faces, gallery: Faces, name: Sequence[str], metric: str
) -> dict[str, object]:
    """Every probe searched for in each gallery alone, as IJB has two of them: whoever is in the
    other one has no mate. `name` says which gallery each face is of. The mean over the galleries
    is null where one of them is."""
    places = {own: np.array([each == own for each in name]) for own in sorted(set(name))}
    each = {
        own: identification_figures(
            probes, Faces(gallery.embeddings[rows], gallery.subject[rows]), metric
        )
        for own, rows in places.items()
    }
    mean: dict[str, object] = {
        f"rank_{k}": _mean([own[f"rank_{k}"] for own in each.values()]) for k in RANKS
    }
    rates = [own["tpir_at_fpir"] for own in each.values()]
    mean["tpir_at_fpir"] = {
        key: _mean([rate[key] and rate[key]["value"] for rate in rates]) for key in rates[0]
    }
    return {"by_gallery": each, "mean_over_galleries": mean}


def _mean(values: Sequence[Any]) -> float | None:
    return None if None in values else float(np.mean(values))


def nearest(
    probes: Float[np.ndarray, "probe width"],
    gallery: Float[np.ndarray, "gallery width"],
    metric: str,
    k: int,
    *,
    itself: bool = False,
    block: int = BLOCK,
) -> tuple[Int[np.ndarray, "probe k"], Float[np.ndarray, "probe k"]]:
    """Rows and scores of each probe's k best gallery faces, best first, ties by row.

    With `itself` probes are the gallery, and no face is its own neighbour. Where the gallery is
    smaller than k, the rest is row -1 with score -inf.
    """
    rows = np.full((len(probes), k), -1, np.int64)
    scores = np.full((len(probes), k), -np.inf)
    for part in score_blocks(probes, gallery, metric, block=block):
        if itself and part.row == part.column:
            np.fill_diagonal(part.scores, -np.inf)
        here = slice(part.row, part.row + len(part.scores))
        rows[here], scores[here] = _better(rows[here], scores[here], part, k)
    return rows, scores


def _better(
    rows: np.ndarray, scores: np.ndarray, part: Block, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of those so far and of a block with higher rows; ties go to the lower row."""
    width = part.scores.shape[1]
    floor = np.partition(part.scores, -min(k, width), axis=1)[:, -min(k, width), None]
    probe, column = np.nonzero((part.scores > scores[:, -1:]) & (part.scores >= floor))
    place = np.arange(len(probe)) - np.searchsorted(probe, probe)
    shape = (len(rows), int(place.max(initial=-1)) + 1)
    more_rows, more_scores = np.full(shape, -1, np.int64), np.full(shape, -np.inf)
    more_rows[probe, place] = part.column + column
    more_scores[probe, place] = part.scores[probe, column]
    all_rows = np.concatenate([rows, more_rows], axis=1)
    all_scores = np.concatenate([scores, more_scores], axis=1)
    order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(all_rows, order, 1), np.take_along_axis(all_scores, order, 1)
