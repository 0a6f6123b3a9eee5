"""Are folders people? Against counting pairs one by one, and on folders that are none."""

from __future__ import annotations

import numpy as np
import pytest

from eval.scoring import folders
from eval.scoring.folders import FEWEST, LEAST, folders_of
from tests import references


def people(num: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings around a direction a person."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(num, 24)), each, axis=0)
    rows += spread * rng.normal(size=rows.shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), np.repeat(np.arange(num), each)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_it_is_the_share_of_comparisons_that_the_own_folder_wins(metric: str) -> None:
    rows, subject = people(5, 3, 1.5)
    subject[-1] = 9  # one alone, and one of two
    found = folders_of(rows, subject, metric)
    assert found.number.tolist() == [0, 1, 2, 3, 4] and found.faces.tolist() == [3, 3, 3, 3, 2]
    twin = [references.folder_auc(rows, subject, metric, own) for own in range(5)]
    np.testing.assert_allclose(found.auc, twin, atol=1e-12)
    assert found.mean == pytest.approx(np.mean(twin))


@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_people_are_people_and_shuffled_ones_are_none(spread: float) -> None:
    rows, subject = people(12, 4, spread)
    assert folders_of(rows, subject, "cosine").may_be_people
    rng = np.random.default_rng(1)
    shuffled = [folders_of(rows, rng.permutation(subject), "cosine") for _ in range(20)]
    assert not any(own.may_be_people for own in shuffled)


def test_folders_of_a_hundred_strangers_each_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = people(700, 1, 0.0)
    found = folders_of(rows, np.arange(700) // 100, "cosine")
    assert len(found.auc) == 7 and abs(found.mean - 0.5) < 0.05 and not found.may_be_people
    monkeypatch.setattr(folders, "MOST_FACES", 100)  # few of each tell as much
    assert folders_of(rows, np.arange(700) // 100, "cosine").mean == pytest.approx(
        found.mean, abs=0.05
    )


def test_a_large_folder_of_strangers_does_not_hide_that_the_others_are_people() -> None:
    rows, subject = people(20, 3, 0.3)
    strangers, _ = people(200, 1, 0.0, seed=2)
    found = folders_of(
        np.concatenate([rows, strangers]), np.append(subject, np.full(200, 99)), "cosine"
    )
    assert found.may_be_people and found.auc[-1] < LEAST < found.auc[:-1].min()


def test_of_a_handful_nothing_is_said() -> None:
    rows, _ = people(FEWEST, 1, 0.0)
    few = np.arange(FEWEST) // 2
    few[-1] = 99  # so that two are alone
    assert folders_of(rows, few, "cosine").may_be_people
    nobody = folders_of(rows, np.arange(FEWEST), "cosine")
    assert len(nobody.auc) == 0 and nobody.mean == 1.0 and nobody.may_be_people
