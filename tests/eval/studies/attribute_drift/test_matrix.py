"""Every set beside every other: against loops, and where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eval.attributes.divergence import SMOOTHING
from eval.reporting.style import picture
from eval.studies.attribute_drift import matrix as matrix_module
from eval.studies.attribute_drift.explanation import NEITHER, REAL, Coded, coded
from eval.studies.attribute_drift.figures import matrix_figure
from eval.studies.attribute_drift.matrix import matrix
from manifests.studies.attribute_drift import Kind
from tests import references

WIDE = np.array([1, 2, 4, 6, 8, 6, 4, 2, 1]) / 34
NARROW = np.array([0.1, 0.2, 4, 6, 8, 6, 4, 0.2, 0.1]) / 28.6
FOUR: tuple[Kind, ...] = ("real", "real", "synthetic", "synthetic")


def drawn(shares: np.ndarray, count: int, seed: int) -> Coded:
    rng = np.random.default_rng(seed)
    columns = [rng.choice(len(shares), count, p=shares), rng.integers(-1, 2, count)]
    columns[1][0] = 0
    return coded(columns, [len(shares), 2], np.arange(count))


def found(sets: list[Coded], kinds: tuple[Kind, ...]) -> dict[str, Any]:
    return matrix(sets, kinds, ["width", "answer"], np.random.default_rng(0))


def test_of_sets_of_one_size_every_place_is_that_of_the_loops() -> None:
    sets = [drawn(shares, 120, seed) for seed, shares in enumerate((WIDE, WIDE, NARROW, NARROW))]
    own = found(sets, FOUR)
    twin = references.divergence_matrix([s.bins.tolist() for s in sets], (9, 2), SMOOTHING)
    assert own["num_faces"] == 120
    for row in range(4):
        for column in range(4):
            if row != column:
                for at, name in enumerate(("width", "answer")):
                    value = own["attributes"][name]["kl"][row][column]["value"]
                    assert value == pytest.approx(twin[row][column][at], abs=1e-12)
                assert own["all"][row][column]["value"] == pytest.approx(sum(twin[row][column]))
    blocks = own["blocks"]
    base = (sum(twin[0][1]) + sum(twin[1][0])) / 2
    ahead = sum(sum(twin[row][column]) for row in (0, 1) for column in (2, 3)) / 4
    back = sum(sum(twin[row][column]) for row in (2, 3) for column in (0, 1)) / 4
    assert blocks["real || real"]["value"] == pytest.approx(base)
    assert blocks["real || real"]["above_real"] is None
    assert blocks["real || synthetic"]["above_real"]["value"] == pytest.approx(ahead - base)
    assert blocks["difference"]["value"] == pytest.approx(ahead - back)
    low, high = blocks["difference"]["ci95"]
    assert low < blocks["difference"]["value"] < high


def test_two_wide_sets_explain_two_narrow_ones_and_not_the_reverse() -> None:
    sizes = (700, 3000, 900, 5000)
    sets = [drawn(own, count, seed) for seed, (own, count) in
            enumerate(zip((WIDE, WIDE, NARROW, NARROW), sizes, strict=True))]  # fmt: skip
    own = found(sets, FOUR)["blocks"]
    assert own["difference"]["verdict"] == REAL
    assert own["real || synthetic"]["above_real"]["ci95"][0] > 0
    base, twins = own["real || real"], own["synthetic || synthetic"]
    assert base["ci95"][0] < twins["value"] < base["ci95"][1] + 0.02


def test_of_four_sets_alike_the_base_line_is_all_there_is() -> None:
    verdicts, above = [], []
    for seed in range(20):
        sets = [drawn(WIDE, count, 4 * seed + at) for at, count in enumerate((150, 900, 200, 150))]
        own = found(sets, FOUR)["blocks"]
        verdicts.append(own["difference"]["verdict"])
        low, high = own["real || synthetic"]["above_real"]["ci95"]
        above.append(low <= 0 <= high)
    assert verdicts.count(NEITHER) >= 18 and sum(above) >= 17


def test_the_diagonal_is_what_finite_samples_of_one_set_give() -> None:
    """On average half the number of free shares over the number of faces, twice: once a sample."""
    own = found([drawn(WIDE, 2000, 1), drawn(WIDE, 2000, 2)], ("real", "synthetic"))
    place = own["attributes"]["width"]["kl"][0][0]["value"]
    assert place == pytest.approx(8 / 2000, rel=0.15)


def test_with_one_real_set_there_is_no_base_line_and_with_none_no_difference() -> None:
    sets = [drawn(WIDE, 100, seed) for seed in range(3)]
    blocks = found(sets, ("real", "synthetic", "synthetic"))["blocks"]
    assert blocks["real || real"] is None and blocks["real || synthetic"]["above_real"] is None
    assert blocks["difference"] is not None
    blocks = found(sets, ("synthetic",) * 3)["blocks"]
    assert blocks["difference"] is None and blocks["real || synthetic"] is None


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.array([[0.0, 3.0], [1e-9, 0.2]])])
def test_sets_that_are_the_same_are_drawn_too(values: np.ndarray) -> None:
    assert picture(matrix_figure(["one", "other"], values, 1)).startswith(b"\x89PNG")


def test_large_sets_are_drawn_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_module, "MOST_FACES", 60)
    own = found([drawn(WIDE, 100, 1), drawn(NARROW, 400, 2)], ("real", "synthetic"))
    assert own["num_faces"] == 60
