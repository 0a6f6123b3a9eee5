"""Fairness of a student, over seeds, and what distillation does to it: cases worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from eval.scoring.scored import ScoredPairs
from eval.studies.fair_distillation.people_groups import GroupedPairs
from eval.studies.fair_distillation.spreads import (
    Settings,
    difference,
    fair_figures,
    kd_effects,
    over_seeds,
    synthetic_gaps,
    t_interval,
    within,
)
from manifests.studies.fair_distillation import NO_FOLDER, Cell
from tests.eval.studies.fair_distillation.test_people_groups import grouped

SETTINGS = Settings(fmr=0.1, resamples=30, seed=0)


def scored(found: GroupedPairs, noise: float = 0.3) -> ScoredPairs:
    pairs = found.benchmark
    rng = np.random.default_rng(5)
    score = np.where(pairs.same, 0.7, 0.1) + rng.normal(0, noise, len(pairs.same))
    return ScoredPairs(
        np.arange(len(score)), pairs.fold, list(pairs.left), list(pairs.right), pairs.same, score,
        np.zeros(len(score), bool), found.group,
    )  # fmt: skip


def test_rates_are_what_counting_gives() -> None:
    found = grouped(impostors=1200)
    pairs = scored(found)
    figures = fair_figures(pairs, found, "cosine", "folder", SETTINGS)
    impostors = np.sort(pairs.score[~pairs.same])[::-1]
    threshold = impostors[len(impostors) // 10]
    accuracy, groups = [], np.array(found.group)
    for title in found.titles:
        own = groups == title
        for kind, wrong in (("fmr", pairs.score > threshold), ("fnmr", pairs.score <= threshold)):
            asked = own & (pairs.same == (kind == "fnmr"))
            figure = figures[f"{kind}@{title}"]
            assert figure and figure["value"] == pytest.approx(wrong[asked].mean(), abs=0.011)
        accuracy.append(value(figures[f"accuracy@{title}"]))
    assert value(figures["mean"]) == pytest.approx(np.mean(accuracy))
    assert value(figures["std"]) == pytest.approx(np.std(accuracy, ddof=1))
    errors = 1.0 - np.array(accuracy)
    assert value(figures["ser"]) == pytest.approx(errors.max() / errors.min())
    low, high = figures["mean"]["ci95_identity"]  # type: ignore[index]
    assert low < value(figures["mean"]) < high


def value(figure: Any) -> float:
    assert figure is not None
    return float(figure["value"])


def test_rates_that_the_impostors_do_not_bear_are_empty() -> None:
    found = grouped(impostors=300)
    figures = fair_figures(scored(found), found, "cosine", "folder", Settings(1e-3, 10, 0))
    assert figures["fmr_ratio"] is None and figures[f"fnmr@{found.titles[0]}"] is None
    assert figures["mean"] is not None


def figure(number: float) -> dict[str, Any]:
    return {"value": number, "ci95_identity": [number - 0.1, number + 0.02]}


def test_over_seeds_by_hand() -> None:
    found = over_seeds([{"mean": figure(v), "ser": figure(10 * v)} for v in (0.90, 0.92)])
    mean, ser = found["mean"], found["ser"]
    assert mean and ser
    assert mean["value"] == pytest.approx(0.91) and mean["by_seed"] == [0.90, 0.92]
    # s = 0.01 sqrt 2, its error 0.01; t of one degree of freedom is 12.706
    assert mean["ci95_seeds"] == pytest.approx([0.91 - 0.12706, 1.0], abs=1e-4)  # no share above 1
    assert mean["ci95_identity"] == pytest.approx([0.81, 0.93])
    assert ser["ci95_seeds"] == pytest.approx([9.1 - 1.2706, 9.1 + 1.2706], abs=1e-3)


def test_one_seed_has_no_interval_and_one_missing_leaves_none() -> None:
    (alone,) = over_seeds([{"mean": figure(0.9)}]).values()
    assert alone and alone["ci95_seeds"] is None and alone["value"] == 0.9
    assert over_seeds([{"ser": figure(2.0)}, {"ser": None}]) == {"ser": None}


def test_the_interval_is_that_of_a_t_test() -> None:
    values = [0.80, 0.83, 0.79, 0.84]
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx([low, high])
    assert within("std", [-0.5, 2.0]) == [0.0, 2.0]
    assert within("fmr_ratio", [0.5, 12.0]) == [1.0, 12.0]


CELLS = [
    Cell("real", "a", "elastic", False, NO_FOLDER), Cell("real", "a", "elastic", True, NO_FOLDER),
    Cell("ids", "a", "elastic", False), Cell("ids", "a", "elastic", True),
    Cell("prior", "a", "elastic", False, "no labels"), Cell("prior", "a", None, True),
]  # fmt: skip


def cells_of(**means: tuple[float, float]) -> dict[str, Any]:
    """{place: figures of two seeds}, by data_lesson."""
    found = {}
    for name, values in means.items():
        data, lesson = name.split("_", 1)
        models = [{"mean": figure(mean)} for mean in values]
        found[f"{data}/a.{lesson.replace('_', '-')}"] = over_seeds(models)
    return found


def test_what_distillation_does_is_paired_by_seed() -> None:
    found = cells_of(ids_elastic=(0.7, 0.8), ids_elastic_kd=(0.75, 0.83), prior_kd=(0.8, 0.9))
    rows = {row["data"]: row for row in kd_effects(CELLS, found)}
    less = rows["ids"]["less"]["mean"]
    assert less["by_seed"] == pytest.approx([0.05, 0.03]) and less["value"] == pytest.approx(0.04)
    assert rows["real"]["why_not"] == NO_FOLDER and rows["real"]["less"]["mean"] is None
    assert rows["prior"]["why_not"] == "no labels" and rows["prior"]["less"]["mean"] is None
    assert difference({"mean": None}, {"mean": None}, "mean") is None


def test_gaps_to_real_faces_are_empty_without_them_and_by_hand_with_them() -> None:
    teacher = {"mean": figure(0.99)}
    synthetic: dict[str, Any] = {
        "ids_elastic": (0.7, 0.8), "ids_elastic_kd": (0.75, 0.85), "prior_kd": (0.8, 0.9),
    }  # fmt: skip
    for row in synthetic_gaps(CELLS, cells_of(**synthetic), teacher, "real"):
        assert row["below_real"] is None
    real = {"real_elastic": (0.8, 0.9), "real_elastic_kd": (0.8, 0.86)}
    rows = synthetic_gaps(CELLS, cells_of(**synthetic, **real), teacher, "real")
    gaps = {(row["data"], row["distilled"]): row for row in rows}
    assert gaps["ids", False]["below_real"]["value"] == pytest.approx(0.1)
    assert gaps["ids", True]["below_real"]["value"] == pytest.approx(0.03)
    assert gaps["ids", True]["below_teacher"] == pytest.approx(0.19)
    assert gaps["prior", True]["below_real"] is None  # no real student was taught so
