"""What follows from a search, on scores that can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from eval.scoring.leaks import FMR, Search, agreement, rank_correlation, scale_among, scale_of
from eval.scoring.scored import ScoredPairs
from eval.scoring.search import Closest, Pairs
from eval.scoring.similarity import Faces
from manifests.core.errors import InputError


def pairs(same: list[bool], score: list[float]) -> ScoredPairs:
    count = len(same)
    return ScoredPairs(
        np.arange(count), np.zeros(count, int), [f"{at}a" for at in range(count)],
        [f"{at}b" for at in range(count)], np.array(same), np.array(score), np.zeros(count, bool),
    )  # fmt: skip


class TestScale:
    def test_of_scored_pairs_ten_impostors_pass_and_half_of_the_genuine_ones_lie_within(
        self,
    ) -> None:
        impostors = [at / 100 for at in range(40)]
        genuine = [0.5, 0.6, 0.7, 0.8, 0.9]
        scale = scale_of(pairs([False] * 40 + [True] * 5, impostors + genuine), "here")
        assert (scale.fmr, scale.impostor_pairs, scale.source) == (10 / 40, 40, "here")
        assert sum(score > scale.threshold for score in impostors) == 10
        assert scale.radii == {0.5: 0.7, 0.95: pytest.approx(0.52)}
        assert scale.point["wanted_fmr"] == FMR and "radii" not in scale.point

    def test_it_is_that_of_all_pairs_of_the_same_faces(self) -> None:
        rng = np.random.default_rng(0)
        rows = np.repeat(rng.normal(size=(8, 6)), 3, axis=0) + 0.3 * rng.normal(size=(24, 6))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        subject = np.repeat(np.arange(8), 3)
        among = scale_among(Faces(rows, subject), "cosine", "set")
        left, right = np.triu_indices(24, 1)
        scored = pairs(
            (subject[left] == subject[right]).tolist(), (rows[left] * rows[right]).sum(1).tolist()
        )
        of_pairs = scale_of(scored, "set")
        assert of_pairs.impostor_pairs == among.impostor_pairs == 24 * 21 // 2
        impostors = scored.score[~scored.same]
        passed = [(impostors > own.threshold).sum() for own in (among, of_pairs)]
        assert passed == [10, 10]
        assert of_pairs.radii == pytest.approx(among.radii)

    def test_of_too_few_impostors_there_is_none(self) -> None:
        with pytest.raises(InputError, match="here: 10 pairs of different people, expected more"):
            scale_of(pairs([False] * 10 + [True], [0.0] * 11), "here")


def search(best: list[float], real: list[int], top: list[tuple[int, int]]) -> Search:
    face, row = (np.array(side) for side in zip(*top, strict=True))
    found = Closest(np.array(best), np.array(real), Pairs(np.ones(len(top)), face, row), np.ones(1))
    return Search(found, 0.5)


def test_teachers_agree_on_what_all_of_them_say() -> None:
    one = search([0.1, 0.6, 0.7, 0.8], [0, 1, 2, 3], [(3, 3), (2, 2)])
    other = search([0.2, 0.4, 0.9, 0.95], [0, 1, 7, 3], [(3, 3), (2, 7)])
    third = search([0.9, 0.8, 0.6, 0.1], [0, 1, 2, 4], [(0, 0), (3, 3)])
    found = agreement({"a": one, "b": other, "c": third})
    assert found["above_threshold"] == {"all": 1, "any": 4}
    assert found["same_best_match"] == 0.5
    assert found["top_pairs"] == {"all": 1, "each": 2}
    two = found["by_two"]
    assert list(two) == ["a and b", "a and c", "b and c"]
    assert [own["above_threshold"] for own in two.values()] == [2, 2, 1]
    assert [own["rank_correlation"] for own in two.values()] == pytest.approx([1.0, -1.0, -1.0])


def test_a_side_that_is_everywhere_the_same_ranks_nothing() -> None:
    assert rank_correlation(np.ones(4), np.arange(4.0)) == 0.0
