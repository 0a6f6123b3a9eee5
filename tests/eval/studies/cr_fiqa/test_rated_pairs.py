"""Pairs of rated images, and several qualities of them against each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from eval.scoring.discarding import discard_figures
from eval.scoring.scored import ScoredPairs
from eval.studies.cr_fiqa.rated_pairs import all_pairs, compare_qualities
from manifests.core.errors import InputError
from tests.references import fnmr_after_discarding
from tests.results import people_pairs

NAMES = [f"p{person}/{photo}.jpg" for person in range(5) for photo in range(3)]
FMR = 0.05


def rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((len(NAMES), 4)).astype(np.float32)


def pairs_of(metric: str = "cosine", most: int = 10_000, seed: int = 0) -> ScoredPairs:
    return all_pairs(NAMES, rows(), metric, "folder", most_impostors=most, seed=seed)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_every_pair_is_there_once_with_its_score(metric: str) -> None:
    found = pairs_of(metric)
    assert list(zip(found.left, found.right, strict=True)) == list(combinations(NAMES, 2))
    embeddings = dict(zip(NAMES, rows().astype(np.float64), strict=True))
    for left, right, same, score in zip(
        found.left, found.right, found.same, found.score, strict=True
    ):
        a, b = embeddings[left], embeddings[right]
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        wanted = cosine if metric == "cosine" else -np.linalg.norm(a - b)
        assert score == pytest.approx(wanted) and same == (left[:2] == right[:2])


def test_impostors_are_drawn_and_genuine_pairs_all_kept() -> None:
    few, again, others = pairs_of(most=20), pairs_of(most=20), pairs_of(most=20, seed=1)
    assert few.same.sum() == 15 and (~few.same).sum() == 20
    assert few.left == again.left and few.left != others.left
    whole = set(zip(pairs_of().left, pairs_of().right, strict=True))
    assert set(zip(few.left, few.right, strict=True)) < whole


def test_names_must_tell_people_apart() -> None:
    with pytest.raises(InputError, match="do not say whose they are"):
        all_pairs(NAMES, rows(), "cosine", "image", most_impostors=9, seed=0)


class TestComparison:
    pairs = people_pairs(2, people=60)

    @property
    def informed(self) -> np.ndarray:
        noise = np.random.default_rng(0).normal(0, 0.05, len(self.pairs))
        return np.where(self.pairs.same, self.pairs.score, 0.4) + noise

    @property
    def noise(self) -> list[np.ndarray]:
        return [np.random.default_rng(seed).random(len(self.pairs)) for seed in range(3)]

    def compared(self, **qualities: list[np.ndarray]) -> dict[str, Any]:
        return compare_qualities(
            self.pairs, qualities, self.pairs.subjects("folder"), own="own", fmr=FMR,
            resamples=60, seed=0,
        )  # fmt: skip

    def test_one_alone_has_the_figures_of_discard(self) -> None:
        found = self.compared(own=[self.informed])["qualities"]["own"]
        wanted = discard_figures(
            self.pairs, self.informed, self.pairs.subjects("folder"), fmr=FMR, resamples=60
        )
        for name in ("fnmr", "fnmr_ci95_identity", "auc", "pauc", "auc_over_random"):
            assert found[name] == wanted[name], name

    def test_differences_are_paired(self) -> None:
        found = self.compared(own=[self.informed], other=[self.informed], random=self.noise)
        assert found["less"]["other"] == {"value": 0.0, "ci95_identity": [0.0, 0.0]}
        own, random = (found["qualities"][name]["auc"]["value"] for name in ("own", "random"))
        less = found["less"]["random"]
        assert less["value"] == pytest.approx(own - random)
        assert less["ci95_identity"][0] < less["value"] < less["ci95_identity"][1] < 0
        assert "own" not in found["less"]

    def test_draws_are_averaged(self) -> None:
        found = self.compared(own=[self.informed], random=self.noise)
        each = [self.compared(own=[noise])["qualities"]["own"] for noise in self.noise]
        whole = found["qualities"]["random"]
        np.testing.assert_allclose(whole["fnmr"], np.mean([e["fnmr"] for e in each], axis=0))
        re_estimated = [e["auc_re_estimated"] for e in each]
        assert whole["auc_re_estimated"] == pytest.approx(np.mean(re_estimated))

    def test_the_curve_is_what_counting_gives(self) -> None:
        quality = np.argsort(np.argsort(self.informed)).astype(float)  # 360 of them, none alike
        found = self.compared(own=[quality])["qualities"]["own"]
        pairs, impostors = self.pairs, np.sort(self.pairs.score[~self.pairs.same])
        threshold = impostors[-1 - int(FMR * len(impostors))]
        slow = [
            fnmr_after_discarding(pairs.score, pairs.same, quality, threshold, 18 * step)
            for step in range(20)
        ]
        np.testing.assert_allclose(found["fnmr"], slow)

    def test_too_few_impostors_are_refused(self) -> None:
        with pytest.raises(InputError, match="240 impostor pairs are too few"):
            compare_qualities(
                self.pairs, {"own": [self.informed]}, self.pairs.subjects("folder"), own="own",
                fmr=0.001, resamples=10, seed=0,
            )  # fmt: skip
