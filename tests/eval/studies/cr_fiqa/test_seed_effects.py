"""Students of several seeds a kind, against the first kind."""

from __future__ import annotations

import numpy as np
import pytest

from eval.scoring.results import Result, paired
from eval.studies.cr_fiqa.seed_effects import effects
from manifests.core.errors import InputError
from tests.results import PROTOCOL, made_result, people_table


def result(name: str, noise: float, protocol: str = PROTOCOL) -> Result:
    return made_result(name, people_table(3, people=15, noise=noise), protocol=protocol)


def test_one_seed_gives_what_a_comparison_gives() -> None:
    plain, other = result("plain", 0.6), result("other", 0.2)
    found = effects({"plain": [plain], "other": [other]}, resamples=50, seed=4)
    wanted = paired(other, plain, resamples=50, seed=4)["difference"]
    for name in ("accuracy", "auc"):
        assert found["students"]["other"]["less_first"][name] == wanted[name]
        assert found["students"]["plain"]["less_first"][name]["value"] == 0.0
    assert found["num_pairs"] == 90 and found["num_subjects"] == 15


def test_seeds_are_averaged_and_listed() -> None:
    seeds = [result(str(k), noise) for k, noise in enumerate((0.2, 0.9))]
    (row,) = effects({"plain": seeds}, resamples=20, seed=0)["students"].values()
    auc = np.mean([seed.figures["auc"] for seed in seeds])
    assert row["auc"]["value"] == pytest.approx(auc)
    assert row["accuracy_by_seed"] == [seed.figures["accuracy"] for seed in seeds]


def test_unlike_protocols_are_refused() -> None:
    other = result("other", 0.2, protocol="cd" * 32)
    with pytest.raises(InputError, match="unlike protocols"):
        effects({"plain": [result("p", 0.2)], "other": [other]}, resamples=9, seed=0)
