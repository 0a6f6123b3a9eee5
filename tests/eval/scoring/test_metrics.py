"""Figures of metrics.json: both accuracies against counting, the field's own tool on one file."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from eval.scoring import metrics
from eval.scoring.folds import facexzoo_accuracy, insightface_accuracy, squared_distances
from eval.scoring.intervals import pair_subjects
from eval.scoring.metrics import figures_of, threshold_at
from eval.scoring.results import read_result
from eval.scoring.roc import roc
from eval.scoring.scored import check_pairs, parse_scores
from manifests.core.errors import InputError
from tests.references import facexzoo_folds, insightface_folds
from tests.results import people_pairs, people_table, scores_table, write_result


def example(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    scores = np.clip(rng.normal(np.where(same, 0.5, 0.1), 0.25), -1, 1)
    return scores, same, np.arange(count) // 2 % 5


@pytest.mark.parametrize("seed", range(4))
def test_accuracies_are_what_counting_gives(seed: int) -> None:
    scores, same, fold = example(seed)
    insight = insightface_accuracy(scores, same, fold, "cosine")
    assert insight.accuracies.tolist() == pytest.approx(insightface_folds(scores, same, fold))
    facexzoo = facexzoo_accuracy(scores, same, fold)
    assert facexzoo.accuracies.tolist() == pytest.approx(facexzoo_folds(scores, same, fold))


def test_accuracy_is_one_where_a_threshold_separates() -> None:
    _, same, fold = example(0)
    scores = np.where(same, 0.9, 0.1)
    assert insightface_accuracy(scores, same, fold, "cosine").accuracies.mean() == 1.0
    assert facexzoo_accuracy(scores, same, fold).accuracies.mean() == 1.0


def test_a_folds_own_labels_do_not_choose_its_threshold() -> None:
    scores, same, fold = example(5)
    flipped = np.where(fold == 0, ~same, same)
    thresholds = [
        insightface_accuracy(scores, labels, fold, "cosine").thresholds[0]
        for labels in (same, flipped)
    ]
    assert thresholds[0] == thresholds[1]


def test_distances_of_both_metrics() -> None:
    assert squared_distances(np.array([1.0, 0.0, -1.0]), "cosine").tolist() == [0.0, 2.0, 4.0]
    assert squared_distances(np.array([-0.6]), "euclidean").tolist() == pytest.approx([0.36])


def worked() -> tuple[np.ndarray, np.ndarray]:
    """Impostors 0 … 0.999; of four genuine pairs three are above 0.989, the ten impostors'."""
    genuine = np.array([0.985, 0.9895, 0.995, 0.9999])
    scores = np.concatenate([genuine, np.arange(1000) / 1000])
    return scores, np.arange(1004) < 4


def test_rates_by_hand() -> None:
    scores, same = worked()
    found = figures_of(scores_table(scores, same, fold=np.arange(1004) % 2), "cosine", "folder",
                       resamples=20)  # fmt: skip
    rate = found["tar_at_far"]["0.01"]
    assert (rate["value"], rate["threshold"]) == (0.75, 0.989)
    assert rate["ci95"] == pytest.approx([0.3006, 0.9544], abs=5e-5)  # Wilson, 3 of 4
    missed = found["fnmr_at_fmr"]["0.01"]
    assert missed["value"] == 0.25
    assert missed["ci95"] == pytest.approx([1 - 0.9544, 1 - 0.3006], abs=5e-5)
    assert found["fnmr_at_fmr"]["0.1"]["value"] == 0.0


def test_rates_are_null_where_impostors_are_too_few() -> None:
    scores, same = worked()
    fold = np.arange(1004) % 2
    found = figures_of(scores_table(scores, same, fold=fold), "cosine", "folder", resamples=20)
    assert found["tar_at_far"]["0.001"] is None and found["fnmr_at_fmr"]["0.001"] is None
    fewer = scores_table(scores[:-1], same[:-1], fold=fold[:-1])  # 999 impostors
    assert figures_of(fewer, "cosine", "folder", resamples=20)["tar_at_far"]["0.01"] is None


