"""TAR at FAR over all pairs of a set of faces: exact, in memory that does not grow with them.

Of the impostor scores, too many to hold, only order statistics are wanted. One pass counts them
in bins, a second one collects the scores of the bins that hold those statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eval.scoring.intervals import wilson
from eval.scoring.metrics import FARS, MIN_PEOPLE, enough_impostors
from eval.scoring.ranking import identify, rank_figures
from eval.scoring.similarity import BLOCK, Faces, score_blocks

BINS = 1 << 16


def figures_among(faces: Faces, metric: str) -> dict[str, Any]:
    """TAR@FAR and rank-1 of every face with every other; of few people the rates are null, as those
    of the protocol's pairs."""
    found = identify(faces, faces, metric, itself=True)
    rates = all_pairs_figures(faces, metric)
    if len(np.unique(faces.subject)) < MIN_PEOPLE:
        rates["tar_at_far"] = dict.fromkeys(rates["tar_at_far"])
    return {**rates, **rank_figures(found, faces.subject, (1,))}


def all_pairs_figures(
    faces: Faces, metric: str, fars: Sequence[float] = FARS, *, block: int = BLOCK
) -> dict[str, Any]:
    """tar_at_far over every pair of two faces, each pair once, and the number of pairs.

    Genuine scores are held, impostor scores are not. Intervals are Wilson's, over genuine pairs
    at the threshold; a FAR with fewer than 10 impostors behind it is null.
    """
    span = _span(faces.embeddings, metric)
    genuine, counts = _survey(faces, metric, span, block)
    impostors = int(counts.sum())
    wanted = [far for far in fars if len(genuine) and enough_impostors(impostors, far)]
    places = {far: min(int(impostors * far * (1 + 1e-12)), impostors - 1) for far in wanted}
    found = _order_statistics(faces, metric, span, counts, sorted(set(places.values())), block)
    table = {
        f"{far:g}": _rate(genuine, found[places[far]]) if far in places else None for far in fars
    }
    pairs = len(genuine) + impostors
    return {"tar_at_far": table, "tar_at_far_num_pairs": pairs}


def _rate(genuine: Float[np.ndarray, " pair"], threshold: float) -> dict[str, Any]:
    accepted = int((genuine > threshold).sum())
    return {
        "value": accepted / len(genuine),
        "ci95": list(wilson(accepted, len(genuine))),
        "threshold": threshold,
    }


def _span(embeddings: Float[np.ndarray, "face width"], metric: str) -> tuple[float, float]:
    """What no score lies outside of, but for rounding, which the end bins take in."""
    if metric == "cosine":
        return -1.0, 1.0
    return -2.0 * float(np.linalg.norm(embeddings, axis=1).max(initial=1e-12)), 0.0


def _bins(scores: np.ndarray, span: tuple[float, float]) -> Int[np.ndarray, " score"]:
    """Never a lower bin for a higher score."""
    low, high = span
    return np.clip((scores - low) * (BINS / (high - low)), 0, BINS - 1).astype(np.int64)


def _pairs(
    faces: Faces, metric: str, block: int
) -> Iterator[tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]]:
    """Genuine and impostor scores, a block at a time, each pair of faces once."""
    for part in score_blocks(faces.embeddings, faces.embeddings, metric, block=block, upper=True):
        height, width = part.scores.shape
        rows, columns = part.row + np.arange(height), part.column + np.arange(width)
        once = rows[:, None] < columns
        own = faces.subject[rows, None] == faces.subject[columns]
        yield part.scores[once & own], part.scores[once & ~own]


def _survey(
    faces: Faces, metric: str, span: tuple[float, float], block: int
) -> tuple[Float[np.ndarray, " pair"], Int[np.ndarray, " bin"]]:
    counts, genuine = np.zeros(BINS, np.int64), [np.empty(0)]
    for same, other in _pairs(faces, metric, block):
        genuine.append(same.astype(np.float64))
        counts += np.bincount(_bins(other, span), minlength=BINS)
    return np.concatenate(genuine), counts


def _order_statistics(
    faces: Faces,
    metric: str,
    span: tuple[float, float],
    counts: Int[np.ndarray, " bin"],
    places: Sequence[int],
    block: int,
) -> dict[int, float]:
    """The impostor scores at these places of their falling order, from 0."""
    at_or_above = np.cumsum(counts[::-1])[::-1]
    above = at_or_above - counts
    home = {place: int(np.flatnonzero(at_or_above > place)[-1]) for place in places}
    chosen = np.zeros(BINS, bool)
    chosen[list(home.values())] = True
    kept = [faces.embeddings[:0, 0]]
    if home:
        for _, other in _pairs(faces, metric, block):
            kept.append(other[chosen[_bins(other, span)]])
    scores = np.concatenate(kept)
    bins = _bins(scores, span)
    ranked = {number: np.sort(scores[bins == number])[::-1] for number in set(home.values())}
    return {place: float(ranked[number][place - above[number]]) for place, number in home.items()}
