"""Whose faces a pair compares: what intervals over identities resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from manifests.photographs.scores import subject_of


@dataclass(frozen=True)
class PairSubjects:
    """The subjects of each pair's two images, numbered from 0."""

    left: Int[np.ndarray, " pair"]
    right: Int[np.ndarray, " pair"]
    count: int

    def weights(self, multiplicity: Int[np.ndarray, " subject"]) -> Float[np.ndarray, " pair"]:
        """How often each pair occurs where subject s occurs `multiplicity[s]` times.

        Of two subjects every copy of one meets every copy of the other; a copy of a subject is
        compared with itself, never with another copy (which would be a different person).
        """
        drawn = multiplicity.astype(np.float64)
        left = drawn[self.left]
        return left * np.where(self.left == self.right, 1.0, drawn[self.right])


def pair_subjects(
    left: Sequence[str], right: Sequence[str], same: Bool[np.ndarray, " pair"], rule: str
) -> PairSubjects:
    """The subjects of pairs of images by a rule of manifests.photographs.scores.

    A genuine pair says that its two images show one person, so that their subjects are one even
    where the rule can not tell (rule `image`: a person is what genuine pairs join).
    Raises InputError for an unknown rule.
    """
    names, rows = np.unique(np.array([*left, *right], dtype=object), return_inverse=True)
    people = np.array([subject_of(name, rule) for name in names], dtype=object)
    of_name = np.unique(people, return_inverse=True)[1].reshape(-1)
    first, second = of_name[rows].reshape(2, -1)
    size = int(of_name.max(initial=-1)) + 1
    links = coo_array((np.ones(int(same.sum())), (first[same], second[same])), shape=(size, size))
    count, of_person = connected_components(links, directed=False)
    return PairSubjects(of_person[first], of_person[second], int(count))