def test_rates_of_ijb_are_given_where_impostors_bear_those_above_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tenth of an impostor for the ten that are to pass, 1,000 bear 1e-4 and no more."""
    scores, same = worked()
    table = scores_table(scores, same, fold=np.arange(1004) % 2)
    few = figures_of(table, "cosine", "folder", resamples=20)
    assert [*few["tar_at_far"]] == ["0.01", "0.001", "0.0001"]
    monkeypatch.setattr(metrics, "MIN_FALSE_ACCEPTS", 0.1)
    found = figures_of(table, "cosine", "folder", resamples=20)
    assert found["tar_at_far"]["0.0001"]["value"] == 0.25  # above all impostors, 0.999
    assert found["tar_at_far"]["1e-05"] is None and found["tar_at_far"]["1e-06"] is None
    assert found["fnmr_at_fmr"]["1e-05"] is None
    before = {far: found["tar_at_far"][far] for far in ("0.01", "0.001", "0.0001")}
    assert read_result(write_result(tmp_path / "x", table, changed={"tar_at_far": before}))


def test_a_single_fold_leaves_accuracy_null_and_the_rest_known() -> None:
    scores, same = worked()
    table = scores_table(scores, same, fold=np.zeros(1004, int))
    found = figures_of(table, "cosine", "folder", resamples=20)
    assert found["accuracy"] is None and found["accuracy_ci95"] is None
    assert found["auc"] > 0.9 and found["num_folds"] == 1


def test_intervals_over_identities_hold_the_figure_and_wilsons_interval() -> None:
    found = figures_of(people_table(1, people=30), "cosine", "folder", resamples=100)
    low, high = found["accuracy_ci95_identity"]
    assert low <= found["accuracy_ci95"][0] < found["accuracy_ci95"][1] <= high
    for name in ("auc", "eer"):
        low, high = found[f"{name}_ci95_identity"]
        assert low < found[name] < high
    assert found["num_subjects"] == 30


def test_rates_rest_on_different_impostors_of_enough_people() -> None:
    table = people_table(1, people=30)  # 120 impostor pairs bear an FMR of 0.1
    found = figures_of(table, "cosine", "folder", resamples=20)
    assert found["fnmr_at_fmr"]["0.1"] is not None
    part = table.filter(pc.less(table["pair_id"], 60))  # 40 of them …
    thrice = pa.concat_tables([part] * 3)  # … three times
    again = figures_of(thrice, "cosine", "folder", resamples=20)
    assert (again["num_impostors"], again["fnmr_at_fmr"]["0.1"]) == (120, None)
    few = figures_of(people_table(1, people=9), "cosine", "folder", resamples=20)
    many = {name: value for name, value in few["fnmr_at_fmr"].items() if value is not None}
    assert many == {}


def test_same_scores_give_the_same_figures_again() -> None:
    runs = [figures_of(people_table(2), "cosine", "folder", resamples=50) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_threshold_lets_at_most_the_stated_share_pass() -> None:
    scores, same = worked()
    value, (low, high) = threshold_at(scores, same, 0.01, resamples=200)
    assert value == 0.989 and low < value < high
    names = [f"{'g' if s else ''}{row % 20}/{row}" for row, s in enumerate(same)]
    clustered = pair_subjects(names, names, same, "folder")
    again, _ = threshold_at(scores, same, 0.01, subjects=clustered, resamples=20)
    assert again == value


@pytest.mark.parametrize("fmr", [0.0, 1.0, -0.1, float("nan")])
def test_a_false_match_rate_outside_0_and_1_is_refused(fmr: float) -> None:
    scores, same = worked()
    with pytest.raises(InputError, match="state one between 0 and 1"):
        threshold_at(scores, same, fmr)


def test_a_false_match_rate_beyond_the_impostors_is_refused() -> None:
    scores, same = worked()
    with pytest.raises(
        InputError, match=r"1000 impostor pairs .* 0\.001: .* 0\.01, or bring 10000"
    ):
        threshold_at(scores, same, 0.001)


def test_pairs_without_figures_are_refused() -> None:
    one, both = np.array([True, True]), np.array([True, False])
    with pytest.raises(InputError, match="no pairs"):
        check_pairs(np.empty(0), np.empty(0, bool))
    with pytest.raises(InputError, match="all 2 pairs are genuine ones"):
        check_pairs(np.ones(2), one)
    with pytest.raises(InputError, match="all 2 pairs are impostor ones"):
        check_pairs(np.ones(2), ~one)
    for wrong in (np.nan, np.inf):
        with pytest.raises(InputError, match="1 scores are not finite, the first of pair 1"):
            check_pairs(np.array([0.0, wrong]), both)
    holes = scores_table(np.array([0.5, None], dtype=object), both)
    with pytest.raises(InputError, match="column score has 1 empty values"):
        parse_scores(holes)


def test_folds_that_leave_one_kind_are_refused() -> None:
    same = np.array([True, True, False, False])
    table = scores_table(np.arange(4) / 4, same, fold=np.array([0, 0, 1, 1]))
    with pytest.raises(InputError, match="without fold 0 all pairs are of one kind"):
        figures_of(table, "cosine", "folder", resamples=2)


def pyeer_stats(
    genuine: list[float], impostor: list[float], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """What pyeer says of score lists. It looks for the templates of its reports, which nobody
    wants here, with a module that setuptools has given up."""
    monkeypatch.setitem(sys.modules, "pkg_resources", ModuleType("pkg_resources"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        from pyeer.eer_info import get_eer_stats

        return get_eer_stats(genuine, impostor)


@pytest.mark.parametrize("seed", range(3))
def test_pyeer_finds_the_same_in_the_same_file(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyeer takes the FMR nearest to the wanted one, we the nearest that is not above it; its EER
    is the middle of an interval between two thresholds, ours the crossing within. Its area ends
    at the highest score, ours at accepting nobody: they differ by the triangle between."""
    write_result(tmp_path / "run", people_table(seed, people=260, noise=0.3))
    table = pq.read_table(tmp_path / "run/scores.parquet")
    ours = figures_of(table, "cosine", "folder", resamples=2)
    scores, same = table["score"].to_numpy(), table["same"].to_numpy()
    theirs = pyeer_stats(scores[same].tolist(), scores[~same].tolist(), monkeypatch)
    pair = 1 / same.sum()
    curve = roc(scores, same)
    assert ours["auc"] == pytest.approx(theirs.auc + curve.far[1] * curve.tar[1] / 2, abs=1e-9)
    assert theirs.eer_low - pair <= ours["eer"] <= theirs.eer_high + pair
    for fmr, rate in (("0.1", theirs.fmr10), ("0.01", theirs.fmr100)):
        assert ours["fnmr_at_fmr"][fmr]["value"] == pytest.approx(rate, abs=1e-9)


def test_people_pairs_are_what_they_say() -> None:
    pairs = people_pairs(0)
    assert (len(pairs), pairs.num_folds, pairs.subjects("folder").count) == (72, 5, 12)
