"""Are folders people? How much more alike faces of one folder are than faces of two.

A set whose folders are a thousand numbered files each, an album or a year has labels too, but they
name nobody: what is computed from its «genuine» pairs is of strangers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eval.scoring.similarity import score_blocks

MOST_FACES, MOST_OTHERS = 16, 1024  # of a folder, and of all others; evenly spaced
LEAST = 0.7  # mean AUC of people; docs/LEAKAGE.md has the measurements that it lies between
FEWEST = 20  # faces in folders of several, below which a set is not judged


@dataclass(frozen=True)
class Folders:
    """Folders of several faces; of each the chance that one of its faces is more alike to another
    of them than to a face of another folder: 1 of people who are told apart, 1/2 of strangers."""

    number: Int[np.ndarray, " folder"]
    faces: Int[np.ndarray, " folder"]
    auc: Float[np.ndarray, " folder"]

    @property
    def mean(self) -> float:
        """Over folders, so that a large one counts as a small one does; 1 without any."""
        return float(self.auc.mean()) if len(self.auc) else 1.0

    @property
    def may_be_people(self) -> bool:
        """Of too few faces, that is taken on trust."""
        judged = np.minimum(self.faces, MOST_FACES).sum()
        return bool(judged < FEWEST or self.mean >= LEAST)

    @property
    def facts(self) -> dict[str, Any]:
        return {"several_faces": len(self.auc), "auc": self.mean, "least_auc": LEAST}


def folders_of(
    rows: Float[np.ndarray, "face width"], subject: Int[np.ndarray, " face"], metric: str
) -> Folders:
    """Of prepared embeddings, each face compared with its folder's and with those of others. A
    folder that has all of the set has nobody to be told from, and is left out."""
    number, faces = np.unique(subject, return_counts=True)
    kept = (faces > 1) & (faces < len(subject))
    auc = [
        _auc(rows, np.flatnonzero(subject == own), np.flatnonzero(subject != own), metric)
        for own in number[kept]
    ]
    return Folders(number[kept], faces[kept], np.array(auc))


def _auc(rows: np.ndarray, own: np.ndarray, others: np.ndarray, metric: str) -> float:
    """Face by face, so that one that is like everybody counts no more than another."""
    own, others = spaced(own, MOST_FACES), spaced(others, MOST_OTHERS)
    mates, rest = (
        next(score_blocks(rows[own], rows[at], metric, block=MOST_OTHERS)).scores
        for at in (own, others)
    )
    above = (mates[:, :, None] > rest[:, None, :]).mean(axis=2)
    level = (mates[:, :, None] == rest[:, None, :]).mean(axis=2)
    return float((above + level / 2)[~np.eye(len(own), dtype=bool)].mean())


def spaced(values: Int[np.ndarray, " value"], most: int) -> Int[np.ndarray, " kept"]:
    """At most so many of the values, evenly spaced from the first to the last."""
    places = np.linspace(0, len(values) - 1, min(most, len(values)))
    return values[places.round().astype(np.int64)]
