"""The measures of a face's hardness, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.core.errors import InputError
from pipeline.mining.regions import HARDNESS
from tests.pipeline.mining.toys import gap_table


def test_gap_is_the_mean_of_both_views() -> None:
    table = gap_table(2, gap=np.float32([0.2, 0.0]), flip_gap=np.float32([0.4, 2.0]))
    np.testing.assert_allclose(HARDNESS["gap"](table), [0.3, 1.0], atol=1e-6)


def test_margin_is_larger_where_the_student_confuses_a_face() -> None:
    table = gap_table(4, impostor_margin=np.float32([-0.5, 0.0, 0.75, 1.5]))
    np.testing.assert_allclose(HARDNESS["margin"](table), [1.5, 1.0, 0.25, 0.0], atol=1e-6)


def test_neighbours_are_those_of_the_table() -> None:
    table = gap_table(2, neighbour_disagreement=np.float32([0.0, 0.7]))
    np.testing.assert_allclose(HARDNESS["neighbours"](table), [0.0, 0.7], atol=1e-6)


def test_a_table_without_neighbours_says_what_to_run() -> None:
    table = gap_table(2, neighbour_disagreement=np.float32([np.nan, np.nan]))
    with pytest.raises(InputError, match=r"hardness neighbours: an older gap table; run gap again"):
        HARDNESS["neighbours"](table)
    for name in ("gap", "margin"):
        assert np.isfinite(HARDNESS[name](table)).all()


@pytest.mark.parametrize("name", HARDNESS)
def test_is_never_negative(name: str) -> None:
    assert HARDNESS[name](gap_table(500)).min() >= 0
    assert HARDNESS[name](gap_table(0)).shape == (0,)
