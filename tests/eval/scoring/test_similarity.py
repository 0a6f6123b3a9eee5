"""Scored pairs of a benchmark against each pair looked at alone, and there and back as a table."""

from __future__ import annotations

import numpy as np
import pytest

from eval.scoring import similarity
from eval.scoring.scored import parse_scores
from eval.scoring.similarity import score_pairs
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from tests import references

NAMES = [f"p{person}/{photo}.png" for person in range(4) for photo in range(3)]
PAIRS = [(a, b) for a in NAMES for b in NAMES if a < b]
SAME = np.array([a[:2] == b[:2] for a, b in PAIRS])
FOLD = np.arange(len(PAIRS), dtype=np.int16) % 2
BENCHMARK = Benchmark("toy", FOLD, *zip(*PAIRS, strict=True), SAME, dict.fromkeys(NAMES, "0" * 64))
ROWS = np.random.default_rng(0).standard_normal((len(NAMES), 5)).astype(np.float32)
FAILED = np.arange(len(NAMES)) == 4


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_every_pair_has_its_own_score(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_pairs(BENCHMARK, NAMES, ROWS, FAILED, metric)
    monkeypatch.setattr(similarity, "PAIRS", 7)
    parts = score_pairs(BENCHMARK, NAMES[::-1], ROWS[::-1], FAILED[::-1], metric)
    np.testing.assert_array_equal(whole.score, parts.score)
    units = dict(zip(NAMES, ROWS.astype(np.float64), strict=True))
    if metric == "cosine":
        units = {name: row / np.linalg.norm(row) for name, row in units.items()}
    wanted = [references.similarity(units[a], units[b], metric) for a, b in PAIRS]
    np.testing.assert_allclose(whole.score, wanted, atol=1e-12)
    assert whole.failed.tolist() == parts.failed.tolist() == [NAMES[4] in pair for pair in PAIRS]


def test_a_table_gives_the_pairs_back() -> None:
    pairs = score_pairs(BENCHMARK, NAMES, ROWS, FAILED, "cosine")
    again = parse_scores(pairs.table())
    for name in ("pair_id", "fold", "left", "right", "same", "score", "failed"):
        assert list(getattr(again, name)) == list(getattr(pairs, name))


def test_scores_that_are_not_finite_are_refused() -> None:
    rows = np.where(FAILED[:, None], np.inf, ROWS)
    with pytest.raises(InputError, match="11 scores are not finite, the first of pair 3"):
        score_pairs(BENCHMARK, NAMES, rows, FAILED, "euclidean")
